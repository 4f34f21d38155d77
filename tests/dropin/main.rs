//! In kube-proxy's place: the real binary with kubeadm's own file and flags, against an API server,
//! on a node of the testbed. Every port is scraped from inside the node's namespace.

mod container;
mod deployed;
mod image;
mod names;
mod proxy;
mod role;
mod seccomp;
mod start;

use std::time::Duration;

use proxy::{Stage, eventually};

/// A LoadBalancer Service with a health check, `local` of whose two endpoints are on the node.
fn edge(local: usize) -> String {
    let node = |n| if n < local { "node1" } else { "elsewhere" };
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: edge, namespace: shop}}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.80
  externalTrafficPolicy: Local
  healthCheckNodePort: 32100
  ports: [{{port: 80, nodePort: 30080}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: edge-1
  namespace: shop
  labels: {{kubernetes.io/service-name: edge}}
  annotations: {{endpoints.kubernetes.io/last-change-trigger-time: {now:?}}}
addressType: IPv4
ports: [{{name: '', port: 8080}}]
endpoints:
- {{addresses: [10.244.1.11], nodeName: {a}}}
- {{addresses: [10.244.1.12], nodeName: {b}}}
",
        now = start::now(),
        a = node(0),
        b = node(1),
    )
}

#[test]
fn a86_the_ports_of_kubeadms_file() {
    let stage = Stage::new();
    let proxy = stage.start(&stage.config(|file| file), &["--proxy-mode=ebpf"]);
    proxy.wait_ready();
    assert_eq!(stage.get(10_249, "/healthz").1, "ok");
    assert_eq!(stage.get(10_249, "/proxyMode").1, "ebpf");
    assert!(stage.get(10_249, "/configz").1.contains("\"clusterCIDR\":\"10.244.0.0/16"));
    assert!(stage.get(10_249, "/flagz").1.contains("proxy-mode=ebpf"));
    for path in ["/healthz", "/livez"] {
        let (status, body) = stage.get(10_256, path);
        assert_eq!(status, 200, "{path}: {body}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["healthy"], true);
        assert_eq!(body["status"]["IPv4"]["healthy"], true, "{body}");
        assert_eq!(body.get("nodeEligible").is_some(), path == "/healthz");
    }
    assert_eq!(stage.get_from_outside(10_249), None, "metrics are for the node only");
    assert_eq!(stage.get_from_outside(10_256), Some(200));
}

#[test]
fn metrics_have_real_values() {
    let stage = Stage::new();
    let proxy = stage.start(&stage.config(|file| file), &["--proxy-mode=ebpf"]);
    proxy.wait_ready();
    stage.server.apply(&edge(0)).unwrap();
    eventually("the slice in the maps", || {
        stage.metric("kubeproxy_network_programming_duration_seconds_count{ip_family=\"IPv4\"}")
            == 1.0
    });
    let metric = |name: &str| stage.metric(name);
    assert_eq!(
        metric("kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family=\"IPv6\"}"),
        1.0
    );
    assert!(metric("kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"}") >= 2.0);
    assert!(metric("kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"}") > 1e9);
    assert_eq!(metric("kubeproxy_sync_proxy_rules_service_changes_total"), 1.0);
    assert_eq!(metric("kubeproxy_sync_proxy_rules_endpoint_changes_pending"), 0.0);
    let lacking = "kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family=\"IPv4\",traffic_policy=\"external\"}";
    assert_eq!(metric(lacking), 1.0);
    assert!(metric("sluice_map_entries{map=\"BACKENDS_V4\"}") >= 2.0);
    assert!(metric("sluice_programming_duration_seconds_count") >= 1.0);
    assert!(metric("sluice_interfaces_attached") >= 1.0);
    assert_eq!(metric("sluice_ready"), 1.0);
    let host = stage.server.url().replace("http://", "");
    let asked =
        format!("rest_client_requests_total{{code=\"200\",host=\"{host}\",method=\"GET\"}}");
    assert!(metric(&asked) >= 4.0);
    let took =
        format!("rest_client_request_duration_seconds_count{{host=\"{host}\",verb=\"GET\"}}");
    assert!(metric(&took) >= 4.0);
    // A process of the node asks for a service; nobody answers at 10.244.1.11.
    stage.knock("10.96.0.80:80".parse().unwrap());
    let packets = "sluice_packets_total{outcome=\"pass\",reason=\"socket-forward\"}";
    eventually("the kernel's counter", || metric(packets) >= 1.0);
}

#[test]
fn a80_health_checks_follow_their_service() {
    let stage = Stage::new();
    stage.server.apply(&edge(1)).unwrap();
    let proxy = stage.start(&stage.config(|file| file), &["--proxy-mode=ebpf"]);
    proxy.wait_ready();
    let (status, body) = stage.get(32_100, "/");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"localEndpoints\": 1"), "{body}");
    stage.server.apply(&edge(0)).unwrap();
    eventually("no local endpoint", || stage.get(32_100, "/healthz").0 == 503);
    stage.server.apply(&edge(2).replace("32100", "32101")).unwrap();
    eventually("the other port", || stage.try_get(32_101, "/").is_some_and(|it| it.0 == 200));
    assert_eq!(stage.try_get(32_100, "/"), None);
    stage.server.delete("Service", "shop", "edge");
    eventually("the end of the Service", || stage.try_get(32_101, "/").is_none());
}

#[test]
fn a17d_a_node_that_leaves_fails_healthz_only() {
    let stage = Stage::new();
    let proxy = stage.start(&stage.config(|file| file), &["--proxy-mode=ebpf"]);
    proxy.wait_ready();
    let taint = "apiVersion: v1\nkind: Node\nmetadata: {name: node1}\n\
                 spec: {taints: [{key: ToBeDeletedByClusterAutoscaler, effect: NoSchedule}]}\n";
    stage.server.apply(taint).unwrap();
    eventually("ineligible", || stage.get(10_256, "/healthz").0 == 503);
    assert_eq!(stage.get(10_256, "/livez").0, 200);
    stage.server.delete("Node", "", "node1");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(stage.get(10_256, "/healthz").0, 503);
    stage.node_object();
    eventually("eligible", || stage.get(10_256, "/healthz").0 == 200);
}

#[test]
fn a96_events() {
    let stage = Stage::new();
    let _taken = stage.listen(32_100);
    stage.server.apply(&edge(1)).unwrap();
    stage.server.apply(&edge(1).replace("10.244.1.12", "bogus")).unwrap();
    let proxy = stage.start(&stage.config(|file| file), &["--proxy-mode=ebpf"]);
    proxy.wait_ready();
    eventually("the Events", || {
        let requests = stage.server.requests().join("\n");
        let node = requests.contains("POST /apis/events.k8s.io/v1/namespaces/default/events? 201");
        node && requests.matches("POST /apis/events.k8s.io/v1/namespaces/shop/events? 201").count()
            == 2
    });
    let shop = stage.events("shop");
    let find = |reason: &str| {
        let event = shop.iter().find(|event| event["reason"] == reason).cloned();
        event.unwrap_or_else(|| panic!("no {reason} in {shop:?}"))
    };
    let listen = find("FailedToStartServiceHealthcheck");
    assert_eq!(listen["action"], "Listen");
    assert_eq!(
        (&listen["type"], &listen["regarding"]["name"]),
        (&"Warning".into(), &"edge".into())
    );
    assert_eq!(find("ServiceProxyProblem")["regarding"]["kind"], "EndpointSlice");
    let node = stage.events("default");
    let birth = node.iter().find(|event| event["reason"] == "Starting").expect("an Event at birth");
    assert_eq!((&birth["action"], &birth["type"]), (&"StartKubeProxy".into(), &"Normal".into()));
    assert_eq!(birth["regarding"]["name"], "node1");
}
