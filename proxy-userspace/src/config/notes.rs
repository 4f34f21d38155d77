//! What is said once, at the start, about flags and fields that were given and do nothing here.

use serde_json::Value;

use super::{Flags, GivenFlag, file::KubeProxyConfiguration};

/// The notes about the flags, and about the file's fields as they were read.
pub(super) fn notes(flags: &Flags, file: Option<&KubeProxyConfiguration>) -> Vec<String> {
    let mut notes = Vec::new();
    for GivenFlag { name, is_field, .. } in &flags.given {
        if flags.config.is_some() && *is_field && name != "proxy-mode" {
            notes.push(format!("flag --{name} is ignored: --config is given, and has its field"));
        } else if let Some((_, _, why)) = INERT.iter().find(|(flag, ..)| flag == name) {
            notes.push(format!("flag --{name} has no effect with eBPF: {why}"));
        } else if let Some((_, new)) = DEPRECATED.iter().find(|(flag, _)| flag == name) {
            notes.push(format!("flag --{name} is deprecated: use --{new}"));
        }
    }
    let Some(file) = file else { return notes };
    let unset = as_value(&KubeProxyConfiguration::default());
    let set = as_value(file);
    for (_, field, why) in INERT.iter().filter(|(_, field, _)| !field.is_empty()) {
        let pointer = format!("/{}", field.replace('.', "/"));
        if set.pointer(&pointer) != unset.pointer(&pointer) {
            notes.push(format!("field {field} has no effect with eBPF: {why}"));
        }
    }
    notes
}

fn as_value(config: &KubeProxyConfiguration) -> Value {
    // A structure of plain fields and text keys always becomes a value.
    serde_json::to_value(config).unwrap_or_default()
}

/// Flag, and its successor.
const DEPRECATED: [(&str, &str); 2] =
    [("healthz-port", "healthz-bind-address"), ("metrics-port", "metrics-bind-address")];

const NOT_IPVS: &str = "it belongs to ipvs mode";

/// Flag, field, why it does nothing.
const INERT: [(&str, &str, &str); 34] = [
    ("feature-gates", "featureGates", "no behaviour of this program is behind a gate"),
    ("kube-api-content-type", "clientConnection.contentType", "requests are made in JSON"),
    ("", "clientConnection.acceptContentTypes", "requests are made in JSON"),
    ("kube-api-burst", "clientConnection.burst", "four watches need no limit"),
    ("kube-api-qps", "clientConnection.qps", "four watches need no limit"),
    ("profiling", "enableProfiling", "there is no Go runtime to profile"),
    ("show-hidden-metrics-for-version", "showHiddenMetricsForVersion", "no metric is hidden"),
    ("iptables-masquerade-bit", "iptables.masqueradeBit", "packets are masqueraded without a mark"),
    ("", "nftables.masqueradeBit", "packets are masqueraded without a mark"),
    ("", "iptables.snatNodeInternalIP", "the egress device's address is used, as by default"),
    ("iptables-min-sync-period", "iptables.minSyncPeriod", "a change is written at once"),
    ("", "nftables.minSyncPeriod", "a change is written at once"),
    ("ipvs-sync-period", "ipvs.syncPeriod", NOT_IPVS),
    ("ipvs-min-sync-period", "ipvs.minSyncPeriod", NOT_IPVS),
    ("ipvs-scheduler", "ipvs.scheduler", NOT_IPVS),
    ("ipvs-exclude-cidrs", "ipvs.excludeCIDRs", NOT_IPVS),
    ("ipvs-strict-arp", "ipvs.strictARP", NOT_IPVS),
    ("ipvs-tcp-timeout", "ipvs.tcpTimeout", NOT_IPVS),
    ("ipvs-tcpfin-timeout", "ipvs.tcpFinTimeout", NOT_IPVS),
    ("ipvs-udp-timeout", "ipvs.udpTimeout", NOT_IPVS),
    ("config-sync-period", "configSyncPeriod", "watches are complete without a refresh"),
    ("log-flush-frequency", "", "log lines are written at once"),
    ("log-text-split-stream", "", "the log goes to standard error"),
    ("log-text-info-buffer-size", "", "log lines are written at once"),
    ("log-json-split-stream", "", "the log goes to standard error"),
    ("log-json-info-buffer-size", "", "log lines are written at once"),
    ("vmodule", "", "-v sets the verbosity of everything"),
    ("boot-id-file", "", "it belongs to cAdvisor"),
    ("machine-id-file", "", "it belongs to cAdvisor"),
    ("", "portRange", "kube-proxy, too, ignores it"),
    ("", "udpIdleTimeout", "kube-proxy, too, ignores it"),
    ("", "windowsRunAsService", "this is Linux"),
    ("", "winkernel.sourceVip", "this is Linux"),
    ("", "winkernel.networkName", "this is Linux"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::decode::decode;

    const KUBEADM: &str = include_str!("fixtures/kubeadm.yaml");

    fn flags(list: &[&str]) -> Flags {
        Flags::read(["sluice"].iter().chain(list).map(Into::into)).unwrap()
    }

    #[test]
    fn a_flag_without_effect_is_noted_once() {
        let given = ["--ipvs-scheduler=rr", "--v=4", "--ipvs-scheduler=lc", "--masquerade-all"];
        let notes = notes(&flags(&given), None);
        let note = "flag --ipvs-scheduler has no effect with eBPF: it belongs to ipvs mode";
        assert_eq!(notes, [note]);
    }

    #[test]
    fn kubeadms_file_and_flags_are_not_worth_a_note() {
        let flags = flags(&["--config=x", "--hostname-override=n1", "--proxy-mode=ebpf"]);
        assert_eq!(notes(&flags, Some(&decode(KUBEADM).unwrap().config)), Vec::<String>::new());
    }

    #[test]
    fn beside_a_file_flags_are_ignored_and_fields_without_effect_noted() {
        let text = KUBEADM.replace("strictARP: false", "strictARP: true");
        let flags = flags(&["--config=x", "--cluster-cidr=10.0.0.0/8", "--master=http://x"]);
        let notes = notes(&flags, Some(&decode(&text).unwrap().config));
        assert_eq!(
            notes,
            [
                "flag --cluster-cidr is ignored: --config is given, and has its field",
                "field ipvs.strictARP has no effect with eBPF: it belongs to ipvs mode",
            ]
        );
    }
}
