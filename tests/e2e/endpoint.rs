//! Endpoints in every condition, and the slices that list them.

use serde_json::{Value, json};
use testbed::address::{self, Family, Pair};

/// Pods of each node.
const PODS_PER_NODE: u8 = 2;

/// One endpoint, both families.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    address: Pair,
    node: u8,
    conditions: Value,
    hints: Value,
}

impl Endpoint {
    fn at(address: Pair, node: u8) -> Self {
        let conditions = json!({"ready": true, "serving": true, "terminating": false});
        Self { address, node, conditions, hints: Value::Null }
    }

    fn conditions(self, ready: bool, serving: bool, terminating: bool) -> Self {
        let conditions = json!({"ready": ready, "serving": serving, "terminating": terminating});
        Self { conditions, ..self }
    }

    /// It runs, but its readiness probe fails.
    pub(crate) fn unready(self) -> Self {
        self.conditions(false, false, false)
    }

    /// It was deleted, and still answers.
    pub(crate) fn terminating(self) -> Self {
        self.conditions(false, true, true)
    }

    /// It was deleted, and its readiness probe fails.
    pub(crate) fn failing(self) -> Self {
        self.conditions(false, false, true)
    }

    /// An unready one of a Service with `publishNotReadyAddresses`: the controller calls it ready.
    pub(crate) fn unready_but_published(self) -> Self {
        self.conditions(true, false, false)
    }

    /// The same, deleted.
    pub(crate) fn failing_but_published(self) -> Self {
        self.conditions(true, false, true)
    }

    /// Meant for clients of these zones.
    pub(crate) fn for_zones(mut self, zones: &[&str]) -> Self {
        self.hints["forZones"] = zones.iter().map(|name| json!({"name": name})).collect();
        self
    }

    /// Meant for clients of this node.
    pub(crate) fn for_node(mut self, node: &str) -> Self {
        self.hints["forNodes"] = json!([{ "name": node }]);
        self
    }

    fn to_value(&self, family: Family) -> Value {
        json!({
            "addresses": [self.address.ip(family)],
            "conditions": self.conditions,
            "hints": self.hints,
            "nodeName": format!("node{}", self.node),
            "zone": format!("zone{}", self.node),
        })
    }
}

/// Pod `p`: 1 and 2 are on node 1, 3 and 4 on node 2.
pub(crate) fn pod(p: u8) -> Endpoint {
    let node = (p - 1) / PODS_PER_NODE + 1;
    Endpoint::at(address::pod(node, p), node)
}

/// Ready pods.
pub(crate) fn pods(numbers: &[u8]) -> Vec<Endpoint> {
    numbers.iter().map(|p| pod(*p)).collect()
}

/// A host-network pod of node `n`.
pub(crate) fn host(n: u8) -> Endpoint {
    Endpoint::at(address::node(n), n)
}

/// The slices of both families: name, protocol and number of each port.
pub(crate) fn slices(
    service: &str,
    part: u8,
    ports: &[(&str, &str, u16)],
    endpoints: &[Endpoint],
) -> [Value; 2] {
    let port = |(name, protocol, port): &(&str, &str, u16)| json!({"name": name, "protocol": protocol, "port": port});
    [(Family::V4, "IPv4"), (Family::V6, "IPv6")].map(|(family, kind)| {
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{service}-{part}-{}", kind.to_lowercase()),
                "namespace": "default",
                "labels": { "kubernetes.io/service-name": service },
            },
            "addressType": kind,
            "endpoints": endpoints.iter().map(|it| it.to_value(family)).collect::<Vec<_>>(),
            "ports": ports.iter().map(port).collect::<Vec<_>>(),
        })
    })
}
