//! One pod of a cluster.

use std::ops::Deref;

use crate::address::Pair;
use crate::place::Place;
use crate::topology::Attachment;

/// A pod.
#[derive(Debug)]
pub struct Pod {
    pub(crate) node: u8,
    pub(crate) place: Place,
    pub(crate) address: Pair,
    /// Held for its end.
    pub(crate) _attachment: Option<Attachment>,
}

impl Pod {
    /// The number of its node.
    pub fn node(&self) -> u8 {
        self.node
    }

    /// Its addresses.
    pub fn address(&self) -> Pair {
        self.address
    }
}

impl Deref for Pod {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}
