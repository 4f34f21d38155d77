//! Which endpoints are candidates: A7–A9, A30–A37.

use super::{BOTH_AT, CLIENT, HERE, HERE_AT, POD, THERE, THERE_AT, service, slice, world};

/// What a pod may reach at the cluster IP, and an outsider at the NodePort.
fn candidates(spec: &str, endpoints: &[&str]) -> (String, String) {
    let objects = [service(spec), slice(endpoints)];
    let world = world(&objects.each_ref().map(String::as_str));
    let ask = |question: String| {
        let answer = world.ask(&question).json;
        let verdict = answer["verdict"].as_str().expect("a verdict");
        if verdict != "forward" {
            return verdict.to_owned();
        }
        let backends = answer["backends"].as_array().expect("backends").iter();
        let backends: Vec<&str> = backends.map(|at| at.as_str().expect("text")).collect();
        backends.join(" ")
    };
    (ask(format!("{POD} -> 10.96.0.10:80/TCP")), ask(format!("{CLIENT} -> 192.0.2.1:30080/TCP")))
}

fn endpoint(node: &str, conditions: &str) -> String {
    let last = if node == "n1" { "1.5" } else { "2.5" };
    format!("{{addresses: [10.244.{last}], nodeName: {node}, conditions: {{{conditions}}}}}")
}

const TERMINATING: &str = "ready: false, serving: true, terminating: true";
const GONE: &str = "ready: false, serving: false, terminating: true";
const UNREADY: &str = "ready: false, serving: true, terminating: false";

fn same(text: &str) -> (String, String) {
    (text.to_owned(), text.to_owned())
}

#[test]
fn a7_conditions_have_defaults() {
    assert_eq!(candidates("", &[&endpoint("n1", ""), THERE]), same(BOTH_AT));
    assert_eq!(candidates("", &[&endpoint("n1", "ready: false"), THERE]), same(THERE_AT));
}

#[test]
fn a9_of_duplicates_the_one_that_does_not_terminate_wins() {
    let both = [endpoint("n1", TERMINATING), HERE.to_owned()];
    assert_eq!(candidates("", &both.each_ref().map(String::as_str)), same(HERE_AT));
}

#[test]
fn a33_terminating_endpoints_are_the_last_resort() {
    let (here, there) = (endpoint("n1", TERMINATING), endpoint("n2", TERMINATING));
    assert_eq!(candidates("", &[&here, THERE]), same(THERE_AT));
    assert_eq!(candidates("", &[&here, &there]), same(BOTH_AT));
    assert_eq!(candidates("", &[&here, &endpoint("n2", GONE)]), same(HERE_AT));
    assert_eq!(candidates("", &[&here, &endpoint("n2", UNREADY)]), same(HERE_AT));
    assert_eq!(candidates("", &[&endpoint("n1", GONE)]), same("reject"));
    assert_eq!(candidates("", &[&endpoint("n1", UNREADY)]), same("reject"));
}

#[test]
fn a34_a48_a49_local_policies_want_local_endpoints() {
    let local = "internalTrafficPolicy: Local, externalTrafficPolicy: Local";
    assert_eq!(candidates(local, &[HERE, THERE]), same(HERE_AT));
    assert_eq!(candidates(local, &[&endpoint("n1", TERMINATING), THERE]), same(HERE_AT));
    assert_eq!(candidates(local, &[&endpoint("n1", UNREADY), THERE]), same("drop"));
    assert_eq!(candidates(local, &[THERE]), same("drop"));
    assert_eq!(candidates(local, &[&endpoint("n2", TERMINATING)]), same("drop"));
    assert_eq!(candidates(local, &[&endpoint("n2", GONE)]), same("reject"));
    assert_eq!(candidates(local, &["{addresses: [10.244.1.5]}"]), same("drop"), "A8");
}

#[test]
fn a37_each_policy_governs_its_own_frontends() {
    let internal = candidates("internalTrafficPolicy: Local", &[HERE, THERE]);
    assert_eq!(internal, (HERE_AT.to_owned(), BOTH_AT.to_owned()));
    let external = candidates("externalTrafficPolicy: Local", &[HERE, THERE]);
    assert_eq!(external, (BOTH_AT.to_owned(), HERE_AT.to_owned()));
    let internal = candidates("internalTrafficPolicy: Local", &[THERE]);
    assert_eq!(internal, ("drop".to_owned(), THERE_AT.to_owned()), "A48");
    let external = candidates("externalTrafficPolicy: Local", &[THERE]);
    assert_eq!(external, (THERE_AT.to_owned(), "drop".to_owned()), "A49");
}

/// Endpoints on both nodes with hints.
fn hinted(here: &str, there: &str) -> [String; 2] {
    let hints = |address: &str, node: &str, hints: &str| {
        format!("{{addresses: [{address}], nodeName: {node}, hints: {{{hints}}}}}")
    };
    [hints("10.244.1.5", "n1", here), hints("10.244.2.5", "n2", there)]
}

const NODE_IN_EAST: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: \
                         {topology.kubernetes.io/zone: east}}\n";

#[test]
fn a32_hints_narrow_the_choice_if_all_have_them() {
    let (east, west) = ("forZones: [{name: east}]", "forZones: [{name: west}]");
    let (n1, n2) = ("forNodes: [{name: n1}]", "forNodes: [{name: n2}]");
    for (here, there, expected) in [
        (east, west, HERE_AT),
        (west, east, THERE_AT),
        (east, east, BOTH_AT),
        (west, west, BOTH_AT),
        (east, "", BOTH_AT),
        (n1, n2, HERE_AT),
        (n2, n1, THERE_AT),
        (n2, n2, BOTH_AT),
        (n1, east, BOTH_AT),
        ("forNodes: [{name: n2}], forZones: [{name: west}]", n1, THERE_AT),
        (
            "forNodes: [{name: n2}], forZones: [{name: east}]",
            "forNodes: [{name: n2}], forZones: [{name: west}]",
            HERE_AT,
        ),
    ] {
        let endpoints = hinted(here, there);
        let slice = slice(&endpoints.each_ref().map(String::as_str));
        let world = world(&[&service(""), &slice, NODE_IN_EAST]);
        let answer = world.ask("10.244.1.7 -> 10.96.0.10:80/TCP");
        let narrowed = expected != BOTH_AT;
        let rules = if narrowed { &["A32", "A33"][..] } else { &["A33"] };
        let answer = answer.is(&format!("forward {expected}")).by(rules);
        assert_eq!(answer.json["rules"].to_string().contains("A32"), narrowed);
    }
}

#[test]
fn a32_a_node_without_a_zone_follows_no_zone_hints() {
    let endpoints = hinted("forZones: [{name: east}]", "forZones: [{name: west}]");
    let slice = slice(&endpoints.each_ref().map(String::as_str));
    let elsewhere = NODE_IN_EAST.replace("n1", "n2");
    let world = world(&[&service(""), &slice, &elsewhere]);
    world.ask("10.244.1.7 -> 10.96.0.10:80/TCP").is(&format!("forward {BOTH_AT}"));
}

#[test]
fn a34_hints_do_not_count_for_local_policies() {
    let endpoints = hinted("forZones: [{name: west}]", "forZones: [{name: east}]");
    let slice = slice(&endpoints.each_ref().map(String::as_str));
    let world = world(&[&service("internalTrafficPolicy: Local"), &slice, NODE_IN_EAST]);
    world.ask("10.244.1.7 -> 10.96.0.10:80/TCP").is(&format!("forward {HERE_AT}"));
}
