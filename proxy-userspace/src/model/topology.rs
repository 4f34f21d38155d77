//! Topology hints (A32).

use super::spec::Endpoint;

/// Which endpoints the hints leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// All.
    Anywhere,
    /// Those hinted to this node.
    SameNode,
    /// Those hinted to this node's zone.
    SameZone,
}

/// Where this node is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// Name of the node.
    pub(super) node: &'a str,
    /// Its zone; empty when unknown.
    pub(super) zone: &'a str,
}

impl Place<'_> {
    /// Whether the endpoint is on this node (A8).
    pub(super) fn has(&self, endpoint: &Endpoint) -> bool {
        !self.node.is_empty() && endpoint.node == self.node
    }

    /// What the hints of the ready endpoints amount to: one without hints disables its level.
    pub(super) fn mode(&self, ready: &[&Endpoint]) -> Mode {
        let every_node = ready.iter().all(|e| !e.node_hints.is_empty());
        if every_node && ready.iter().any(|e| Mode::SameNode.allows(e, self)) {
            return Mode::SameNode;
        }
        let every_zone = ready.iter().all(|e| !e.zone_hints.is_empty());
        if every_zone && ready.iter().any(|e| Mode::SameZone.allows(e, self)) {
            return Mode::SameZone;
        }
        Mode::Anywhere
    }
}

impl Mode {
    /// Whether a ready endpoint may be used.
    pub(super) fn allows(self, endpoint: &Endpoint, place: &Place<'_>) -> bool {
        match self {
            Self::Anywhere => true,
            Self::SameNode => names(&endpoint.node_hints, place.node),
            Self::SameZone => names(&endpoint.zone_hints, place.zone),
        }
    }
}

fn names(hints: &[String], name: &str) -> bool {
    !name.is_empty() && hints.iter().any(|hint| hint == name)
}
