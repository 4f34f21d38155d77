//! A small HTTP/1 server for probes and scrapes: short answers to GET, from values in memory.

pub mod reply;
pub mod server;

pub use reply::Reply;
pub use server::{Handler, listen, serve};
