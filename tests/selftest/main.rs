//! The testbed itself, with direct traffic: no Sluice is involved.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use testbed::address::{self, Family, SERVER_PORT};
use testbed::wire::{Ask, FailureKind, Transport};
use testbed::{Cluster, CniRules, Topology};

/// One after another: two cores are not many for several clusters.
#[test]
fn topologies_carry_direct_traffic() -> Result<()> {
    carry_direct_traffic(&Topology::OWN)
}

/// The same with devices that this machine's kernel may lack.
mod guest {
    use testbed::Topology;

    #[test]
    fn topologies_carry_direct_traffic() -> anyhow::Result<()> {
        super::carry_direct_traffic(&Topology::GUESTS)
    }
}

fn carry_direct_traffic(topologies: &[Topology]) -> Result<()> {
    for &topology in topologies {
        for rules in [CniRules::default(), CniRules { masquerade: true, forward_drop: true }] {
            // Without masquerade a pod's packet to another node bypasses the overlay, and its
            // answer does not: a strict reverse path filter refuses that.
            let rp_filter = if rules.masquerade { 1 } else { 2 };
            let began = std::time::Instant::now();
            let cluster = Cluster::builder(topology)
                .rules(rules)
                .rp_filter(rp_filter)
                .bridge_netfilter(rules.masquerade)
                .build()?;
            let built = began.elapsed();
            everyone_reaches_everyone(&cluster)
                .map_err(|error| error.context(format!("{topology:?} with {rules:?}")))?;
            println!("{topology:?} {rules:?}: built in {built:?}, all in {:?}", began.elapsed());
        }
    }
    Ok(())
}

/// The plugins' own masquerade rule, a FORWARD policy that drops, and `br_netfilter` off and on.
#[test]
fn plugins_carry_direct_traffic() -> Result<()> {
    let rules = CniRules { forward_drop: true, ..CniRules::default() };
    for topology in Topology::PLUGINS {
        for bridge_netfilter in [false, true] {
            let cluster = Cluster::builder(topology)
                .rules(rules)
                .bridge_netfilter(bridge_netfilter)
                .build()?;
            everyone_reaches_everyone(&cluster)
                .map_err(|error| error.context(format!("{topology:?}")))?;
        }
    }
    Ok(())
}

#[test]
fn plugins_take_back_what_they_did() -> Result<()> {
    for topology in Topology::PLUGINS {
        let mut cluster = Cluster::builder(topology).nodes(1).pods_per_node(1).build()?;
        // Addresses that are assigned, links, routes, addresses of links, rules.
        let state = cluster.dir("cni-node1")?;
        let traces = |cluster: &Cluster| -> Result<String> {
            let assigned = format!("find {} -name '10.*' -o -name 'fd*'", state.display());
            let list = "ip -br link | cut -d' ' -f1; ip route; ip -6 route; nft list ruleset";
            cluster.node(1)?.shell(&format!("{assigned}; {list}"))
        };
        let before = traces(&cluster)?;
        let (v4, v6) = (address::pod(1, 2).v4.to_string(), address::pod(1, 2).v6.to_string());
        cluster.add_pod(1)?;
        let during = traces(&cluster)?;
        ensure!(during.matches(&v4).count() > 1 && during.contains(&v6), "{during}");
        cluster.remove_pod()?;
        let after = traces(&cluster)?;
        ensure!(before == after, "before:\n{before}\nafter:\n{after}");
    }
    Ok(())
}

fn everyone_reaches_everyone(cluster: &Cluster) -> Result<()> {
    for family in Family::BOTH {
        for from in cluster.pods() {
            for to in cluster.pods() {
                let target = to.address().port(family, SERVER_PORT);
                for transport in [Transport::Tcp, Transport::Udp, Transport::UdpUnconnected] {
                    let reply = from.once(Ask::new(transport, target)).map_err(|failure| {
                        anyhow::anyhow!(failure).context(format!("{} to {target}", from.name()))
                    })?;
                    ensure!(reply.who == to.name(), "{target} is {}, {reply:?}", to.name());
                    let seen = cluster.seen_as(from, to.node()).ip(family);
                    ensure!(reply.seen_source.ip() == seen, "{reply:?}");
                }
            }
            for node in cluster.nodes() {
                ensure!(from.tcp(node.address().port(family, SERVER_PORT))?.who == node.name());
            }
        }
        let pod = cluster.pod(4)?.address().port(family, SERVER_PORT);
        for person in [cluster.client(), cluster.outsider()] {
            ensure!(person.tcp(pod)?.who == "pod4" && person.udp(pod)?.who == "pod4");
        }
        ensure!(cluster.outsider().tcp(pod)?.seen_source.ip() == address::outsider().ip(family));
        ensure!(cluster.node(1)?.tcp(pod)?.who == "pod4");
    }
    Ok(())
}

#[test]
fn helpers_tell_the_truth() -> Result<()> {
    let cluster = Cluster::builder(Topology::Bridge).build()?;
    let (from, to) = (cluster.pod(1)?, cluster.pod(3)?);
    for family in Family::BOTH {
        let target = to.address().port(family, SERVER_PORT);
        let closed = to.address().port(family, 9);
        let nobody = address::pod(2, 77).port(family, SERVER_PORT);
        let kind = |ask| from.once(ask).map_err(|failure| failure.kind);
        ensure!(kind(Ask::new(Transport::Tcp, closed)) == Err(FailureKind::Refused));
        ensure!(kind(Ask::new(Transport::Udp, closed)) == Err(FailureKind::Refused));
        let silent = kind(Ask::new(Transport::Tcp, nobody).timeout_ms(300));
        ensure!(silent == Err(FailureKind::TimedOut), "{silent:?}");
        ensure!(from.tcp_from_port(target, 40_000)?.seen_source.port() == 40_000);
        from.bulk(target, 200_000)?;
        from.bulk(target, 50_000_000)?;
        let held = from.hold(target, 1_000)?;
        ensure!(held.len() == 1_000 && held.echo_all()?.iter().all(Result::is_ok));
        let traffic = from.traffic(Ask::new(Transport::Tcp, target), 2, true)?;
        let many = from.many(Ask::new(Transport::Udp, target).times(1_000))?;
        ensure!(many.iter().all(Result::is_ok));
        let tally = traffic.stop()?;
        ensure!(tally.answered > 0 && tally.failed == 0, "{tally:?}");
    }
    Ok(())
}

#[test]
fn nothing_is_left_behind() -> Result<()> {
    let cluster = Cluster::builder(Topology::Bridge).nodes(1).pods_per_node(1).build()?;
    let node = cluster.node(1)?;
    let (namespace, cgroup) = (node.netns().to_owned(), node.cgroup_root().clone());
    let bpf = node.bpf_root().clone();
    let inside = node.run(|| std::fs::read_to_string("/proc/self/net/dev"))??;
    ensure!(!inside.contains("vethpod1"), "/proc/self is the process's own namespace");
    ensure!(node.shell("ip -o link")?.contains("vethpod1"));
    drop(cluster);
    let netns = String::from_utf8(Command::new("ip").arg("netns").output()?.stdout)?;
    ensure!(!netns.contains(&namespace), "namespaces are left: {netns}");
    ensure!(!cgroup.exists() && !bpf.exists());
    ensure!(cgroup.parent().is_some_and(|parent: &Path| !parent.exists()));
    ensure!(!std::fs::read_to_string("/proc/self/mountinfo")?.contains(bpf.to_str().unwrap()));
    Ok(())
}
