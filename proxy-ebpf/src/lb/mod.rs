//! Load balancing: which service a packet is for, and which backend it gets.

pub mod affinity;
pub mod cluster_ip;
pub mod lookup;
pub mod prefixes;
pub mod resume;
pub mod select;
