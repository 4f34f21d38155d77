//! Load balancing: which service a packet is for, and which backend it gets.

pub mod lookup;
pub mod select;
