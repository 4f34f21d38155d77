//! Out of the model, into the kernel.

pub mod apply;
pub mod aya;

pub use apply::{Maps, WriteError};
