//! Clusters made of network namespaces: what the privileged tests, the demo and the bench stand on.
//!
//! A [`Cluster`] is a set of namespaces, each a [`Place`] with an agent process that serves and
//! asks. Nothing touches the machine's own interfaces; everything is named after its owner, goes
//! when the cluster is dropped, and is swept by the next run if the owner crashed.

pub mod address;
mod agent;
pub mod apiserver;
mod cluster;
mod fabric;
pub mod http;
mod kube_proxy;
mod manifests;
mod netns;
pub mod packet;
mod place;
mod pod;
mod rules;
mod scope;
mod sluice;
mod topology;
mod traffic;
mod uplink;
pub mod wire;
mod wires;

pub use cluster::{Builder, Cluster, Node};
pub use kube_proxy::{KubeProxy, Served};
pub use manifests::{Manifests, Port, Service, Slice};
pub use place::Place;
pub use pod::Pod;
pub use rules::CniRules;
pub use scope::{remove_own, sweep};
pub use sluice::{Sluice, Source, patience};
pub use topology::{Attachment, Plugin, Topology};
pub use traffic::{Held, IntoTarget, Traffic};
pub use wires::Wires;
