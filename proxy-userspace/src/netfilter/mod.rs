//! Netfilter's rulesets and connections, as the kernel has them: what kube-proxy left there is found
//! and removed without any of its tools, since our image has none (docs/decisions/0004).

pub mod attributes;
pub mod blob;
pub mod chains;
pub mod conntrack;
pub mod legacy;
pub mod netlink;
mod nft;
pub mod nftables;
pub mod own;
pub mod rules;

/// An address family that has rulesets of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4: `iptables`, nftables' `ip`.
    V4,
    /// IPv6: `ip6tables`, nftables' `ip6`.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The name in nftables.
    pub const fn nftables(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }

    /// The command whose rules these are.
    pub const fn iptables(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }

    /// The number in messages of netfilter's (NFPROTO_IPV4, NFPROTO_IPV6).
    pub const fn number(self) -> u8 {
        match self {
            Self::V4 => libc::NFPROTO_IPV4 as u8,
            Self::V6 => libc::NFPROTO_IPV6 as u8,
        }
    }
}
