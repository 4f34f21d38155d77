//! Out of the model, into the kernel.

pub mod apply;
#[cfg(test)]
pub(crate) mod fake;

pub use apply::{Maps, Report, WriteError, apply};
