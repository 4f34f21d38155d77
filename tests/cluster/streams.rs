//! Traffic of every kind that goes on while something happens to the cluster.

use testbed::{
    Cluster, Place, Traffic,
    address::Family,
    wire::{Ask, FailureKind, Transport},
};

use crate::world::{on_node, vip};

/// Pause between two exchanges of a stream.
const EVERY_MS: u64 = 5;

/// New and lasting traffic to a Service from a pod, a node and outside, over both families.
pub(crate) struct Streams<'a>(Vec<Stream<'a>>);

struct Stream<'a> {
    name: String,
    traffic: Traffic<'a>,
    /// A connected UDP socket of the node is ended when its endpoint leaves (A73).
    may_end: bool,
}

impl<'a> Streams<'a> {
    /// Begins it: new TCP connections, one kept connection, and new UDP sockets.
    pub(crate) fn start(cluster: &'a Cluster, number: u8) -> Self {
        Self::every(cluster, number, EVERY_MS)
    }

    /// The same with another pause between exchanges.
    pub(crate) fn every(cluster: &'a Cluster, number: u8, pause_ms: u64) -> Self {
        let people: [(&Place, bool); 3] = [
            (cluster.pod(2).unwrap(), false),
            (cluster.node(1).unwrap(), false),
            (cluster.client(), true),
        ];
        let mut streams = Vec::new();
        for (from, outside) in people {
            for family in Family::BOTH {
                let target = if outside { on_node(1, number, family) } else { vip(number, family) };
                for (transport, fresh) in
                    [(Transport::Tcp, true), (Transport::Tcp, false), (Transport::Udp, true)]
                {
                    let ask = Ask::new(transport, target);
                    let kind = if fresh { "new" } else { "kept" };
                    let name = format!("{} to {target} by {kind} {transport:?}", from.name());
                    let may_end = transport == Transport::Udp && from.name().starts_with("node");
                    let traffic = from.traffic(ask, pause_ms, fresh).unwrap();
                    streams.push(Stream { name, traffic, may_end });
                }
            }
        }
        Self(streams)
    }

    /// Ends it. Every single exchange was answered: returns their number.
    pub(crate) fn spotless(mut self) -> u64 {
        self.0.iter_mut().for_each(|stream| stream.may_end = false);
        self.unharmed()
    }

    /// Ends it. Every exchange was answered, and none was stuck for long: returns their number.
    pub(crate) fn unharmed(self) -> u64 {
        self.end(0)
    }

    /// Ends it; of each kind of datagrams one exchange may have been lost.
    pub(crate) fn unharmed_but_for_a_datagram(self) -> u64 {
        self.end(1)
    }

    fn end(self, lost_datagrams: u64) -> u64 {
        let mut answered = 0;
        for Stream { name, traffic, may_end } in self.0 {
            let tally = traffic.stop().unwrap();
            let is_lost = tally.failed <= lost_datagrams && name.contains("Udp");
            let mut failures = tally.failures.iter();
            let harmless = tally.failed == 0
                || is_lost
                || may_end && failures.all(|failure| failure.kind == FailureKind::Aborted);
            assert!(tally.answered > 10 && harmless, "{name}: {tally:?}");
            answered += tally.answered;
        }
        answered
    }
}
