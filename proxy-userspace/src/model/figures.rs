//! How full the maps are.

use super::Model;

/// Entries of the maps that the model fills, by the map's name.
pub type Figures = [(&'static str, usize); 7];

impl Model {
    /// Entries of each map.
    pub fn figures(&self) -> Figures {
        [
            ("SERVICES", self.services.delta.written().len()),
            ("FRONTENDS_V4", self.v4.frontends.written().len()),
            ("FRONTENDS_V6", self.v6.frontends.written().len()),
            // Arrays are full of values; those that are wanted are in use.
            ("BACKENDS_V4", self.v4.backends.delta.wanted().len()),
            ("BACKENDS_V6", self.v6.backends.delta.wanted().len()),
            ("SLOTS_V4", self.v4.slots.len()),
            ("SLOTS_V6", self.v6.slots.len()),
        ]
    }
}
