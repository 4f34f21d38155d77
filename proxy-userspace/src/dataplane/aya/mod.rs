//! The kernel's side of the dataplane: load, pin, attach, write, read. The only folder that knows
//! aya.

pub mod attach;
pub mod batch;
pub mod cgroup;
pub mod clsact;
pub mod error;
pub mod flows;
pub mod hand_back;
pub mod interfaces;
pub mod load;
pub mod maps;
pub mod pin;
pub mod prefixes;
pub mod probe;
pub mod read;
pub mod rights;
pub mod stale;
pub mod sys;
mod table;
pub mod tables;
pub mod uplinks;

pub use error::Error;
