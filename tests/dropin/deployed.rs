//! The image, in a container with exactly what `deploy/base` gives it.

use std::net::SocketAddr;

use serde_json::json;
use testbed::address::SERVER_PORT;

use crate::{
    container::{Bundle, Change, Container, DEPLOYED},
    names::Names,
    proxy::Stage,
};

/// The container as it is deployed, by a runtime of today.
const AS_IS: Change = Change { container: "/containers/0", without: None, modern: true };
const INIT: Change = Change { container: "/initContainers/0", ..AS_IS };

/// The DaemonSet of a user who changed its image and one argument.
const KUBEADM: &str = include_str!("../fixtures/kubeadm-kube-proxy.yaml");

/// A NodePort Service whose endpoint is the stage's pod.
fn web(stage: &Stage) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec:
  type: NodePort
  clusterIP: 10.96.0.81
  ports: [{{port: 80, nodePort: 30081}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: '', port: {SERVER_PORT}}}]
endpoints: [{{addresses: [{}], nodeName: node1}}]
",
        stage.pod().address().v4
    )
}

#[test]
fn the_image_serves_with_the_rights_of_the_manifest() {
    let stage = Stage::new();
    let _names = Names::on(stage.node());
    stage.server.apply(&web(&stage)).unwrap();
    let bundle = Bundle::new(&stage, DEPLOYED);
    assert_eq!(bundle.image()["User"], "0:0");
    assert_eq!(bundle.image()["Entrypoint"], json!(["/usr/local/bin/kube-proxy"]));
    let files = std::fs::read_dir(bundle.files().join("usr/local/bin")).unwrap();
    assert_eq!(files.count(), 2, "the program and kube-proxy's name for it");
    let mut init = bundle.start(&stage, &INIT);
    assert!(init.0.wait().success(), "{}", init.0.log());
    assert!(init.0.log().contains("nf_conntrack_tcp_timeout_close_wait"), "{}", init.0.log());
    for _ in 0..2 {
        // The second takes up what the first left.
        let proxy = bundle.start(&stage, &AS_IS);
        serves(&stage, &proxy);
    }
}

#[test]
fn a99_kubeadms_daemon_set_needs_another_image_and_one_argument() {
    let stage = Stage::new();
    let _names = Names::on(stage.node());
    stage.server.apply(&web(&stage)).unwrap();
    let bundle = Bundle::new(&stage, KUBEADM);
    let proxy = bundle.start(&stage, &AS_IS);
    serves(&stage, &proxy);
    // Its bpffs is its own.
    assert!(!stage.node().bpf_root().join("sluice").exists());
}

/// It is ready, its ports answer, and both paths translate.
fn serves(stage: &Stage, proxy: &Container) {
    proxy.0.wait_ready();
    assert_eq!(stage.get(10_256, "/healthz").0, 200);
    assert_eq!(stage.get(10_249, "/proxyMode").1, "ebpf");
    assert_eq!(stage.metric("sluice_ready"), 1.0);
    let node = SocketAddr::new(stage.node().address().v4.into(), 30_081);
    assert_eq!(stage.node().tcp("10.96.0.81:80").unwrap().who, "pod1");
    assert_eq!(stage.client().tcp(node).unwrap().who, "pod1");
}

#[test]
fn without_any_one_capability_it_does_not_start() {
    let stage = Stage::new();
    let _names = Names::on(stage.node());
    let bundle = Bundle::new(&stage, DEPLOYED);
    for (capability, failed) in [
        ("BPF", "loading a first small program"),
        ("NET_ADMIN", "loading a first small program"),
        ("PERFMON", "loading program "),
    ] {
        let change = Change { without: Some(capability), ..AS_IS };
        let mut proxy = bundle.start(&stage, &change);
        let status = proxy.0.wait();
        assert_eq!(status.code(), Some(1), "without {capability}:\n{}", proxy.0.log());
        let log = proxy.0.log();
        let advice = format!("this process lacks CAP_{capability}: run it as root");
        assert!(log.contains(failed) && log.contains(&advice), "without {capability}:\n{log}");
    }
}

#[test]
fn a_seccomp_profile_without_bpf_is_named() {
    let stage = Stage::new();
    let _names = Names::on(stage.node());
    let bundle = Bundle::new(&stage, DEPLOYED);
    let mut proxy = bundle.start(&stage, &Change { modern: false, ..AS_IS });
    assert_eq!(proxy.0.wait().code(), Some(1), "{}", proxy.0.log());
    assert!(proxy.0.log().contains("but a seccomp profile"), "{}", proxy.0.log());
}
