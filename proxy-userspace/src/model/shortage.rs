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
}

impl Shortage {
    /// Whether it may go away by itself when other Services take less.
    pub(super) fn may_pass(&self) -> bool {
        self.backends + self.slots > 0
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

/// Endpoints of a service port do not fit.
pub(super) fn problems(key: &PortKey, version: u8, short: &Shortage) -> Vec<Problem> {
    let kinds = [
        (short.excess, "the port has more than a quarter of map BACKENDS", "--max-backends"),
        (short.backends, "map BACKENDS is full", "--max-backends"),
        (short.slots, "map SLOTS is full", "--max-slots"),
    ];
    let short = kinds.into_iter().filter(|(count, ..)| *count > 0);
    let word = |(count, cause, flag)| {
        let text = format!("{count} IPv{version} endpoints of {key} get no traffic: {cause}");
        problem(key, format!("{text}; raise {flag}"))
    };
    short.map(word).collect()
}

/// Endpoints' own addresses do not fit.
pub(super) fn marks(version: u8, count: usize) -> Vec<Problem> {
    if count == 0 {
        return Vec::new();
    }
    let subject = Subject::Other(format!("map FRONTENDS_V{version}"));
    let text = format!(
        "{count} endpoint addresses do not fit, so direct traffic to them may be confused with \
         translated traffic; raise --max-frontends"
    );
    vec![Problem { subject, text }]
}
