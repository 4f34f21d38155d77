//! Whether the proxy keeps up, told to probes and load balancers (A80 to A85).

pub mod checks;
pub mod proxy;
pub mod servers;

pub use checks::{Checks, Target};
pub use proxy::{Family, Health, Moment};
