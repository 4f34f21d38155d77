//! What the maps should hold, computed from objects alone: no clock, no randomness, no I/O, no
//! failure.

pub mod op;
pub mod plan;
pub mod problem;
pub mod spec;
