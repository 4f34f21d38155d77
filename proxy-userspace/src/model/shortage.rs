//! The words for what does not fit, and for what two Services both want.

use sluice_common::frontend::FrontendKey;

use super::{
    name::PortKey,
    problem::{Problem, Subject},
    text,
};

/// What of a service port did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shortage {
    /// Endpoints beyond what one service port may have.
    pub(super) excess: usize,
    /// Endpoints that found no id.
    pub(super) backends: usize,
    /// Choices of endpoints that found no slot.
    pub(super) slots: usize,
    /// Lists that should be Maglev tables, or, where slots are short as well, longer lists.
    pub(super) tables: usize,
    /// Source ranges beyond what one service port may have.
    pub(super) excess_sources: usize,
    /// Source ranges that found no room.
    pub(super) sources: usize,
}

impl Shortage {
    /// Whether it may go away by itself when other Services take less.
    pub(super) fn may_pass(&self) -> bool {
        self.backends + self.slots + self.tables + self.sources > 0
    }
}

fn problem(key: &PortKey, text: String) -> Problem {
    Problem { subject: Subject::Service(key.object.clone()), text }
}

/// No id left.
pub(super) fn services(key: &PortKey) -> Problem {
    problem(key, format!("port {key} is not served: map SERVICES is full; delete some Services"))
}

/// An address with a port does not fit.
pub(super) fn frontend<const N: usize>(at: &FrontendKey<N>, key: &PortKey) -> Problem {
    let (at, version) = (text::place(at), text::family::<N>());
    problem(
        key,
        format!("{at} is not served: map FRONTENDS_{version} is full; raise --max-frontends"),
    )
}

/// Another Service has the address and port.
pub(super) fn duplicate<const N: usize>(
    at: &FrontendKey<N>,
    winner: &PortKey,
    loser: &PortKey,
) -> Problem {
    let at = text::place(at);
    problem(
        loser,
        format!("{at} of {loser} already belongs to {winner}, which keeps it; change one of them"),
    )
}

/// Endpoints or source ranges of a service port do not fit.
pub(super) fn problems(key: &PortKey, version: u8, short_of: &Shortage) -> Vec<Problem> {
    let kinds = [
        (short_of.excess, "the port has more than a quarter of map BACKENDS", "--max-backends"),
        (short_of.backends, "map BACKENDS is full", "--max-backends"),
        (short_of.slots, "map SLOTS is full", "--max-slots"),
    ];
    let short = kinds.into_iter().filter(|(count, ..)| *count > 0);
    let word = |(count, cause, flag)| {
        let text = format!("{count} IPv{version} endpoints of {key} get no traffic: {cause}");
        problem(key, format!("{text}; raise {flag}"))
    };
    short
        .map(word)
        .chain(tables(key, version, short_of))
        .chain(sources(key, version, short_of))
        .collect()
}

/// The flow's hash points into a plain list instead, which is the same on every node as well.
fn tables(key: &PortKey, version: u8, short: &Shortage) -> Option<Problem> {
    let is_short = short.tables > 0 && short.slots == 0;
    let text = format!(
        "no room for the Maglev table of {key}'s IPv{version} endpoints: when they change, most of \
         its flows without an entry go to another; raise --max-slots"
    );
    is_short.then(|| problem(key, text))
}

/// A restricted address does not become an open one: what does not fit is kept out (A53).
fn sources(key: &PortKey, version: u8, short: &Shortage) -> Option<Problem> {
    let cause = match (short.excess_sources, short.sources) {
        (0, 0) => return None,
        (0, _) => "map PREFIXES is full",
        _ => "the port has more than a quarter of map PREFIXES",
    };
    let count = short.excess_sources + short.sources;
    let text = format!(
        "{count} IPv{version} loadBalancerSourceRanges of {key} do not fit, so their clients are \
         dropped: {cause}; raise --max-prefixes"
    );
    Some(problem(key, text))
}

/// What stands for no service does not fit: endpoints' own addresses, cluster IPs, ServiceCIDRs.
pub(super) fn marks(version: u8, (endpoints, cluster_ips): (usize, usize)) -> Vec<Problem> {
    let kinds = [
        (
            endpoints,
            "endpoint addresses do not fit, so direct traffic to them may be confused with \
             translated traffic",
        ),
        (
            cluster_ips,
            "cluster IPs do not fit, so traffic to ports that they do not have is not rejected",
        ),
    ];
    let short = kinds.into_iter().filter(|(count, _)| *count > 0);
    let subject = || Subject::Other(format!("map FRONTENDS_V{version}"));
    short
        .map(|(count, what)| Problem {
            subject: subject(),
            text: format!("{count} {what}; raise --max-frontends"),
        })
        .collect()
}

/// ServiceCIDRs do not fit.
pub(super) fn service_cidrs(version: u8, count: usize) -> Vec<Problem> {
    if count == 0 {
        return Vec::new();
    }
    let subject = Subject::Other(format!("map PREFIXES_V{version}"));
    let text = format!(
        "{count} ServiceCIDRs do not fit, so traffic to cluster IPs in them that no Service has is \
         not dropped; raise --max-prefixes"
    );
    vec![Problem { subject, text }]
}
