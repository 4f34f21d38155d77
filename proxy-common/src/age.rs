//! How long a flow may be idle before its tuple is another's: the programs give it away when
//! somebody wants it, the controller's sweep removes its entries.

use crate::{
    flow::flags::{ESTABLISHED, FIN, RST},
    net::proto,
};

/// Seconds. The kernel's conntrack has the same ones (nf_conntrack_tcp_timeout_*, with kube-proxy's
/// A76, and nf_conntrack_udp_timeout*).
mod seconds {
    pub(super) const TCP_HANDSHAKE: u32 = 60;
    pub(super) const TCP_ESTABLISHED: u32 = 86_400;
    pub(super) const TCP_CLOSE_WAIT: u32 = 3_600;
    pub(super) const TCP_TIME_WAIT: u32 = 120;
    pub(super) const TCP_RESET: u32 = 10;
    pub(super) const UDP_UNANSWERED: u32 = 30;
    pub(super) const UDP_ANSWERED: u32 = 120;
    /// More than five lost heartbeats.
    pub(super) const SCTP_ASSOCIATED: u32 = 210;
}

/// How far a flow is, by the flags of its two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// TCP: nothing but the first SYN has passed.
    Handshake,
    /// TCP: open.
    Established,
    /// TCP: one side has said that it is done.
    HalfClosed,
    /// TCP: both sides have.
    Closed,
    /// TCP: a RST has passed.
    Reset,
    /// Datagrams: not more than one in one of the directions.
    Unanswered,
    /// Datagrams, both ways.
    Answered,
    /// SCTP, both ways.
    Associated,
}

impl State {
    /// Every state, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Handshake,
        Self::Established,
        Self::HalfClosed,
        Self::Closed,
        Self::Reset,
        Self::Unanswered,
        Self::Answered,
        Self::Associated,
    ];

    /// The label of its metric.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Established => "established",
            Self::HalfClosed => "half-closed",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Unanswered => "unanswered",
            Self::Answered => "answered",
            Self::Associated => "associated",
        }
    }

    /// The state of a flow: flags ([`crate::flow::flags`]) that either direction has, and flags
    /// that both have.
    #[inline(always)]
    pub const fn of(proto: u8, either: u32, both: u32) -> Self {
        if proto != proto::TCP {
            return match both & ESTABLISHED {
                0 => Self::Unanswered,
                _ if proto == proto::SCTP => Self::Associated,
                _ => Self::Answered,
            };
        }
        match either & (ESTABLISHED | FIN) {
            _ if either & RST != 0 => Self::Reset,
            _ if both & FIN != 0 => Self::Closed,
            ESTABLISHED => Self::Established,
            0 => Self::Handshake,
            _ => Self::HalfClosed,
        }
    }

    /// Whether nothing more is to come: what is idle now is only kept for what is late.
    #[inline(always)]
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Closed | Self::Reset)
    }

    /// Idle seconds after which the flow is over.
    #[inline(always)]
    pub const fn limit(self) -> u32 {
        match self {
            Self::Handshake => seconds::TCP_HANDSHAKE,
            Self::Established => seconds::TCP_ESTABLISHED,
            Self::HalfClosed => seconds::TCP_CLOSE_WAIT,
            Self::Closed => seconds::TCP_TIME_WAIT,
            Self::Reset => seconds::TCP_RESET,
            Self::Unanswered => seconds::UDP_UNANSWERED,
            Self::Answered => seconds::UDP_ANSWERED,
            Self::Associated => seconds::SCTP_ASSOCIATED,
        }
    }
}
