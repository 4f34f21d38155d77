//! The flow table of docs/dataplane.md, and the services of the universe.

use std::{collections::HashMap, net::SocketAddr};

use sluice_common::net::proto;
use testbed::packet::Hook;

use super::parse::Packet;
use crate::universe::{self, Access, NODE_PORTS, Target};

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Translate,
    /// Only a claim.
    Identity,
    /// A masquerade whose address is not chosen yet.
    Pending,
    Masquerade,
}

/// A rewrite: `end` is the new source (leaving) or destination (entering), `other` the other end's
/// port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) end: SocketAddr,
    pub(crate) other: u16,
    pub(crate) kind: Kind,
    /// A FIN or RST has used it.
    closing: bool,
}

impl Entry {
    fn new(end: SocketAddr, other: u16, kind: Kind) -> Self {
        Self { end, other, kind, closing: false }
    }

    /// Source and destination port after the rewrite.
    pub(crate) fn ports(&self, hook: Hook) -> (u16, u16) {
        match hook {
            Hook::Ingress | Hook::IngressUpper | Hook::Uplink => (self.other, self.end.port()),
            Hook::Egress | Hook::EgressUpper => (self.end.port(), self.other),
        }
    }

    fn is_masquerade(&self) -> bool {
        matches!(self.kind, Kind::Pending | Kind::Masquerade)
    }
}

type Key = (bool, u8, SocketAddr, SocketAddr);
type Datagram = (bool, u8, SocketAddr, SocketAddr, u32);

fn key(hook: Hook, proto: u8, src: SocketAddr, dst: SocketAddr) -> Key {
    (hook == Hook::Egress, proto, src, dst)
}

/// What becomes of a packet with ports.
#[derive(Debug)]
pub(crate) enum Chosen {
    Untouched,
    Drop,
    Reject,
    Rewrite(Entry),
}

/// The node's memory.
#[derive(Default)]
pub(crate) struct Tables {
    flows: HashMap<Key, Entry>,
    /// Source and destination with the ports of the first fragment.
    fragments: HashMap<Datagram, (SocketAddr, SocketAddr)>,
}

impl Tables {
    pub(crate) fn find(
        &self,
        hook: Hook,
        proto: u8,
        src: SocketAddr,
        dst: SocketAddr,
    ) -> Option<Entry> {
        self.flows.get(&key(hook, proto, src, dst)).copied()
    }

    pub(crate) fn remember(&mut self, hook: Hook, p: &Packet) {
        self.fragments.insert(datagram(hook, p), (p.src, p.dst));
    }

    /// The entry for a later fragment.
    pub(crate) fn recall(&self, hook: Hook, p: &Packet) -> Option<Entry> {
        let (src, dst) = self.fragments.get(&datagram(hook, p))?;
        self.find(hook, p.proto, *src, *dst)
    }

    /// Ingress. `port` is what the program chose for the client, if it had to choose.
    pub(crate) fn enter(&mut self, p: &Packet, port: u16) -> Chosen {
        let own = key(Hook::Ingress, p.proto, p.src, p.dst);
        if let Some(entry) = self.flows.get_mut(&own) {
            let anew = p.proto == proto::TCP && p.begins && entry.closing;
            if !anew {
                entry.closing |= p.closes;
                let entry = *entry;
                return match entry.kind {
                    Kind::Identity => Chosen::Untouched,
                    _ => Chosen::Rewrite(entry),
                };
            }
            self.forget(p, own);
        }
        match universe::target(p.dst) {
            Some(_) if !p.begins => Chosen::Untouched,
            None => Chosen::Untouched,
            Some(_) if self.answers_another(p) => Chosen::Untouched,
            Some(Target::Empty) => Chosen::Reject,
            Some(Target::Endpoint) => self.begin(p, p.dst, false, port),
            Some(Target::Service { backend, access }) => match masquerades(p, backend, access) {
                Some(masquerade) => self.begin(p, backend, masquerade, port),
                None => Chosen::Drop,
            },
        }
    }

    /// Removes a closed flow that a SYN begins anew.
    fn forget(&mut self, p: &Packet, own: Key) {
        let old = self.flows[&own];
        let client = SocketAddr::new(p.src.ip(), old.other);
        let answers = key(Hook::Egress, p.proto, old.end, client);
        let holder = self.flows.get(&answers);
        if holder.is_some_and(|h| h.end == p.dst && h.other == p.src.port()) {
            self.flows.remove(&answers);
            self.flows.remove(&key(Hook::Egress, p.proto, client, old.end));
        }
    }

    /// A datagram that egress will rewrite as an answer.
    fn answers_another(&self, p: &Packet) -> bool {
        let same = self.find(Hook::Egress, p.proto, p.src, p.dst);
        p.proto != proto::TCP && same.is_some_and(|entry| !entry.is_masquerade())
    }

    /// Enters a flow to `to`, which for direct traffic is where it went anyway.
    fn begin(&mut self, p: &Packet, to: SocketAddr, masquerade: bool, port: u16) -> Chosen {
        let mut client = p.src;
        let mut kind = if to == p.dst { Kind::Identity } else { Kind::Translate };
        if to == client && kind == Kind::Identity {
            // To itself: nothing is rewritten, and its answer is claimed under a port nobody sees.
            self.flows.insert(key(Hook::Ingress, p.proto, p.src, to), Entry::new(to, port, kind));
            return Chosen::Untouched;
        }
        if to == client {
            client.set_port(port);
        }
        let answer = Entry::new(p.dst, p.src.port(), kind);
        if self.is_taken(key(Hook::Egress, p.proto, to, client), answer) {
            client.set_port(port);
            kind = Kind::Translate;
            assert!(port >= 1024, "a client's port of {port}");
        }
        let answers = key(Hook::Egress, p.proto, to, client);
        assert!(!self.is_taken(answers, answer), "{client} to {to} is another flow's");
        self.flows.insert(answers, Entry { kind, ..answer });
        let onward = key(Hook::Egress, p.proto, client, to);
        match masquerade {
            true => self.flows.insert(onward, Entry::new(to, to.port(), Kind::Pending)),
            false => self.flows.remove(&onward),
        };
        let entry = Entry::new(to, client.port(), kind);
        self.flows.insert(key(Hook::Ingress, p.proto, p.src, p.dst), entry);
        if kind == Kind::Identity { Chosen::Untouched } else { Chosen::Rewrite(entry) }
    }

    /// Whether a key belongs to a flow other than `entry`'s.
    fn is_taken(&self, key: Key, entry: Entry) -> bool {
        self.flows.get(&key).is_some_and(|h| (h.end, h.other) != (entry.end, entry.other))
    }

    /// Egress. `port` is what the program chose for the node, if it had to choose.
    pub(crate) fn leave(&mut self, p: &Packet, port: u16) -> Chosen {
        let own = key(Hook::Egress, p.proto, p.src, p.dst);
        let is_node = p.src.ip() == universe::node(p.src.ip());
        if !self.flows.contains_key(&own) {
            // In a test run every packet is one of the node's own sockets.
            if !(p.begins && is_node) {
                return Chosen::Untouched;
            }
            let answers = key(Hook::Ingress, p.proto, p.dst, p.src);
            let held = self.flows.get(&answers);
            if !held.is_some_and(|h| h.is_masquerade() && h.end.ip() != p.src.ip()) {
                self.claim_node_port(p, answers);
                return Chosen::Untouched;
            }
            self.flows.insert(own, Entry::new(p.dst, p.dst.port(), Kind::Pending));
        }
        let mut entry = self.flows[&own];
        match entry.kind {
            Kind::Identity => return Chosen::Untouched,
            Kind::Pending => {
                entry.end = self.masquerade(p, port);
                entry.kind = Kind::Masquerade;
                self.flows.insert(own, entry);
            }
            Kind::Translate | Kind::Masquerade => {}
        }
        Chosen::Rewrite(entry)
    }

    /// A datagram from a NodePort's number: its answer is not a client's.
    fn claim_node_port(&mut self, p: &Packet, answers: Key) {
        let number = NODE_PORTS.contains(&p.src.port());
        if p.proto == proto::UDP && number && universe::target(p.src).is_some() {
            let identity = Entry::new(p.src, p.dst.port(), Kind::Identity);
            self.flows.entry(answers).or_insert(identity);
        }
    }

    /// Chooses the node's address and port for a flow.
    fn masquerade(&mut self, p: &Packet, port: u16) -> SocketAddr {
        let mut node = SocketAddr::new(universe::node(p.src.ip()), p.src.port());
        let home = Entry::new(p.src, p.dst.port(), Kind::Masquerade);
        let answers = |node| key(Hook::Ingress, p.proto, p.dst, node);
        if NODE_PORTS.contains(&node.port()) || self.is_taken(answers(node), home) {
            node.set_port(port);
        }
        assert!(!NODE_PORTS.contains(&node.port()), "{node} is a NodePort");
        assert!(!self.is_taken(answers(node), home), "{node} to {} is another flow's", p.dst);
        self.flows.insert(answers(node), home);
        node
    }
}

fn datagram(hook: Hook, p: &Packet) -> Datagram {
    let bare = |end: SocketAddr| SocketAddr::new(end.ip(), 0);
    (hook == Hook::Egress, p.proto, bare(p.src), bare(p.dst), p.id)
}

/// The verdict matrix (A40–A46): whether to masquerade; `None` for nothing to be reached.
fn masquerades(p: &Packet, backend: SocketAddr, access: Access) -> Option<bool> {
    let pod = universe::is_pod(p.src.ip());
    let node = p.src.ip() == universe::node(p.src.ip());
    let yes = match access {
        Access::ClusterIp => !pod,
        Access::NodePort => true,
        Access::LocalNodePort if !pod && !node => return None,
        Access::LocalNodePort => node,
    };
    Some(yes || backend.ip() == p.src.ip())
}
