//! Sluice: an eBPF service proxy for Kubernetes, in kube-proxy's place, with any CNI.
//!
//! ```text
//! source ─► model ─► plan ─► dataplane
//! (I/O in)  (pure)   (pure)  (I/O out)
//! ```

pub mod cli;
pub mod config;
pub mod controller;
pub mod dataplane;
pub mod events;
pub mod explain;
pub mod health;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod migrate;
pub mod model;
pub mod netfilter;
pub mod node;
pub mod process;
pub mod report;
pub mod source;
pub mod vitals;

/// The Kubernetes release whose API and kube-proxy this program was made against.
pub const KUBERNETES: &str = "v1.36";
