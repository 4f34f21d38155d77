//! The test server answers as the recordings of a real one do.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
};

use serde_json::Value;
use sluice::source::kube::Connection;
use testbed::apiserver::ApiServer;

use crate::world::World;

fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    fs::read_to_string(path).unwrap()
}

fn json(name: &str) -> Value {
    let text = fixture(name);
    // The .txt files end with the HTTP code.
    let end = text.rfind('}').unwrap();
    serde_json::from_str(&text[..=end]).unwrap()
}

/// A request without a client library; `Connection: close` ends it.
fn open(server: &ApiServer, path: &str) -> BufReader<TcpStream> {
    let address = server.url().replace("http://", "");
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    reader
}

fn get(server: &ApiServer, path: &str) -> Value {
    let mut body = String::new();
    open(server, path).read_to_string(&mut body).unwrap();
    serde_json::from_str(&body).unwrap()
}

fn lines(server: &ApiServer, path: &str, count: usize) -> Vec<Value> {
    open(server, path)
        .lines()
        .take(count)
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect()
}

/// Versions are the only thing that may differ.
fn without_versions(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.remove("resourceVersion");
            fields.remove("continue");
            for field in fields.values_mut() {
                *field = without_versions(field.take());
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = without_versions(item.take());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

fn loaded() -> ApiServer {
    let server = ApiServer::start().unwrap();
    for name in ["services-list", "endpointslices-list", "nodes-list", "servicecidrs-list"] {
        server.apply_value(json(&format!("{name}.json"))).unwrap();
    }
    server
}

#[test]
fn lists_match_the_recordings() {
    let server = loaded();
    for (path, name) in [
        (
            "/api/v1/services?labelSelector=%21service.kubernetes.io%2Fservice-proxy-name&fieldSelector=spec.clusterIP%21%3DNone",
            "services-list.json",
        ),
        ("/apis/discovery.k8s.io/v1/endpointslices?limit=500", "endpointslices-list.json"),
        ("/api/v1/nodes?fieldSelector=metadata.name%3Dnode1", "nodes-list.json"),
        ("/apis/networking.k8s.io/v1/servicecidrs", "servicecidrs-list.json"),
    ] {
        let found = without_versions(get(&server, path));
        assert_eq!(found, without_versions(json(name)), "{name}");
    }
}

#[test]
fn error_bodies_match_the_recordings() {
    let server = ApiServer::start().unwrap();
    server.forbid("secrets");
    let mut forbidden = json("forbidden.txt");
    let mut found = get(&server, "/api/v1/secrets");
    // It tells the user and the scope of the recording.
    forbidden["message"] = Value::Null;
    found["message"] = Value::Null;
    assert_eq!(found, forbidden);
    server.rotate_token("x");
    assert_eq!(get(&server, "/api/v1/services"), json("unauthorized.txt"));
}

#[test]
fn a_streaming_list_ends_with_the_recorded_bookmark() {
    let server = loaded();
    let path = "/api/v1/services?watch=true&sendInitialEvents=true&allowWatchBookmarks=true\
                &resourceVersionMatch=NotOlderThan";
    let found = lines(&server, path, 5);
    let text = fixture("services-watchlist.jsonl");
    let recorded: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(without_versions(found[4].clone()), without_versions(recorded));
    assert!(found[..4].iter().all(|event| event["type"] == "ADDED"));
}

#[test]
fn a_compacted_watch_ends_with_one_error_event() {
    let server = loaded();
    server.compact();
    let found = lines(&server, "/api/v1/services?watch=true&resourceVersion=1", 9);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["type"], "ERROR");
    assert_eq!(found[0]["object"]["code"], 410);
    assert_eq!(found[0]["object"]["reason"], "Expired");
}

#[tokio::test]
async fn recordings_become_the_expected_specs() {
    let server = loaded();
    let mut world = World::kube(Connection::new(None, Some(&server.url())));
    world
        .until("all lists", |it| {
            it.services.is_some() && it.slices.is_some() && it.node.is_some() && it.cidrs.is_some()
        })
        .await;
    assert_eq!(world.names(), ["default/kubernetes", "shop/dns", "shop/edge", "shop/web"]);
    let web =
        world.services.as_ref().unwrap().iter().find(|(name, _)| name.name == "web").unwrap().1;
    let addresses: Vec<_> = web.cluster_ips.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.107.226.253", "fd00:10:96::c94c"]);
    assert_eq!((web.ports[0].node_port, web.affinity_timeout), (30080, 10_800));
    let edge =
        world.services.as_ref().unwrap().iter().find(|(name, _)| name.name == "edge").unwrap().1;
    assert_eq!((edge.health_check_node_port, edge.source_ranges.len()), (32_669, 1));
    assert_eq!(world.slices.as_ref().unwrap().len(), 2);
    let node = world.node.as_ref().unwrap();
    assert_eq!((node.zone.as_str(), node.pod_cidrs.len()), ("z1", 2));
    assert_eq!(world.cidrs.as_ref().unwrap().len(), 2);
    assert!(world.problems.is_empty(), "{:?}", world.problems);
}
