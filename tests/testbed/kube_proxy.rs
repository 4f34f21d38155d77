//! Rules of kube-proxy's shape on a node: what a take-over finds there.

use std::{fmt::Write as _, io::Write as _, process::Stdio};

use anyhow::{Context, Result, ensure};

use crate::{
    address::{Family, Pair, SERVER_PORT},
    place::Place,
};

/// A mode of kube-proxy's, and the tables that its iptables commands keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KubeProxy {
    /// iptables mode with `iptables-legacy`.
    IptablesLegacy,
    /// iptables mode with `iptables-nft`.
    IptablesNft,
    /// nftables mode.
    Nftables,
}

/// A Service for TCP and UDP, and its endpoints.
#[derive(Clone, Debug)]
pub struct Served {
    /// The cluster IPs.
    pub address: Pair,
    /// The port of it.
    pub port: u16,
    /// The NodePort.
    pub node_port: u16,
    /// The endpoints, at [`SERVER_PORT`].
    pub endpoints: Vec<Pair>,
}

const PROTOCOLS: [&str; 2] = ["tcp", "udp"];

impl KubeProxy {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::IptablesLegacy, Self::IptablesNft, Self::Nftables];

    /// Writes the rules on a node, in one step for each family, as kube-proxy does.
    pub fn write(self, node: &Place, services: &[Served]) -> Result<()> {
        for family in Family::BOTH {
            let (command, text) = match (self, family) {
                (Self::Nftables, _) => ("nft -f -", nftables(family, services)?),
                (Self::IptablesLegacy, Family::V4) => {
                    ("iptables-legacy-restore --noflush", iptables(family, services)?)
                }
                (Self::IptablesLegacy, Family::V6) => {
                    ("ip6tables-legacy-restore --noflush", iptables(family, services)?)
                }
                (Self::IptablesNft, Family::V4) => {
                    ("iptables-nft-restore --noflush", iptables(family, services)?)
                }
                (Self::IptablesNft, Family::V6) => {
                    ("ip6tables-nft-restore --noflush", iptables(family, services)?)
                }
            };
            feed(node, command, &text)?;
        }
        Ok(())
    }

    /// Writes what else is on a node: the kubelet's chains and a CNI plugin's rules, in the same tables.
    pub fn write_others(self, node: &Place) -> Result<()> {
        let commands: &[&str] = match self {
            Self::IptablesLegacy => {
                &["iptables-legacy-restore --noflush", "ip6tables-legacy-restore --noflush"]
            }
            Self::IptablesNft => {
                &["iptables-nft-restore --noflush", "ip6tables-nft-restore --noflush"]
            }
            Self::Nftables => return feed(node, "nft -f -", OTHERS_NFTABLES),
        };
        commands.iter().try_for_each(|command| feed(node, command, OTHERS_IPTABLES))
    }

    /// All rules of a node, without counters, numbers and times.
    pub fn ruleset(self, node: &Place) -> Result<String> {
        let without = |text: String| {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            let bare = lines.map(|line| line.split(" [").next().unwrap_or(line));
            bare.collect::<Vec<_>>().join("\n")
        };
        match self {
            Self::IptablesLegacy => {
                node.shell("iptables-legacy-save && ip6tables-legacy-save").map(without)
            }
            Self::IptablesNft => node.shell("iptables-nft-save && ip6tables-nft-save").map(without),
            Self::Nftables => node.shell("nft -s list ruleset"),
        }
    }
}

const OTHERS_IPTABLES: &str = "*nat
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-MARK-DROP - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A CNI-HOSTPORT-DNAT -p tcp -m tcp --dport 9 -j RETURN
-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000
COMMIT
*filter
:KUBE-FIREWALL - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
-A INPUT -j KUBE-FIREWALL
-A OUTPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP
COMMIT
*mangle
:KUBE-IPTABLES-HINT - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
COMMIT
";

const OTHERS_NFTABLES: &str = "
table ip cni {
    chain forward {
        type filter hook forward priority 0; policy accept;
        ct state invalid counter
    }
}
table inet firewall {
    chain input {
        type filter hook input priority 0; policy accept;
    }
}
";

fn word(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

fn pods(family: Family) -> &'static str {
    match family {
        Family::V4 => "10.244.0.0/16",
        Family::V6 => "fd00:10:244::/56",
    }
}

/// A rule a service in one chain, a chain a service port, a chain an endpoint.
fn iptables(family: Family, services: &[Served]) -> Result<String> {
    let (mut chains, mut rules) = (String::new(), String::new());
    for (s, service) in services.iter().enumerate() {
        for proto in PROTOCOLS {
            let name = format!("{}{s}", proto.to_uppercase());
            let (ip, port, np) = (service.address.ip(family), service.port, service.node_port);
            writeln!(chains, ":KUBE-SVC-{name} - [0:0]\n:KUBE-EXT-{name} - [0:0]")?;
            writeln!(
                rules,
                "-A KUBE-SERVICES -d {ip} -p {proto} -m comment --comment \"default/s{s}\" \
                 -m {proto} --dport {port} -j KUBE-SVC-{name}\n\
                 -A KUBE-NODEPORTS -p {proto} -m {proto} --dport {np} -j KUBE-EXT-{name}\n\
                 -A KUBE-EXT-{name} -j KUBE-MARK-MASQ\n\
                 -A KUBE-EXT-{name} -j KUBE-SVC-{name}\n\
                 -A KUBE-SVC-{name} ! -s {pods} -d {ip} -p {proto} -m {proto} --dport {port} \
                 -j KUBE-MARK-MASQ",
                pods = pods(family),
            )?;
            for (e, endpoint) in service.endpoints.iter().enumerate() {
                let left = service.endpoints.len() - e;
                writeln!(chains, ":KUBE-SEP-{name}-{e} - [0:0]")?;
                writeln!(
                    rules,
                    "-A KUBE-SVC-{name} -m statistic --mode random --probability {:.10} \
                     -j KUBE-SEP-{name}-{e}\n\
                     -A KUBE-SEP-{name}-{e} -s {} -j KUBE-MARK-MASQ\n\
                     -A KUBE-SEP-{name}-{e} -p {proto} -m {proto} -j DNAT --to-destination {}",
                    1.0 / left as f64,
                    endpoint.ip(family),
                    endpoint.port(family, SERVER_PORT),
                )?;
            }
        }
    }
    Ok(format!(
        "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-NODEPORTS - [0:0]\n:KUBE-POSTROUTING - [0:0]\n\
         :KUBE-MARK-MASQ - [0:0]\n:KUBE-PROXY-CANARY - [0:0]\n{chains}\
         -A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
         -A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
         -A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING\n\
         -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n\
         -A KUBE-POSTROUTING -j MARK --xor-mark 0x4000\n\
         -A KUBE-POSTROUTING -j MASQUERADE --random-fully\n\
         -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000\n{rules}\
         -A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\nCOMMIT\n\
         *filter\n:KUBE-FORWARD - [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-EXTERNAL-SERVICES - [0:0]\n\
         :KUBE-NODEPORTS - [0:0]\n:KUBE-PROXY-FIREWALL - [0:0]\n:KUBE-PROXY-CANARY - [0:0]\n\
         -A INPUT -m comment --comment \"kubernetes health check service ports\" -j KUBE-NODEPORTS\n\
         -A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES\n\
         -A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD\n\
         -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n\
         -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT\n\
         -A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n\
         *mangle\n:KUBE-PROXY-CANARY - [0:0]\nCOMMIT\n"
    ))
}

/// Verdict maps by address and by NodePort, a chain a service port, a chain an endpoint.
fn nftables(family: Family, services: &[Served]) -> Result<String> {
    let ip = word(family);
    let (mut chains, mut ips, mut ports) = (String::new(), Vec::new(), Vec::new());
    for (s, service) in services.iter().enumerate() {
        for proto in PROTOCOLS {
            let (address, port, np) = (service.address.ip(family), service.port, service.node_port);
            ips.push(format!("{address} . {proto} . {port} : goto service-{proto}-{s}"));
            ports.push(format!("{proto} . {np} : goto external-{proto}-{s}"));
            let mut choice = Vec::new();
            for (e, endpoint) in service.endpoints.iter().enumerate() {
                choice.push(format!("{e} : goto endpoint-{proto}-{s}-{e}"));
                writeln!(
                    chains,
                    "chain endpoint-{proto}-{s}-{e} {{
                        {ip} saddr {} jump mark-for-masquerade
                        meta l4proto {proto} dnat to {}
                    }}",
                    endpoint.ip(family),
                    endpoint.port(family, SERVER_PORT),
                )?;
            }
            writeln!(
                chains,
                "chain service-{proto}-{s} {{
                    {ip} daddr {address} {proto} dport {port} {ip} saddr != {pods} jump mark-for-masquerade
                    numgen random mod {} vmap {{ {} }}
                }}
                chain external-{proto}-{s} {{
                    jump mark-for-masquerade
                    goto service-{proto}-{s}
                }}",
                service.endpoints.len(),
                choice.join(", "),
                pods = pods(family),
            )?;
        }
    }
    let address = if family == Family::V4 { "ipv4_addr" } else { "ipv6_addr" };
    Ok(format!(
        "table {ip} kube-proxy {{
            chain mark-for-masquerade {{ meta mark set meta mark or 0x4000; }}
            {chains}
            map service-ips {{
                type {address} . inet_proto . inet_service : verdict
                elements = {{ {} }}
            }}
            map service-nodeports {{
                type inet_proto . inet_service : verdict
                elements = {{ {} }}
            }}
            chain services {{
                {ip} daddr . meta l4proto . th dport vmap @service-ips
                fib daddr type local meta l4proto . th dport vmap @service-nodeports
            }}
            chain masquerading {{
                meta mark and 0x4000 == 0 return
                meta mark set meta mark xor 0x4000
                masquerade fully-random
            }}
            chain nat-prerouting {{ type nat hook prerouting priority -100; jump services; }}
            chain nat-output {{ type nat hook output priority -100; jump services; }}
            chain nat-postrouting {{ type nat hook postrouting priority 100; jump masquerading; }}
        }}",
        ips.join(", "),
        ports.join(", "),
    ))
}

fn feed(node: &Place, command: &str, text: &str) -> Result<()> {
    let mut words = command.split(' ');
    let program = words.next().context("a command")?;
    let mut child = node.command(program)?.args(words).stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(text.as_bytes())?;
    }
    ensure!(child.wait()?.success(), "{command} refused the ruleset (see above)");
    Ok(())
}
