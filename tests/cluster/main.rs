//! The real `sluice` on clusters of network namespaces, end to end.

mod cases;
mod changes;
mod interference;
mod paths;
mod policies;
mod sockets;
mod survive;
mod tuples;
mod world;
