//! The whole process: the controller, and what stands around it.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    config::{Config, Source, watch::FileWatch},
    controller,
    dataplane::aya::{pin::Pins, read},
    events::{self, Events, Message},
    health::{Health, servers},
    http::{self, Handler},
    metrics::{Metrics, endpoints, kernel::Packets, vitals::Shown},
    migrate,
    node::sysctl,
    report::Reports,
    source::kube::{Connection, Observer},
    vitals::Vitals,
};

/// Wait before a port that could not be bound is tried again (A87).
const REBIND: Duration = Duration::from_secs(5);
/// Where kube-proxy's metrics are unless configured.
const KUBE_PROXY_METRICS: ([u8; 4], u16) = ([127, 0, 0, 1], 10_249);
/// How long the last Event of a process may take.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Runs until SIGTERM or SIGINT, a change of the configuration file (A95), or a failure. The
/// datapath stays in place.
pub async fn run(config: Config, file: Option<FileWatch>) -> anyhow::Result<()> {
    // Whatever is spawned here ends with this function.
    let mut tasks = JoinSet::new();
    let (events, messages) = events::channel();
    let metrics = Metrics::new().context("registering metrics")?;
    tasks.spawn(write_events(config.clone(), metrics.rest_client().observer(), messages));
    prepare(&config, &events);
    // Large rulesets take a while to read, and nothing waits for it.
    let address = config.metrics.unwrap_or_else(|| KUBE_PROXY_METRICS.into());
    let told = events.clone();
    tokio::task::spawn_blocking(move || look_for_kube_proxy(address, &told));
    let pins = Pins::new(&config.bpf_root);
    // Without maps yet there is nothing to count.
    let counts = Box::new(move || read::reasons(&pins).unwrap_or_default());
    metrics.register(Box::new(Packets::new(counts)?))?;
    let vitals = Arc::new(Vitals::default());
    metrics.register(Box::new(Shown::new(Arc::clone(&vitals))?))?;
    let health = Health::new(config.sync_period);
    let (checks, wanted) = watch::channel(Default::default());
    tasks.spawn(servers::run(wanted, health.clone(), events.clone()));
    let reports =
        Reports::new(metrics.clone(), health.clone(), events.clone(), checks, &config.sizes);
    events.tell(Message::about_node(false, "Starting", ""));
    // A task of its own: it answers while the controller is busy.
    let ports = tokio::spawn(serve(config.clone(), events, health, metrics));
    tokio::select! {
        ended = controller::run(config.clone(), reports, vitals) => ended,
        failure = ports => Err(failure.context("serving the ports")?),
        () = changed(file) => anyhow::bail!(
            "the configuration file was changed; ending, so that the next start reads it: the \
             datapath stays in place"
        ),
    }
}

/// Everything here is best effort: other traffic wants it, the datapath does not.
fn prepare(config: &Config, events: &Events) {
    if let Some(score) = config.kube.oom_score_adj
        && let Err(error) = sysctl::set_oom_score(Path::new("/"), score)
    {
        tracing::info!("setting oom_score_adj to {score} failed: {error}");
    }
    if let Err(error) = sysctl::apply(Path::new("/"), &config.kube.conntrack) {
        tracing::warn!("{error:#}");
        events.tell(Message::about_node(true, "FailedToSetSysctls", format!("{error:#}")));
    }
}

/// C20, C22: says so if a kube-proxy runs, or its rules are there. Neither ends the start: a node is
/// taken over while they are.
fn look_for_kube_proxy(metrics: SocketAddr, events: &Events) {
    for notice in migrate::notices(metrics) {
        tracing::warn!("{notice}");
        events.tell(Message::about_node(true, "KubeProxyFound", notice));
    }
}

async fn write_events(config: Config, requests: Observer, messages: mpsc::Receiver<Message>) {
    match config.source {
        Source::Manifests(_) => events::writer::discard(messages).await,
        Source::Kubernetes { kubeconfig, master } => {
            let connection = Connection::new(kubeconfig.as_deref(), master.as_deref());
            let connection = connection.observed_by(requests);
            events::writer::run(connection, config.node_name, messages).await;
        }
    }
}

/// Serves both ports; ends only with a failure that `bindAddressHardFail` makes fatal.
async fn serve(config: Config, events: Events, health: Health, metrics: Metrics) -> anyhow::Error {
    let healthz = Port {
        name: "healthz",
        address: config.healthz,
        reason: "FailedToStartProxierHealthcheck",
        handler: endpoints::health_port(health, metrics.clone()),
    };
    let metrics = Port {
        name: "metrics",
        address: config.metrics,
        reason: "FailedToStartMetricServer",
        handler: endpoints::metrics_port(&config, metrics),
    };
    let hard = config.kube.bind_address_hard_fail;
    tokio::select! {
        failure = healthz.serve(hard, &events) => failure,
        failure = metrics.serve(hard, &events) => failure,
    }
}

struct Port {
    name: &'static str,
    address: Option<SocketAddr>,
    reason: &'static str,
    handler: Handler,
}

impl Port {
    /// A87.
    async fn serve(self, hard: bool, events: &Events) -> anyhow::Error {
        let Some(address) = self.address else { return std::future::pending().await };
        loop {
            let error = match http::listen(address) {
                Ok(listener) => {
                    tracing::info!(%address, "serving {}", self.name);
                    http::serve(listener, self.handler.clone()).await;
                    continue;
                }
                Err(error) => error,
            };
            let name = self.name;
            if hard {
                let text = format!(
                    "serving {name} at {address} failed: {error}; free the port, or change \
                     --{name}-bind-address"
                );
                let last = events.tell_and_wait(Message::about_node(true, self.reason, &text));
                // Whether or not it could be written, the process ends.
                let _written = timeout(LAST_WORDS, last).await;
                return anyhow::anyhow!(text);
            }
            tracing::error!(
                "serving {name} at {address} failed: {error}; it is tried again every {REBIND:?}"
            );
            sleep(REBIND).await;
        }
    }
}

async fn changed(file: Option<FileWatch>) {
    match file {
        Some(mut file) => file.changed().await,
        None => std::future::pending().await,
    }
}
