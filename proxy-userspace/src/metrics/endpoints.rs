//! What the two ports answer: the health port (A84, A85) and the metrics port (A86).

use std::{fmt::Write, sync::Arc, time::Instant};

use jiff::Timestamp;
use serde_json::json;

use super::Metrics;
use crate::{
    config::{Config, GivenFlag, MODE},
    health::{Health, Moment},
    http::{Handler, Reply},
};

/// What the health port serves.
pub fn health_port(health: Health, metrics: Metrics) -> Handler {
    Arc::new(move |path| {
        let now = Moment::now();
        let (reply, counter) = match path {
            "/healthz" => (health.healthz(now), &metrics.kube_proxy().healthz),
            "/livez" => (health.livez(now), &metrics.kube_proxy().livez),
            _ => return Reply::not_found(),
        };
        counter.with_label_values(&[reply.status.to_string()]).inc();
        reply
    })
}

/// Paths of the metrics port, as /statusz lists them.
const PATHS: [&str; 7] =
    ["/configz", "/flagz", "/healthz", "/metrics", "/metrics/slis", "/proxyMode", "/statusz"];

/// What the metrics port serves.
pub fn metrics_port(config: &Config, metrics: Metrics) -> Handler {
    let configz = json!({"kubeproxy.config.k8s.io": &config.kube}).to_string();
    let flagz = flagz(&config.given);
    let (started, since) = (Timestamp::now(), Instant::now());
    Arc::new(move |path| match path {
        "/metrics" => metrics.scrape(),
        "/metrics/slis" => metrics.scrape_slis(),
        "/healthz" | "/healthz/ping" => {
            metrics.kube_proxy().count_ping();
            Reply::text("ok")
        }
        "/proxyMode" => Reply::text(MODE),
        "/configz" => Reply::json(true, configz.clone()),
        "/flagz" => Reply::text(flagz.clone()),
        "/statusz" => Reply::text(statusz(started, since.elapsed().as_secs())),
        _ => Reply::not_found(),
    })
}

/// The words with which kube-proxy begins these two pages (component-base, zpages). It says the same in
/// JSON to whoever asks for `as=Statusz`; nobody has asked us.
const WARNING: &str = "Warning: This endpoint is not meant to be machine parseable, has no \
                       formatting compatibility guarantees and is for debugging purposes only.";

/// The flags that were given; all others have their defaults.
fn flagz(given: &[GivenFlag]) -> String {
    let mut page = format!("\nkube-proxy flagz\n{WARNING}\n\n");
    for GivenFlag { name, value, .. } in given {
        // Writing to a String cannot fail.
        let _written = writeln!(page, "{name}={value}");
    }
    page
}

fn statusz(started: Timestamp, up: u64) -> String {
    let (hours, minutes, seconds) = (up / 3600, up / 60 % 60, up % 60);
    let (version, kubernetes, paths) =
        (env!("CARGO_PKG_VERSION"), crate::KUBERNETES, PATHS.join(" "));
    let started = started.strftime("%a %b %e %H:%M:%S UTC %Y");
    format!(
        "\nkube-proxy statusz\n{WARNING}\n\nStarted: {started}\n\
         Up: {hours} hr {minutes:02} min {seconds:02} sec\nBinary version: sluice {version}\n\
         Emulation version: {kubernetes}\nPaths: {paths}\n"
    )
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use serde_json::Value;

    use super::*;
    use crate::{
        config::Flags,
        http::server::tests::{get, start},
    };

    fn config() -> Config {
        let args = ["sluice", "--hostname-override=n1", "--cluster-cidr=10.0.0.0/8"];
        Config::from_flags(Flags::read(args.map(Into::into)).unwrap()).unwrap()
    }

    async fn page(address: SocketAddr, path: &str) -> (String, String) {
        let (head, body) = get(address, path).await;
        let of_type = |line: &str| line.strip_prefix("content-type: ").map(str::to_owned);
        assert!(head.starts_with("http/1.1 200"), "{path}: {head}");
        (head.lines().find_map(of_type).unwrap_or_default(), body)
    }

    #[tokio::test]
    async fn a86_the_metrics_port() {
        let address = start(metrics_port(&config(), Metrics::new().unwrap()));
        let text = "text/plain; charset=utf-8".to_owned();
        assert_eq!(page(address, "/healthz").await, (text.clone(), "ok".into()));
        assert_eq!(page(address, "/proxyMode").await, (text, "ebpf".into()));
        let (kind, configz) = page(address, "/configz").await;
        let configz: Value = serde_json::from_str(&configz).unwrap();
        let config = &configz["kubeproxy.config.k8s.io"];
        assert_eq!(kind, "application/json");
        assert_eq!(
            (&config["mode"], &config["clusterCIDR"]),
            (&json!("ebpf"), &json!("10.0.0.0/8"))
        );
        assert_eq!(config["iptables"]["syncPeriod"], "30s");
        assert!(page(address, "/flagz").await.1.contains("\nhostname-override=n1\n"));
        let (_, statusz) = page(address, "/statusz").await;
        assert!(statusz.contains("\nUp: 0 hr 00 min 0") && statusz.contains("/metrics/slis"));
        let started = Timestamp::from_second(1_768_217_860).unwrap();
        let text = super::statusz(started, 3_723);
        assert!(text.starts_with("\nkube-proxy statusz\nWarning: "), "{text}");
        let lines = "\n\nStarted: Mon Jan 12 11:37:40 UTC 2026\nUp: 1 hr 02 min 03 sec\n";
        assert!(text.contains(lines), "{text}");
        let (_, slis) = page(address, "/metrics/slis").await;
        let ping =
            "kubernetes_healthchecks_total{name=\"ping\",status=\"success\",type=\"healthz\"} 1";
        assert!(slis.contains(ping), "{slis}");
        assert!(get(address, "/debug/pprof").await.0.starts_with("http/1.1 404"));
    }

    #[tokio::test]
    async fn a86_metrics_have_kube_proxys_form() {
        let metrics = Metrics::new().unwrap();
        metrics.kube_proxy().sync.with_label_values(&["IPv4"]).observe(0.003);
        let address = start(metrics_port(&config(), metrics));
        let (kind, page) = page(address, "/metrics").await;
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        for line in [
            "# TYPE kubeproxy_sync_proxy_rules_duration_seconds histogram",
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family=\"IPv4\",le=\"0.002\"} 0",
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family=\"IPv4\",le=\"0.004\"} 1",
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family=\"IPv6\",le=\"16.384\"} 0",
            "kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 1",
            "kubeproxy_network_programming_duration_seconds_bucket{ip_family=\"IPv4\",le=\"0.25\"} 0",
            "kubeproxy_sync_proxy_rules_endpoint_changes_pending 0",
            "kubeproxy_sync_proxy_rules_service_changes_total 0",
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family=\"IPv6\",traffic_policy=\"external\"} 0",
            "kubeproxy_proxy_healthz_total{code=\"200\"} 0",
            "kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family=\"IPv4\"} 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }

    #[tokio::test]
    async fn a84_a85_the_health_port() {
        let metrics = Metrics::new().unwrap();
        let health = Health::new(Duration::from_secs(30));
        let address = start(health_port(health.clone(), metrics.clone()));
        page(address, "/healthz").await;
        health.set_leaving(true);
        assert!(get(address, "/healthz").await.0.starts_with("http/1.1 503"));
        page(address, "/livez").await;
        assert!(get(address, "/").await.0.starts_with("http/1.1 404"));
        let page = metrics.scrape().body;
        for line in [
            "kubeproxy_proxy_healthz_total{code=\"200\"} 1",
            "kubeproxy_proxy_healthz_total{code=\"503\"} 1",
            "kubeproxy_proxy_livez_total{code=\"200\"} 1",
        ] {
            assert!(page.contains(line), "{page}");
        }
    }
}
