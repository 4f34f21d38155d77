//! The Kubernetes API as a source: list, watch, and never give up.
//!
//! Watches exactly what kube-proxy's ClusterRole allows (A1, A3, A17 to A19).

mod backoff;
mod connection;
mod follow;
mod keyed;
mod order;
mod requests;
mod single;

pub use connection::{Connection, client};
pub use requests::{Asked, Observer};

use tokio::sync::mpsc::Sender;

use crate::model::spec::Event;

/// Follows Services, EndpointSlices, the own Node and ServiceCIDRs. Each kind is handed over
/// whole once it is listed, then change by change. Outages are waited out: this ends only when
/// the receiver is gone.
///
/// While the Node does not exist, its spec is the last one known, marked as leaving, and a problem
/// says so.
pub async fn run(connection: &Connection, node_name: &str, events: Sender<Event>) {
    let follow = follow::Follow { connection, events };
    tokio::join!(
        follow.run(keyed::Keyed::new(keyed::Services)),
        follow.run(keyed::Keyed::new(keyed::Slices)),
        follow.run(single::OwnNode::new(node_name)),
        follow.run(single::ServiceCidrs::default()),
    );
}
