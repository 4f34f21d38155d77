//! Requests to the API server, under the names that every Kubernetes component has for them
//! (component-base, metrics/prometheus/restclient).

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use crate::source::kube::{Asked, Observer};

/// What client-go calls the code of a request that got no answer.
const NO_ANSWER: &str = "<error>";

/// The metrics.
#[derive(Clone, Debug)]
pub struct RestClient {
    requests: IntCounterVec,
    duration: HistogramVec,
}

impl RestClient {
    /// Registers both.
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let buckets = vec![0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0];
        let duration = HistogramOpts::new(
            "rest_client_request_duration_seconds",
            "Time until the API server answers a request, by verb and host",
        );
        let requests = Opts::new(
            "rest_client_requests_total",
            "Requests to the API server by status code, method and host",
        );
        let metrics = Self {
            requests: IntCounterVec::new(requests, &["code", "host", "method"])?,
            duration: HistogramVec::new(duration.buckets(buckets), &["host", "verb"])?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        Ok(metrics)
    }

    /// Who has to be told of the requests.
    pub fn observer(&self) -> Observer {
        let metrics = self.clone();
        Observer::new(move |asked| metrics.count(asked))
    }

    fn count(&self, asked: Asked<'_>) {
        let Asked { method, host, code, took } = asked;
        let code = code.map_or_else(|| NO_ANSWER.to_owned(), |code| code.to_string());
        self.requests.with_label_values(&[code.as_str(), host, method]).inc();
        self.duration.with_label_values(&[host, method]).observe(took.as_secs_f64());
    }
}
