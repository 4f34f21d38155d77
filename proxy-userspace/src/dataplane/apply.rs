//! What runs a plan against the maps.

use crate::model::op::Op;

/// Why a map did not take a write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The map holds as much as it can.
    #[error("map {map} is full ({capacity}); raise {flag}")]
    Full {
        /// Name of the map.
        map: &'static str,
        /// Its size.
        capacity: u32,
        /// The option that makes it larger.
        flag: &'static str,
    },
    /// Anything else, with the system's words for it.
    #[error("map {map}: {cause}")]
    Failed {
        /// Name of the map.
        map: &'static str,
        /// The cause.
        cause: String,
    },
}

/// The maps that a plan is written to: the kernel's, or a fake.
pub trait Maps {
    /// Does one write. Deleting what is not there is a success.
    fn write(&mut self, op: &Op) -> Result<(), WriteError>;
}
