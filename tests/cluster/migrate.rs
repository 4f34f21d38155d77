//! From kube-proxy to Sluice and back on a node that serves all the while (C20–C22).

use std::{thread::sleep, time::Duration};

use testbed::{Cluster, KubeProxy, Node, Served, Sluice, Topology, address};

use crate::{
    streams::Streams,
    world::{PORT, World, node_port, vip},
};

/// What was established under one proxy goes on for so long under the other.
const AFTERWARDS: Duration = Duration::from_millis(500);

/// A cluster with one Service, whose nodes have kube-proxy's rules and those of others.
struct Migration {
    world: World,
    mode: KubeProxy,
    /// The rules of others, by node.
    others: Vec<String>,
}

impl Migration {
    fn new(mode: KubeProxy) -> Self {
        let builder = Cluster::builder(Topology::Bridge).bridge_netfilter(true);
        let builder = builder.nodes(1).pods_per_node(3);
        let world = World::build(builder);
        world.serve(1, &[1, 3]);
        let mut migration = Self { world, mode, others: Vec::new() };
        for node in migration.nodes() {
            mode.write_others(node).unwrap();
        }
        migration.others = migration.nodes().iter().map(|n| mode.ruleset(n).unwrap()).collect();
        migration
    }

    fn nodes(&self) -> &[Node] {
        self.world.cluster.nodes()
    }

    /// kube-proxy writes its rules, everywhere.
    fn kube_proxy(&self) {
        let endpoints = [1, 3].map(|pod| self.world.cluster.pod(pod).unwrap().address()).to_vec();
        let service =
            Served { address: address::service(1), port: PORT, node_port: node_port(1), endpoints };
        for node in self.nodes() {
            self.mode.write(node, std::slice::from_ref(&service)).unwrap();
        }
    }

    /// Runs a step on every node; returns what it printed on the first.
    fn step(&self, arguments: &[&str]) -> String {
        let run = |node| {
            let output = Sluice::inspect(node, &[&["migrate"], arguments].concat()).unwrap();
            assert!(output.status.success(), "{arguments:?}: {output:?}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let mut texts = self.nodes().iter().map(run).collect::<Vec<_>>();
        texts.swap_remove(0)
    }

    /// A step that is refused: what it says.
    fn refused(&self, arguments: &[&str]) -> String {
        let output =
            Sluice::inspect(&self.nodes()[0], &[&["migrate"], arguments].concat()).unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Only the rules of others are left, and the table that keeps translating.
    fn assert_only_others(&self) {
        for (node, others) in self.nodes().iter().zip(&self.others) {
            node.shell("nft delete table ip sluice; nft delete table ip6 sluice").unwrap();
            assert_eq!(&self.mode.ruleset(node).unwrap(), others, "{}", node.name());
        }
    }
}

/// Connections that netfilter translated, and new ones, go on through attaching and removing.
fn take_over(mode: KubeProxy) {
    let mut migration = Migration::new(mode);
    migration.kube_proxy();
    let before = mode.ruleset(&migration.nodes()[0]).unwrap();
    let said = migration.refused(&["apply"]);
    assert!(said.contains("start it first") && said.contains("nothing was changed"), "{said}");
    assert_eq!(mode.ruleset(&migration.nodes()[0]).unwrap(), before);
    let sluices;
    {
        let streams = Streams::start(&migration.world.cluster, 1);
        sleep(AFTERWARDS);
        sluices = migration.world.started(&[]);
        let plan = migration.step(&["plan"]);
        assert!(plan.contains("KUBE-SERVICES") || plan.contains("kube-proxy"), "{plan}");
        assert!(!plan.contains("not yet"), "{plan}");
        migration.step(&["apply"]);
        sleep(AFTERWARDS);
        streams.unharmed();
    }
    assert!(migration.step(&["plan"]).contains("nothing of kube-proxy's is left"));
    migration.world.sluices = sluices;
    migration.assert_only_others();
    roll_back(&mut migration);
}

/// Connections that Sluice translated, and new ones, go on through its end and after it. A datagram
/// that is under way in that moment may be lost.
fn roll_back(migration: &mut Migration) {
    let said = migration.refused(&["rollback"]);
    assert!(said.contains("Sluice runs") && said.contains("10.96.0.1:80/TCP"), "{said}");
    let mut sluices = std::mem::take(&mut migration.world.sluices);
    {
        let streams = Streams::start(&migration.world.cluster, 1);
        sleep(AFTERWARDS);
        sluices.iter_mut().for_each(|sluice| sluice.stop().unwrap());
        migration.kube_proxy();
        let said = migration.step(&["rollback"]);
        assert!(said.contains("connections go on in netfilter"), "{said}");
        sleep(AFTERWARDS);
        streams.unharmed_but_for_a_datagram();
    }
    for node in migration.nodes() {
        assert!(!node.bpf_root().join("sluice").exists(), "pins");
        let tables = node.shell("nft list tables").unwrap();
        assert!(!tables.contains("sluice"), "{tables}");
    }
    let pod = migration.world.cluster.pod(2).unwrap();
    pod.tcp(vip(1, address::Family::V4)).unwrap();
}

#[test]
fn c20_c21_from_legacy_iptables() {
    take_over(KubeProxy::IptablesLegacy);
}

#[test]
fn c20_c21_from_iptables_in_nftables() {
    take_over(KubeProxy::IptablesNft);
}

#[test]
fn c20_c21_from_nftables() {
    take_over(KubeProxy::Nftables);
}
