//! Metrics in Prometheus' text format: kube-proxy's own names (A.8), and `sluice_…`.
//!
//! Values that somebody has to count are handed in as they happen. What the kernel counts is read
//! when a scrape asks for it: [`Metrics::register`] takes a collector for each such source.

pub mod endpoints;
pub mod kernel;
pub mod kube_proxy;
pub mod own;
pub mod process;
pub mod rest_client;
pub mod vitals;

use std::sync::Arc;

use prometheus::{Registry, TextEncoder, core::Collector};

use crate::http::Reply;
pub use kube_proxy::KubeProxy;
pub use own::Own;
pub use rest_client::RestClient;

/// Every metric. Clones are one.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    slis: Registry,
    kube_proxy: KubeProxy,
    own: Own,
    rest_client: RestClient,
}

impl Metrics {
    /// All of them, at zero.
    ///
    /// # Errors
    /// A name is there twice, which a test would have found.
    pub fn new() -> prometheus::Result<Self> {
        let (registry, slis) = (Registry::new(), Registry::new());
        let kube_proxy = KubeProxy::new(&registry, &slis)?;
        let own = Own::new(&registry)?;
        let rest_client = RestClient::new(&registry)?;
        registry.register(Box::new(process::Process::new()?))?;
        Ok(Self(Arc::new(Inner { registry, slis, kube_proxy, own, rest_client })))
    }

    /// Adds something that is read at each scrape.
    ///
    /// # Errors
    /// Its name is taken.
    pub fn register(&self, collector: Box<dyn Collector>) -> prometheus::Result<()> {
        self.0.registry.register(collector)
    }

    /// Those that kube-proxy has.
    pub fn kube_proxy(&self) -> &KubeProxy {
        &self.0.kube_proxy
    }

    /// Those that only we have.
    pub fn own(&self) -> &Own {
        &self.0.own
    }

    /// Those about requests to the API server.
    pub fn rest_client(&self) -> &RestClient {
        &self.0.rest_client
    }

    /// The answer to /metrics.
    pub fn scrape(&self) -> Reply {
        page(&self.0.registry)
    }

    /// The answer to /metrics/slis.
    pub fn scrape_slis(&self) -> Reply {
        page(&self.0.slis)
    }
}

fn page(registry: &Registry) -> Reply {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => {
            Reply { content_type: "text/plain; version=0.0.4; charset=utf-8", ..Reply::text(text) }
        }
        Err(error) => {
            let text = format!("encoding the metrics failed: {error}\n");
            Reply { status: 500, ..Reply::text(text) }
        }
    }
}
