//! Rulesets of kube-proxy's shape, beside which Sluice is measured.

use std::{
    fmt::Write as _,
    io::Write as _,
    net::{Ipv4Addr, SocketAddrV4},
    process::Stdio,
};

use anyhow::{Result, ensure};
use testbed::Place;

/// Other services in the same ruleset: kube-proxy is rarely alone with one.
const OTHERS: u8 = 100;

/// A service port and its only endpoint.
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) vip: SocketAddrV4,
    pub(crate) proto: &'static str,
    pub(crate) backend: SocketAddrV4,
}

/// The service among others, in the order in which kube-proxy would have them by chance.
fn among_others(rules: &[Rule]) -> Vec<Rule> {
    let backend = rules[0].backend;
    let other =
        |i| Rule { vip: SocketAddrV4::new(Ipv4Addr::new(10, 96, 1, i), 80), proto: "tcp", backend };
    let mut all: Vec<Rule> = (0..OTHERS).map(other).collect();
    let middle = all.len() / 2;
    all.splice(middle..middle, rules.iter().copied());
    all
}

/// nftables mode: one verdict map, a chain a service, a chain an endpoint.
pub(crate) fn nftables(node: &Place, rules: &[Rule]) -> Result<()> {
    let (mut chains, mut elements) = (String::new(), Vec::new());
    for (i, Rule { vip, proto, backend }) in among_others(rules).into_iter().enumerate() {
        elements.push(format!("{} . {proto} . {} : goto service-{i}", vip.ip(), vip.port()));
        writeln!(
            chains,
            "chain endpoint-{i} {{
                ip saddr {ip} jump mark-for-masquerade
                meta l4proto {proto} dnat to {backend}
            }}
            chain service-{i} {{
                ip daddr {vip} {proto} dport {port} ip saddr != 10.244.0.0/16 jump mark-for-masquerade
                numgen random mod 1 vmap {{ 0 : goto endpoint-{i} }}
            }}",
            ip = backend.ip(),
            vip = vip.ip(),
            port = vip.port(),
        )?;
    }
    let text = format!(
        "table ip kube-proxy {{
            chain mark-for-masquerade {{ meta mark set meta mark or 0x4000; }}
            {chains}
            map service-ips {{
                type ipv4_addr . inet_proto . inet_service : verdict
                elements = {{ {elements} }}
            }}
            map no-endpoint-services {{
                type ipv4_addr . inet_proto . inet_service : verdict
            }}
            chain services {{ ip daddr . meta l4proto . th dport vmap @service-ips; }}
            chain no-endpoints {{ ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }}
            chain masquerading {{
                meta mark and 0x4000 == 0 return
                meta mark set meta mark xor 0x4000
                masquerade fully-random
            }}
            chain filter-forward {{
                type filter hook forward priority -110
                ct state new jump no-endpoints
            }}
            chain filter-output {{
                type filter hook output priority -110
                ct state new jump no-endpoints
            }}
            chain nat-prerouting {{ type nat hook prerouting priority -100; jump services; }}
            chain nat-output {{ type nat hook output priority -100; jump services; }}
            chain nat-postrouting {{ type nat hook postrouting priority 100; jump masquerading; }}
        }}",
        elements = elements.join(", "),
    );
    load(node, &["nft", "-f", "-"], &text)
}

/// iptables mode: a rule a service in one chain, a chain a service, a chain an endpoint.
pub(crate) fn iptables(node: &Place, rules: &[Rule]) -> Result<()> {
    let (mut chains, mut services, mut others) = (String::new(), String::new(), String::new());
    for (i, Rule { vip, proto, backend }) in among_others(rules).into_iter().enumerate() {
        writeln!(chains, ":KUBE-SVC-{i} - [0:0]\n:KUBE-SEP-{i} - [0:0]")?;
        writeln!(
            services,
            "-A KUBE-SERVICES -d {}/32 -p {proto} -m comment --comment \"default/s{i} cluster IP\" \
             -m {proto} --dport {} -j KUBE-SVC-{i}",
            vip.ip(),
            vip.port()
        )?;
        writeln!(
            others,
            "-A KUBE-SVC-{i} ! -s 10.244.0.0/16 -d {}/32 -p {proto} -m {proto} --dport {} \
             -j KUBE-MARK-MASQ\n\
             -A KUBE-SVC-{i} -j KUBE-SEP-{i}\n\
             -A KUBE-SEP-{i} -s {}/32 -j KUBE-MARK-MASQ\n\
             -A KUBE-SEP-{i} -p {proto} -m {proto} -j DNAT --to-destination {backend}",
            vip.ip(),
            vip.port(),
            backend.ip()
        )?;
    }
    let text = format!(
        "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-POSTROUTING - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n{chains}\
         -A PREROUTING -j KUBE-SERVICES\n-A OUTPUT -j KUBE-SERVICES\n\
         -A POSTROUTING -j KUBE-POSTROUTING\n\
         -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n\
         -A KUBE-POSTROUTING -j MARK --xor-mark 0x4000\n\
         -A KUBE-POSTROUTING -j MASQUERADE --random-fully\n\
         -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000\n{services}{others}COMMIT\n\
         *filter\n:KUBE-FORWARD - [0:0]\n-A FORWARD -j KUBE-FORWARD\n\
         -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n\
         -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT\n\
         -A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n"
    );
    load(node, &["iptables-legacy-restore", "--noflush"], &text)
}

fn load(node: &Place, command: &[&str], text: &str) -> Result<()> {
    let mut child = node.command(command[0])?.args(&command[1..]).stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(text.as_bytes())?;
    }
    ensure!(child.wait()?.success(), "{} refused the ruleset (see above)", command[0]);
    Ok(())
}
