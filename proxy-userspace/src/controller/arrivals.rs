//! From the source to the loop.

use std::time::Instant;

use tokio::sync::mpsc;

use crate::{
    config::{Config, Source},
    health::Health,
    model::spec::Event,
    source::{
        self,
        kube::{Connection, Observer},
    },
};

/// Notes when events arrive, so that how long they wait is known, and a loop that is stuck found out.
pub(super) async fn stamp(
    mut events: mpsc::Receiver<Event>,
    stamped: mpsc::Sender<(Instant, Event)>,
    health: Health,
) {
    while let Some(event) = events.recv().await {
        let now = Instant::now();
        if matches!(event, Event::Services(_) | Event::Slices(_)) {
            health.queued(now);
        }
        if stamped.send((now, event)).await.is_err() {
            return;
        }
    }
}

/// Runs the source that the configuration names. Ends only when nobody listens any more.
pub(super) async fn follow(config: Config, requests: Observer, events: mpsc::Sender<Event>) {
    match config.source {
        Source::Manifests(folder) => {
            source::manifest::run(folder, &config.node_name, events).await;
        }
        Source::Kubernetes { kubeconfig, master } => {
            let connection = Connection::new(kubeconfig.as_deref(), master.as_deref());
            let connection = connection.observed_by(requests);
            source::kube::run(&connection, &config.node_name, events).await;
        }
    }
}
