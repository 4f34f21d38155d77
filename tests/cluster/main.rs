//! The real `sluice` on clusters of network namespaces, end to end.

mod bad_objects;
mod cases;
mod changes;
mod datagrams;
mod interference;
mod kube;
mod kubernetes;
mod migrate;
mod paths;
mod pods;
mod policies;
mod sockets;
mod state;
mod streams;
mod survive;
mod tuples;
mod world;
