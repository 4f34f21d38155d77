//! Who reaches what, on every topology, with and without netfilter rules on the nodes.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use testbed::address::{self, Family, SERVER_PORT};
use testbed::wire::{Ask, Transport};
use testbed::{Cluster, Place, Topology};

use crate::cases::{Cases, answered};
use crate::policies;
use crate::world::{World, is_nodes, on_node, ruled, vip};

/// Backend on node 1, on node 2, in the host network of node 1, of node 2: and who answers.
const BACKENDS: [(u8, &str); 4] = [(1, "pod1"), (2, "pod3"), (3, "node1"), (4, "node2")];
/// A Service of all four pods.
const ALL: u8 = 5;

/// Whose address a backend has to see.
#[derive(Clone, Copy, Debug)]
enum Seen {
    /// This one.
    Ip(IpAddr),
    /// Any of a node's own.
    Node(u8),
    /// Whatever: netfilter decides, not the proxy.
    Any,
}

impl Seen {
    fn check(self, family: Family, ip: IpAddr) -> Result<()> {
        let fits = match self {
            Self::Ip(wanted) => ip == wanted,
            Self::Node(node) => is_nodes(node, family, ip),
            Self::Any => true,
        };
        ensure!(fits, "the backend saw {ip}, not {self:?}");
        Ok(())
    }
}

struct Paths<'a> {
    cluster: &'a Cluster,
    masquerade: bool,
    forward_drop: bool,
    cases: Cases,
}

/// A Service's address on something numbered, by family.
type Target = fn(u8, Family) -> SocketAddr;

#[test]
fn bridge() {
    both(Topology::Bridge);
}

#[test]
fn routed() {
    both(Topology::Routed);
}

#[test]
fn vxlan() {
    both(Topology::Vxlan);
}

#[test]
fn tun() {
    both(Topology::Tun);
}

fn both(topology: Topology) {
    for rules in [false, true] {
        reached(topology, rules);
    }
}

/// Builds a cluster, with a CNI's rules or without, and tries everything.
pub(crate) fn reached(topology: Topology, rules: bool) {
    let builder = if rules { ruled(topology) } else { Cluster::builder(topology) };
    let mut world = World::build(builder);
    world.serve(1, &[1]);
    world.serve(2, &[3]);
    world.serve_host(3, 1);
    world.serve_host(4, 2);
    world.serve(ALL, &[1, 2, 3, 4]);
    policies::serve_local(&world);
    policies::serve_empty(&world);
    world.start();
    let cases = Cases::new(format!("{topology:?}, rules {rules}"));
    let cluster = &world.cluster;
    let mut paths = Paths { cluster, masquerade: rules, forward_drop: rules, cases };
    paths.by_pods().unwrap();
    paths.by_hosts().unwrap();
    paths.by_outside();
    paths.spread().unwrap();
    paths.untouched().unwrap();
    policies::local_policies(&world, &mut paths.cases);
    policies::without_endpoints(&world, &mut paths.cases);
    paths.cases.finish();
}

impl Paths<'_> {
    fn ask(
        &mut self,
        name: &str,
        from: &Place,
        who: &str,
        target: impl Fn(Family) -> SocketAddr + Sync,
        seen: impl Fn(Family) -> Seen + Sync,
    ) {
        self.cases.each(format!("{name} of {who}, by {}", from.name()), |family, transport| {
            let reply = answered(Ask::new(transport, target(family)), from, who)?;
            seen(family).check(family, reply.seen_source.ip())
        });
    }

    /// A103: as in nftables mode, traffic from a node to a node gets no pass through FORWARD, and
    /// the CNI gives one to pod addresses only. A pod's source is node 1's when it gets to node 2.
    fn is_stopped_on_2(&self, who: &str) -> bool {
        self.forward_drop && who == "node1"
    }

    /// ClusterIPs keep the source (A40), NodePorts do not (A41), hairpins never (A46).
    fn by_pods(&mut self) -> Result<()> {
        let (server, pod) = (self.cluster.pod(1)?, self.cluster.pod(2)?);
        for (number, who) in BACKENDS {
            let masquerade = self.masquerade && who == "node2";
            let own = |family| {
                // A host-network backend elsewhere is outside the pod range: the CNI masquerades.
                if masquerade { Seen::Node(1) } else { Seen::Ip(pod.address().ip(family)) }
            };
            self.ask("ClusterIP", pod, who, |f| vip(number, f), own);
            for node in [1, 2] {
                if node == 2 && self.is_stopped_on_2(who) {
                    continue;
                }
                let local = who == format!("node{node}");
                let seen = |_| if local { Seen::Any } else { Seen::Node(node) };
                let name = format!("NodePort of node{node}");
                self.ask(&name, pod, who, |f| on_node(node, number, f), seen);
            }
        }
        self.ask("hairpin", server, "pod1", |f| vip(1, f), |_| Seen::Node(1));
        self.ask("hairpin NodePort", server, "pod1", |f| on_node(1, 1, f), |_| Seen::Node(1));
        Ok(())
    }

    /// The node's own processes, by the socket hooks.
    fn by_hosts(&mut self) -> Result<()> {
        let host = self.cluster.node(1)?;
        for (number, who) in BACKENDS {
            let seen = |_| if who == "node1" { Seen::Any } else { Seen::Node(1) };
            self.ask("ClusterIP", host, who, |f| vip(number, f), seen);
            self.ask("own NodePort", host, who, |f| on_node(1, number, f), seen);
            if !self.is_stopped_on_2(who) {
                self.ask("other NodePort", host, who, |f| on_node(2, number, f), |_| Seen::Any);
            }
        }
        Ok(())
    }

    /// NodePorts and ClusterIPs from the underlay and from behind the router.
    fn by_outside(&mut self) {
        for person in [self.cluster.client(), self.cluster.outsider()] {
            for (number, who) in BACKENDS {
                // A103: as in nftables mode, marked packets get no pass through FORWARD.
                if self.forward_drop && who == "node2" {
                    continue;
                }
                let seen = |_| if who == "node1" { Seen::Any } else { Seen::Node(1) };
                self.ask("NodePort", person, who, |f| on_node(1, number, f), seen);
                self.ask("ClusterIP", person, who, |f| vip(number, f), seen);
            }
        }
    }

    /// Every backend gets its share (A38): 100 misses one of four once in 10^12.
    fn spread(&mut self) -> Result<()> {
        let (pod, host, client) =
            (self.cluster.pod(2)?, self.cluster.node(1)?, self.cluster.client());
        let people: [(&Place, Target); 3] =
            [(pod, vip), (host, vip), (client, |number, family| on_node(1, number, family))];
        for (from, target) in people {
            for (transport, family) in [(Transport::Tcp, Family::V4), (Transport::Udp, Family::V6)]
            {
                self.cases.case(format!("spread {transport:?} from {}", from.name()), || {
                    let mut who: Vec<String> = Vec::new();
                    for reply in from.many(Ask::new(transport, target(ALL, family)).times(100))? {
                        who.push(reply?.who);
                    }
                    who.sort();
                    who.dedup();
                    ensure!(who.len() == 4, "only {who:?} were asked");
                    Ok(())
                });
            }
        }
        Ok(())
    }

    /// Traffic that is no service's.
    fn untouched(&mut self) -> Result<()> {
        let (pod, other) = (self.cluster.pod(2)?, self.cluster.pod(3)?);
        let direct = |family| other.address().port(family, SERVER_PORT);
        self.ask("direct", pod, "pod3", direct, |f| Seen::Ip(pod.address().ip(f)));
        let client = self.cluster.client();
        let own = |family| Seen::Ip(address::client().ip(family));
        self.ask("direct", client, "pod3", direct, own);
        let node = |family| address::node(1).port(family, SERVER_PORT);
        self.ask("direct", client, "node1", node, own);
        self.ask("direct", self.cluster.node(1)?, "pod3", direct, |_| Seen::Any);
        Ok(())
    }
}
