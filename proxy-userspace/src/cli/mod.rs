//! Subcommands that look at the pinned maps, or at objects; none needs the controller.

pub mod explain;
pub mod flow;
pub mod migrate;
pub mod output;
pub mod service;

pub use output::Output;
