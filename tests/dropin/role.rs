//! A19: what is asked of the API server is what kube-proxy's own ClusterRole allows.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    edge,
    proxy::{Stage, eventually},
};

/// As a real API server 1.36 has it.
const ROLE: &str = include_str!("../fixtures/clusterrole-system-node-proxier.yaml");

/// A verb on a resource of a group: `list`, `discovery.k8s.io`, `endpointslices`.
type Access = (&'static str, String, String);

/// What a line of the server's record asks for: `GET /api/v1/services?watch=true 200`.
fn access(line: &str) -> Access {
    let mut words = line.split(' ');
    let (method, uri) = (words.next().unwrap(), words.next().unwrap());
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", "v1", rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => panic!("{line} is about no resource, and the role allows no other path"),
    };
    let rest = match rest {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    };
    let verb = match (method, rest.len()) {
        ("GET", _) if query.split('&').any(|it| it == "watch=true") => "watch",
        ("GET", 1) => "list",
        ("GET", _) => "get",
        ("POST", _) => "create",
        ("PATCH", _) => "patch",
        ("PUT", _) => "update",
        _ => panic!("{line}: a verb that is in no rule"),
    };
    (verb, group.to_owned(), rest[0].to_owned())
}

/// Whether a rule of the role allows it.
fn allowed(role: &Value, (verb, group, resource): &Access) -> bool {
    let has = |rule: &Value, field: &str, wanted: &str| {
        rule[field].as_array().unwrap().iter().any(|it| it == wanted)
    };
    role["rules"].as_array().unwrap().iter().any(|rule| {
        has(rule, "verbs", verb)
            && has(rule, "apiGroups", group)
            && has(rule, "resources", resource)
    })
}

#[test]
fn a19_only_what_the_role_of_kube_proxy_allows() {
    let stage = Stage::new();
    // An Event for a Service, and one for a slice.
    let _taken = stage.listen(32_100);
    stage.server.apply(&edge(1).replace("10.244.1.12", "bogus")).unwrap();
    let proxy = stage.start(&stage.config(|file| file), &["--proxy-mode=ebpf"]);
    proxy.wait_ready();
    // What a broken watch and a lost history bring: resumed watches, and new lists.
    let lists = || {
        let requests = stage.server.requests();
        requests.iter().filter(|line| access(line) == services("watch")).count()
    };
    let before = lists();
    stage.server.drop_watches();
    eventually("resumed watches", || lists() > before);
    let before = lists();
    stage.server.compact();
    stage.server.drop_watches();
    eventually("watches with a new history", || lists() > before);
    eventually("Events", || {
        let requests = stage.server.requests();
        requests.iter().filter(|line| line.starts_with("POST ")).count() >= 3
    });
    drop(proxy);
    let role: Value = serde_saphyr::from_str(ROLE).unwrap();
    let asked: BTreeSet<Access> = stage.server.requests().iter().map(|line| access(line)).collect();
    let beyond: Vec<_> = asked.iter().filter(|access| !allowed(&role, access)).collect();
    assert!(beyond.is_empty(), "asked for {beyond:?}, which the role does not allow");
    for resource in ["services", "endpointslices", "nodes", "servicecidrs", "events"] {
        assert!(asked.iter().any(|it| it.2 == resource), "nothing of {resource} in {asked:?}");
    }
}

fn services(verb: &'static str) -> Access {
    (verb, String::new(), "services".to_owned())
}

#[test]
fn a19_the_role_allows_nothing_else() {
    let role: Value = serde_saphyr::from_str(ROLE).unwrap();
    let line = |text: &str| allowed(&role, &access(text));
    assert!(line("GET /api/v1/nodes/node1? 200") && line("GET /api/v1/nodes?watch=true 200"));
    assert!(!line("GET /api/v1/pods?limit=500 200"));
    assert!(!line("GET /api/v1/namespaces/shop/services/web? 200"));
    assert!(!line("GET /apis/apps/v1/services? 200"));
}
