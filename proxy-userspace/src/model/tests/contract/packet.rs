//! A packet as far as a verdict depends on it, and the verdict.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use super::super::super::spec::Protocol;

/// What tells sources apart (A42–A44).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A pod, if a detector is there to tell (A45).
    Pod,
    /// The node itself.
    Node,
    /// Anything else.
    Other,
}

/// The first packet of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) source: Source,
    /// The source's address. The node's sockets, which are asked before one is chosen, have none.
    pub(super) client: Option<IpAddr>,
    pub(super) to: SocketAddr,
    pub(super) protocol: Protocol,
}

/// What the command line says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switches {
    /// A40.
    pub(super) masquerade_all: bool,
    /// A45.
    pub(super) detector: bool,
    /// A51 and A52, or as in iptables mode (A102).
    pub(super) unknown_rejected: bool,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// To one of these, chosen at random (A38).
    Forward { to: BTreeSet<SocketAddr>, masquerade: bool },
    /// ICMP port unreachable (A50).
    Reject,
    /// Nothing, silently.
    Drop,
    /// It goes on as if there were no proxy.
    Untouched,
}

impl Verdict {
    /// A choice among these: an empty one drops (A48, A49).
    pub(super) fn forward(to: BTreeSet<SocketAddr>, masquerade: bool) -> Self {
        if to.is_empty() { Self::Drop } else { Self::Forward { to, masquerade } }
    }
}
