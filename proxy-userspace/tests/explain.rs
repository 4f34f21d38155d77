//! `sluice explain` as a person runs it: the binary, a folder of manifests, no privileges.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

/// Three nodes' worth of objects: a Service of both families, its slices, two Nodes, a ServiceCIDR.
const MANIFESTS: [(&str, &str); 3] = [
    (
        "service.yaml",
        "apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, 'fd00:10:96::10']
  ipFamilies: [IPv4, IPv6]
  externalTrafficPolicy: Local
  ports: [{name: http, port: 80, nodePort: 30080, targetPort: web}]
status: {loadBalancer: {ingress: [{ip: 198.51.100.9}]}}
---
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: kubernetes}
spec: {cidrs: [10.96.0.0/12, 'fd00:10:96::/112']}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: no-concern-of-ours}
",
    ),
    (
        "slices.json",
        r#"{"kind": "List", "apiVersion": "v1", "items": [
  {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
   "metadata": {"name": "web-1", "namespace": "shop",
                "labels": {"kubernetes.io/service-name": "web"}},
   "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
   "endpoints": [{"addresses": ["10.244.1.5"], "nodeName": "n1"},
                 {"addresses": ["10.244.2.5"], "nodeName": "n2"}]},
  {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv6",
   "metadata": {"name": "web-2", "namespace": "shop",
                "labels": {"kubernetes.io/service-name": "web"}},
   "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
   "endpoints": [{"addresses": ["fd00:10:244:2::5"], "nodeName": "n2"}]}]}"#,
    ),
    (
        "nodes.yml",
        "apiVersion: v1
kind: NodeList
items:
- metadata: {name: n1}
  status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}
- metadata: {name: n2}
  status: {addresses: [{type: InternalIP, address: 192.0.2.2}]}
",
    ),
];

fn sluice(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sluice")).args(args).output().expect("the binary runs")
}

fn explain(folder: &Path, node: &str, question: &[&str]) -> Output {
    let manifests = format!("--manifests={}", folder.display());
    let node = format!("--node={node}");
    let cidr = "--cluster-cidr=10.244.0.0/16,fd00:10:244::/48";
    let mut args = vec!["explain", &manifests, &node, cidr];
    args.extend(question);
    sluice(&args)
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in MANIFESTS {
        std::fs::write(folder.path().join(name), text).expect("a file");
    }
    folder
}

#[test]
fn every_verdict_from_a_folder() {
    let folder = folder();
    for (node, from, to, expected) in [
        (
            "n1",
            "203.0.113.5",
            "192.0.2.1:30080/tcp",
            r#"{"verdict":"forward","backends":["10.244.1.5:8080"],"masquerade":false,"rules":["A22","A60","A44","A34"],"service":"shop/web:http"}"#,
        ),
        (
            "n2",
            "192.0.2.2",
            "[::ffff:198.51.100.9]:80/TCP",
            r#"{"verdict":"forward","backends":["10.244.1.5:8080","10.244.2.5:8080"],"masquerade":true,"rules":["A21","A60","A43","A33"],"service":"shop/web:http"}"#,
        ),
        (
            "n1",
            "fd00:10:244:1::7",
            "[fd00:10:96::10]:80/TCP",
            r#"{"verdict":"forward","backends":["[fd00:10:244:2::5]:8080"],"masquerade":false,"rules":["A20","A60","A40","A33"],"service":"shop/web:http"}"#,
        ),
        (
            "n3",
            "203.0.113.5",
            "198.51.100.9:80/TCP",
            r#"{"verdict":"drop","backends":[],"masquerade":false,"rules":["A21","A60","A44","A49"],"service":"shop/web:http"}"#,
        ),
        (
            "n1",
            "10.244.1.7",
            "10.96.0.10:80/SCTP",
            r#"{"verdict":"reject","backends":[],"masquerade":false,"rules":["A51","A50"],"service":""}"#,
        ),
        (
            "n1",
            "10.244.1.7",
            "192.0.2.2:30080/TCP",
            r#"{"verdict":"untouched","backends":[],"masquerade":false,"rules":["A22"],"service":""}"#,
        ),
    ] {
        let output = explain(folder.path(), node, &["--from", from, "--to", to, "-o", "json"]);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), expected);
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn plain_words_for_people() {
    let folder = folder();
    let question = ["--from=10.244.1.5", "--to=10.96.0.10:80/tcp", "--detect-local-mode=NodeCIDR"];
    let output = explain(folder.path(), "n1", &question);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "10.244.1.5 -> 10.96.0.10:80/TCP: forward to shop/web:http, 2 backends, source kept
  A20  the destination is a cluster IP of shop/web:http
  A45  no detector of local pods: 10.244.1.5 counts as none
  A40  nothing tells pods from others: the source is kept
  A33  the candidates are the service's ready endpoints, on any node
  A46  10.244.1.5 is a candidate itself: masqueraded if it is the one chosen
  -> 10.244.1.5:8080
  -> 10.244.2.5:8080
"
    );
}

#[test]
fn what_cannot_be_obeyed_is_one_line_and_exit_code_2() {
    let folder = folder();
    let broken = tempfile::tempdir().expect("a folder");
    std::fs::write(broken.path().join("a.yaml"), "kind: [").expect("a file");
    let to = "--to=10.96.0.10:80/TCP";
    for (folder, question, named) in [
        (folder.path(), &["--from=nobody", to][..], "nobody"),
        (folder.path(), &[to], "--from"),
        (folder.path(), &["--from=10.244.1.7", "--to=10.96.0.10:80"], "no protocol"),
        (folder.path(), &["--from=10.244.1.7", to, "--cluster-cidr=x"], "--cluster-cidr"),
        (folder.path(), &["--from=fd00::1", to], "one family"),
        (broken.path(), &["--from=10.244.1.7", to], "a.yaml"),
        (Path::new("/nowhere"), &["--from=10.244.1.7", to], "/nowhere"),
    ] {
        let output = explain(folder, "n1", question);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{error}");
        assert!(error.lines().count() == 1 && error.contains(named), "{error}");
    }
}

#[test]
fn without_maps_and_without_manifests_there_is_no_answer() {
    let root = tempfile::tempdir().expect("a folder");
    let bpf_root = format!("--bpf-root={}", root.path().display());
    let question = ["explain", "--from=10.244.1.7", "--to=10.96.0.10:80/TCP", &bpf_root];
    let output = sluice(&question);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("is Sluice running on this node"), "{error}");
}

#[test]
fn help_names_the_question_and_the_proxys_flags() {
    let output = sluice(&["explain", "--help"]);
    let text = String::from_utf8_lossy(&output.stdout);
    for flag in ["--from", "--to", "--node-ip", "--masquerade-all", "--pod-interface-name-prefix"] {
        assert!(text.contains(flag), "{flag}: {text}");
    }
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_reader_that_stops_early_does_no_harm() {
    for args in [["--help"], ["--version"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(args)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .expect("the binary runs");
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}
