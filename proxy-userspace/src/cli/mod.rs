//! Subcommands that look at the pinned maps; none needs the controller.

pub mod flow;
pub mod output;
pub mod service;

pub use output::Output;
