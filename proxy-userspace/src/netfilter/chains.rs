//! Which chains and rules of an iptables table are kube-proxy's, and may go: a pure question, the
//! same for legacy tables and for those that `iptables-nft` keeps in nftables.
//!
//! The names are those that kube-proxy's own clean-up looks for (pkg/proxy/iptables/cleanup.go,
//! pkg/proxy/ipvs/cleanup.go, v1.36, and what older releases made). The kubelet's KUBE-FIREWALL,
//! KUBE-KUBELET-CANARY, KUBE-MARK-DROP and KUBE-IPTABLES-HINT are not among them.

use std::collections::{BTreeMap, BTreeSet};

/// Tables that kube-proxy writes to.
pub const TABLES: [&str; 3] = ["nat", "filter", "mangle"];

/// Chains of the nat table, whole names.
const NAT: [&str; 9] = [
    "KUBE-SERVICES",
    "KUBE-NODEPORTS",
    "KUBE-POSTROUTING",
    "KUBE-MARK-MASQ",
    "KUBE-PROXY-CANARY",
    // Of the ipvs mode.
    "KUBE-NODE-PORT",
    "KUBE-LOAD-BALANCER",
    "KUBE-FIRE-WALL",
    "KUBE-NODE-PORT-LOCAL",
];
/// Chains of the filter table.
const FILTER: [&str; 10] = [
    "KUBE-SERVICES",
    "KUBE-EXTERNAL-SERVICES",
    "KUBE-FORWARD",
    "KUBE-NODEPORTS",
    "KUBE-PROXY-FIREWALL",
    "KUBE-PROXY-CANARY",
    // Of the ipvs mode.
    "KUBE-NODE-PORT",
    "KUBE-SOURCE-RANGES-FIREWALL",
    "KUBE-IPVS-FILTER",
    "KUBE-IPVS-OUT-FILTER",
];
/// Chains of the mangle table.
const MANGLE: [&str; 1] = ["KUBE-PROXY-CANARY"];
/// Chains of the nat table that services and endpoints have; the last until v1.24.
const PREFIXES: [&str; 6] =
    ["KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-EXT-", "KUBE-XLB-"];

/// Whether a chain has a name of kube-proxy's.
pub fn is_kube_proxys(table: &str, chain: &str) -> bool {
    match table {
        "nat" => NAT.contains(&chain) || PREFIXES.iter().any(|prefix| chain.starts_with(prefix)),
        "filter" => FILTER.contains(&chain),
        "mangle" => MANGLE.contains(&chain),
        _ => false,
    }
}

/// Whether kube-proxy jumps to the chain from the built-in ones.
fn is_entrance(chain: &str) -> bool {
    let inner = ["KUBE-MARK-MASQ", "KUBE-PROXY-CANARY", "KUBE-LOAD-BALANCER"];
    !inner.contains(&chain) && !PREFIXES.iter().any(|prefix| chain.starts_with(prefix))
}

/// A rule whose target is a chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Jump {
    /// The chain it stands in.
    pub from: String,
    /// Whether that is a built-in chain: PREROUTING and the like.
    pub from_builtin: bool,
    /// The chain it jumps to.
    pub to: String,
}

/// What of a table is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Chains, with all their rules.
    pub chains: BTreeSet<String>,
    /// Chains of kube-proxy's that stay, because somebody else's rules use them: with the name of one
    /// such chain.
    pub kept: BTreeMap<String, String>,
}

impl Removal {
    /// Decides for a table with these chains and jumps.
    pub fn of(table: &str, chains: &BTreeSet<String>, jumps: &[Jump]) -> Self {
        let mut removal = Self::default();
        let own = chains.iter().filter(|chain| is_kube_proxys(table, chain));
        removal.chains.extend(own.cloned());
        // What stays may use others in turn, so this goes on until nothing changes.
        while let Some(jump) = jumps.iter().find(|jump| removal.is_needed(jump)) {
            removal.chains.remove(&jump.to);
            removal.kept.insert(jump.to.clone(), jump.from.clone());
        }
        removal
    }

    fn is_needed(&self, jump: &Jump) -> bool {
        let is_kube_proxys_own = jump.from_builtin && is_entrance(&jump.to);
        self.chains.contains(&jump.to) && !self.chains.contains(&jump.from) && !is_kube_proxys_own
    }

    /// Whether a rule goes with its target, from a chain that stays.
    pub fn takes(&self, jump: &Jump) -> bool {
        self.chains.contains(&jump.to) && !self.chains.contains(&jump.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jump(from: &str, to: &str) -> Jump {
        let from_builtin = !from.contains('-');
        Jump { from: from.to_owned(), from_builtin, to: to.to_owned() }
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn c20_what_is_kube_proxys_goes_and_nothing_else() {
        let chains = names(&[
            "PREROUTING",
            "KUBE-SERVICES",
            "KUBE-SVC-A",
            "KUBE-SEP-A",
            "KUBE-MARK-MASQ",
            "KUBE-MARK-DROP",
            "KUBE-FIREWALL",
            "KUBE-KUBELET-CANARY",
            "KUBE-IPTABLES-HINT",
            "CNI-DN-1",
        ]);
        let jumps = [jump("PREROUTING", "KUBE-SERVICES"), jump("KUBE-SERVICES", "KUBE-SVC-A")];
        let removal = Removal::of("nat", &chains, &jumps);
        let gone = names(&["KUBE-SERVICES", "KUBE-SVC-A", "KUBE-SEP-A", "KUBE-MARK-MASQ"]);
        assert_eq!(removal.chains, gone);
        assert!(removal.takes(&jumps[0]) && !removal.takes(&jumps[1]));
        assert!(removal.kept.is_empty());
        assert!(Removal::of("raw", &chains, &jumps).chains.is_empty());
        assert!(Removal::of("mangle", &chains, &jumps).chains.is_empty());
    }

    #[test]
    fn a_chain_that_others_use_stays_and_so_does_what_it_uses() {
        let chains = names(&["KUBE-MARK-MASQ", "KUBE-SVC-A", "KUBE-SEP-A", "CNI-HOSTPORT-SETMARK"]);
        let jumps = [
            jump("CNI-HOSTPORT-SETMARK", "KUBE-MARK-MASQ"),
            jump("KUBE-SVC-A", "KUBE-SEP-A"),
            jump("OUTPUT", "KUBE-SVC-A"),
        ];
        let removal = Removal::of("nat", &chains, &jumps);
        assert!(removal.chains.is_empty(), "{removal:?}");
        assert_eq!(removal.kept["KUBE-MARK-MASQ"], "CNI-HOSTPORT-SETMARK");
        assert_eq!(removal.kept["KUBE-SEP-A"], "KUBE-SVC-A");
    }
}
