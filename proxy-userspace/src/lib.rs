//! Sluice: an eBPF service proxy for Kubernetes, in kube-proxy's place, with any CNI.
//!
//! ```text
//! source ─► model ─► plan ─► dataplane
//! (I/O in)  (pure)   (pure)  (I/O out)
//! ```

pub mod cli;
pub mod dataplane;
pub mod model;
pub mod node;
