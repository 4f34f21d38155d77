//! Out of the model, into the kernel.

pub mod apply;

pub use apply::{Maps, WriteError};
