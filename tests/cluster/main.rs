//! The real `sluice` on clusters of network namespaces, end to end.

mod agents;
mod bad_objects;
mod cases;
mod changes;
mod datagrams;
mod guest;
mod interference;
mod kube;
mod kubernetes;
mod maglev;
mod migrate;
mod node;
mod paths;
mod plugins;
mod pods;
mod policies;
mod restarts;
mod sockets;
mod state;
mod streams;
mod survive;
mod tuples;
mod upgrade;
mod world;
mod xdp;
