//! A test for each rule, named after it.

use serde_json::{Value, json};

use super::*;

fn convert(mut object: Value) -> Converted<SliceSpec> {
    let labels = json!({"kubernetes.io/service-name": "web"});
    if object.get("metadata").is_none() {
        object["metadata"] = json!({"name": "web-1", "namespace": "shop", "labels": labels});
    }
    if object.get("addressType").is_none() {
        object["addressType"] = json!("IPv4");
    }
    slice(&serde_json::from_value(object).unwrap())
}

fn name(name: &str) -> ObjectName {
    ObjectName { namespace: "shop".into(), name: name.into() }
}

#[test]
fn a3_belongs_to_the_labelled_service() {
    assert_eq!(convert(json!({})).value.unwrap().service, name("web"));
    for labels in [
        json!({}),
        json!({"kubernetes.io/service-name": ""}),
        json!({"kubernetes.io/service-name": "web", "service.kubernetes.io/headless": ""}),
    ] {
        let object = json!({"metadata": {"name": "x", "namespace": "shop", "labels": labels}});
        assert_eq!(convert(object), Converted::skipped());
    }
}

#[test]
fn a5_ports_need_a_name_and_a_number() {
    let found = convert(json!({"ports": [
        {"port": 1}, {"name": "none"}, {"name": "zero", "port": 0},
        {"name": "odd", "port": 2, "protocol": "ICMP"}, {"name": "", "port": 3},
    ]}));
    let ports = found.value.unwrap().ports;
    assert_eq!(ports.len(), 1);
    assert_eq!((ports[0].name.as_str(), ports[0].port), ("", 3));
    assert_eq!(found.problems.len(), 3);
    assert_eq!(found.problems[0].subject, Subject::Slice(name("web-1")));
}

#[test]
fn a6_only_the_first_address_of_the_family() {
    let found = convert(json!({"endpoints": [
        {"addresses": ["10.0.0.01", "10.0.0.2"]}, {"addresses": []},
        {"addresses": ["fd00::1"]}, {"addresses": ["pod.example.org"]},
    ]}));
    let endpoints = found.value.unwrap().endpoints;
    assert_eq!(endpoints.len(), 1);
    assert_eq!(endpoints[0].address.to_string(), "10.0.0.1");
    assert_eq!(found.problems.len(), 1);
    assert!(found.problems[0].text.starts_with("2 of 4 endpoints"), "{}", found.problems[0]);
}

#[test]
fn a6_host_names_are_ignored_and_unknown_types_named() {
    let names = json!({"addressType": "FQDN", "endpoints": [{"addresses": ["a.example.org"]}]});
    assert_eq!(convert(names), Converted::skipped());
    let odd = convert(json!({"addressType": "MAC"}));
    assert_eq!((odd.value, odd.problems.len()), (None, 1));
}

#[test]
fn a7_conditions_default() {
    let found = convert(json!({"endpoints": [
        {"addresses": ["10.0.0.1"]},
        {"addresses": ["10.0.0.2"], "conditions": {}},
        {"addresses": ["10.0.0.3"],
         "conditions": {"ready": false, "serving": false, "terminating": true}},
    ]}));
    let states: Vec<_> = found
        .value
        .unwrap()
        .endpoints
        .iter()
        .map(|endpoint| (endpoint.ready, endpoint.serving, endpoint.terminating))
        .collect();
    assert_eq!(states, [(true, true, false), (true, true, false), (false, false, true)]);
}

#[test]
fn a8_no_node_is_remote() {
    let found = convert(json!({"endpoints": [
        {"addresses": ["10.0.0.1"], "nodeName": "n1"}, {"addresses": ["10.0.0.2"]},
    ]}));
    let nodes: Vec<_> =
        found.value.unwrap().endpoints.into_iter().map(|endpoint| endpoint.node).collect();
    assert_eq!(nodes, ["n1", ""]);
}

#[test]
fn a32_hints() {
    let found = convert(json!({"endpoints": [{"addresses": ["10.0.0.1"],
        "hints": {"forZones": [{"name": "z1"}], "forNodes": [{"name": "n1"}]}}]}));
    let endpoint = &found.value.unwrap().endpoints[0];
    assert_eq!(endpoint.zone_hints, ["z1"]);
    assert_eq!(endpoint.node_hints, ["n1"]);
}

#[test]
fn a6_a_million_endpoints_take_linear_time() {
    let text = |index: usize| format!("10.{}.{}.x", index / 250, index % 250);
    let endpoints: Vec<_> = (0..1_000_000)
        .map(|index| discovery::Endpoint { addresses: vec![text(index)], ..Default::default() })
        .collect();
    let mut report = Report::new(Subject::Slice(name("big")));
    assert_eq!(super::endpoints(&endpoints, true, &mut report), []);
    assert_eq!(report.problems.len(), 1);
}

#[test]
fn a97_carries_the_time_of_the_change_behind_it() {
    let with = |time: &str| {
        let object = json!({"metadata": {
            "name": "web-1", "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "web"},
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": time},
        }});
        convert(object).value.unwrap().trigger
    };
    let at = Duration::from_millis(1_500);
    assert_eq!(with("1970-01-01T00:00:01.5Z"), Some(Trigger { at, v6: false }));
    assert_eq!(with("soon"), None);
    assert_eq!(convert(json!({})).value.unwrap().trigger, None);
}
