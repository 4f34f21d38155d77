//! The real `sluice` on clusters of network namespaces, end to end.

mod cases;
mod paths;
mod world;
