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
pub mod explain;
pub mod logging;
pub mod model;
pub mod node;
pub mod source;
pub mod vitals;
