//! One row a rule: what the maps say of one Service on this node, in zone `z`.

use super::super::spec::{Event, NodeSpec, ServiceSpec, TrafficPolicy};
use super::build::{World, ip, service};

const VIP: &str = "10.96.0.10:80/tcp default/web cluster -> ";

fn frontends(spec: ServiceSpec, endpoints: &[&str]) -> Vec<String> {
    let mut world = World::new();
    world.model.handle(Event::Node(NodeSpec { zone: "z".to_owned(), ..NodeSpec::default() }));
    world.add("web", spec);
    world.slice("web", endpoints);
    world.frontends()
}

fn web() -> ServiceSpec {
    service("10.96.0.10")
}

fn local_inside() -> ServiceSpec {
    ServiceSpec { internal_policy: TrafficPolicy::Local, ..web() }
}

fn node_port(policy: TrafficPolicy) -> ServiceSpec {
    let mut spec = ServiceSpec { external_policy: policy, ..web() };
    spec.ports[0].node_port = 30080;
    spec
}

#[test]
fn choice_of_cluster_ip() {
    let rows: &[(&str, ServiceSpec, &[&str], &str)] = &[
        ("A33: all ready", web(), &["10.1.0.1", "10.1.0.2 here"], "10.1.0.1:8080, 10.1.0.2:8080"),
        ("A33: no unready", web(), &["10.1.0.1 unready", "10.1.0.2"], "10.1.0.2:8080"),
        (
            "A33: terminating only if none",
            web(),
            &["10.1.0.1 terminating", "10.1.0.2"],
            "10.1.0.2:8080",
        ),
        (
            "A33: terminating if none",
            web(),
            &["10.1.0.1 terminating", "10.1.0.2 dead"],
            "10.1.0.1:8080",
        ),
        ("A33: fallback ignores hints", web(), &["10.1.0.1 terminating zone=y"], "10.1.0.1:8080"),
        ("A32: same node", web(), &["10.1.0.1 node=here", "10.1.0.2 node=there"], "10.1.0.1:8080"),
        (
            "A32: node before zone",
            web(),
            &["10.1.0.1 node=here zone=y", "10.1.0.2 node=x zone=z"],
            "10.1.0.1:8080",
        ),
        ("A32: same zone", web(), &["10.1.0.1 zone=z", "10.1.0.2 zone=y"], "10.1.0.1:8080"),
        (
            "A32: unhinted disables",
            web(),
            &["10.1.0.1 zone=z", "10.1.0.2"],
            "10.1.0.1:8080, 10.1.0.2:8080",
        ),
        ("A32: unready does not", web(), &["10.1.0.1 zone=z", "10.1.0.2 unready"], "10.1.0.1:8080"),
        ("A32: none names us", web(), &["10.1.0.1 zone=y"], "10.1.0.1:8080"),
        ("A34: local", local_inside(), &["10.1.0.1 here", "10.1.0.2"], "10.1.0.1:8080"),
        (
            "A34: topology ignored",
            local_inside(),
            &["10.1.0.1 here zone=y", "10.1.0.2 zone=z"],
            "10.1.0.1:8080",
        ),
        (
            "A34: local terminating",
            local_inside(),
            &["10.1.0.1 here terminating", "10.1.0.2"],
            "10.1.0.1:8080",
        ),
        ("A48: drop, not reject", local_inside(), &["10.1.0.2"], "none"),
        ("A47: reject", web(), &[], "none; reject"),
        ("A47: dead is none", web(), &["10.1.0.1 dead"], "none; reject"),
        ("A35: nothing anywhere", local_inside(), &["10.1.0.1 dead"], "none; reject"),
    ];
    for (rule, spec, endpoints, expected) in rows {
        assert_eq!(frontends(spec.clone(), endpoints), [format!("{VIP}{expected}")], "{rule}");
    }
}

#[test]
fn external_frontends_have_both_lists() {
    let local = frontends(node_port(TrafficPolicy::Local), &["10.1.0.1 here", "10.1.0.2"]);
    let both = "external -> 10.1.0.1:8080, 10.1.0.2:8080; local -> 10.1.0.1:8080";
    assert_eq!(local[0], format!("nodeport 30080/tcp default/web {both}"), "A42–A44");
    assert_eq!(local[1], format!("{VIP}10.1.0.1:8080, 10.1.0.2:8080"), "A37");

    let cluster = frontends(node_port(TrafficPolicy::Cluster), &["10.1.0.1 here"]);
    assert_eq!(cluster[0], "nodeport 30080/tcp default/web external -> 10.1.0.1:8080", "A41");

    let away = frontends(node_port(TrafficPolicy::Local), &["10.1.0.2"]);
    let drops = "external -> 10.1.0.2:8080; local -> none";
    assert_eq!(away[0], format!("nodeport 30080/tcp default/web {drops}"), "A49");

    let none = frontends(node_port(TrafficPolicy::Local), &[]);
    let rejects = "external -> none; local -> none; reject";
    assert_eq!(none[0], format!("nodeport 30080/tcp default/web {rejects}"), "A47");
}

#[test]
fn external_list_is_there_with_a_local_internal_policy() {
    // A30: a port that can be reached from outside uses the cluster list for that.
    let mut spec = node_port(TrafficPolicy::Cluster);
    spec.internal_policy = TrafficPolicy::Local;
    let lines = frontends(spec, &["10.1.0.1"]);
    assert_eq!(lines[0], "nodeport 30080/tcp default/web external -> 10.1.0.1:8080");
    assert_eq!(lines[1], format!("{VIP}none"), "A48");
}

#[test]
fn external_addresses_of_both_kinds() {
    // A21, and A71 for the timeout.
    let spec = ServiceSpec {
        external_ips: vec![ip("192.0.2.1")],
        load_balancer_ips: vec![ip("192.0.2.2")],
        affinity_timeout: 10800,
        ..web()
    };
    let lines = frontends(spec, &["10.1.0.1"]);
    let to = "-> 10.1.0.1:8080; affinity 10800s";
    assert_eq!(lines[1], format!("192.0.2.1:80/tcp default/web external {to}"));
    assert_eq!(lines[2], format!("192.0.2.2:80/tcp default/web external {to}"));
}

#[test]
fn families_are_independent() {
    // A11: each family chooses from its own endpoints, and rejects by itself.
    let spec = ServiceSpec { cluster_ips: vec![ip("10.96.0.10"), ip("fd00::10")], ..web() };
    let lines = frontends(spec, &["10.1.0.1"]);
    assert_eq!(lines[0], format!("{VIP}10.1.0.1:8080"));
    assert_eq!(lines[1], "[fd00::10]:80/tcp default/web cluster -> none; reject");
}

#[test]
fn a_single_stack_service_has_no_node_port_in_the_other_family() {
    let lines = frontends(node_port(TrafficPolicy::Cluster), &["10.1.0.1", "fd01::1"]);
    assert_eq!(lines.len(), 2, "A11: {lines:?}");
}

#[test]
fn serving_endpoints_keep_their_backends() {
    // A73, A75: UDP flows may stay as long as the endpoint serves.
    let mut world = World::new();
    world.add("web", web());
    world.slice("web", &["10.1.0.1 terminating", "10.1.0.2", "10.1.0.3 dead"]);
    let text = world.text();
    let backends: Vec<&str> = text.lines().filter(|line| line.starts_with("backend")).collect();
    assert_eq!(
        backends,
        [
            "backend 10.1.0.1:8080 of default/web serving",
            "backend 10.1.0.2:8080 of default/web serving cluster",
        ]
    );
}
