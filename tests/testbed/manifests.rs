//! A folder of Service and EndpointSlice manifests that a test writes and rewrites.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::address::{Family, Pair};
use crate::pod::Pod;

/// The folder.
#[derive(Clone, Debug)]
pub struct Manifests {
    dir: PathBuf,
}

impl Manifests {
    /// Manifests in a folder that exists.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The folder, for `--manifests`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a Service, or writes it anew.
    pub fn service(&self, service: &Service) -> Result<()> {
        self.write(&format!("service-{}.yaml", service.name), &service.to_value())
    }

    /// Writes a Service's EndpointSlice of each family, or writes them anew.
    pub fn slice(&self, slice: &Slice) -> Result<()> {
        for (value, kind) in slice.to_values().iter().zip(["ipv4", "ipv6"]) {
            self.write(&format!("slice-{}-{kind}.yaml", slice.name), value)?;
        }
        Ok(())
    }

    /// Deletes a Service and its slices.
    pub fn delete(&self, service: &str) -> Result<()> {
        for name in ["service-S.yaml", "slice-S-ipv4.yaml", "slice-S-ipv6.yaml"] {
            let path = self.dir.join(name.replace('S', service));
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("deleting {}", path.display()));
                }
                _deleted_or_absent => {}
            }
        }
        Ok(())
    }

    /// In one step, so that a reader never sees half a manifest.
    fn write(&self, name: &str, object: &Value) -> Result<()> {
        let (path, draft) = (self.dir.join(name), self.dir.join(format!(".{name}.draft")));
        let text = serde_saphyr::to_string(object).context("writing YAML")?;
        fs::write(&draft, text).with_context(|| format!("writing {}", draft.display()))?;
        fs::rename(&draft, &path).with_context(|| format!("writing {}", path.display()))
    }
}

/// One port of a Service.
#[derive(Clone, Debug)]
pub struct Port {
    name: String,
    protocol: &'static str,
    port: u16,
    node_port: Option<u16>,
}

/// A Service in the namespace `default`.
#[derive(Clone, Debug)]
pub struct Service {
    name: String,
    address: Pair,
    ports: Vec<Port>,
    annotations: Value,
    spec: Value,
}

impl Service {
    /// A dual-stack ClusterIP Service.
    pub fn new(name: &str, address: Pair) -> Self {
        let (name, annotations, spec) = (name.to_owned(), json!({}), json!({}));
        Self { name, address, ports: Vec::new(), annotations, spec }
    }

    /// Adds a TCP port, and a NodePort if there is one.
    pub fn tcp(self, port: u16, node_port: Option<u16>) -> Self {
        self.port("TCP", port, node_port)
    }

    /// Adds a UDP port, and a NodePort if there is one.
    pub fn udp(self, port: u16, node_port: Option<u16>) -> Self {
        self.port("UDP", port, node_port)
    }

    /// Adds an SCTP port, and a NodePort if there is one.
    pub fn sctp(self, port: u16, node_port: Option<u16>) -> Self {
        self.port("SCTP", port, node_port)
    }

    /// `externalTrafficPolicy: Local` (A44).
    pub fn external_local(self) -> Self {
        self.with("externalTrafficPolicy", "Local")
    }

    /// `internalTrafficPolicy: Local` (A48).
    pub fn internal_local(self) -> Self {
        self.with("internalTrafficPolicy", "Local")
    }

    /// `sessionAffinity: ClientIP` (A70).
    pub fn sticky(self) -> Self {
        self.with("sessionAffinity", "ClientIP")
    }

    /// Sets an annotation.
    pub fn annotated(mut self, key: &str, value: &str) -> Self {
        self.annotations[key] = value.into();
        self
    }

    /// Sets any field of the spec.
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.spec[field] = value.into();
        self
    }

    fn port(mut self, protocol: &'static str, port: u16, node_port: Option<u16>) -> Self {
        let name = protocol.to_lowercase();
        self.ports.push(Port { name, protocol, port, node_port });
        self
    }

    /// The object.
    pub fn to_value(&self) -> Value {
        let external = self.ports.iter().any(|port| port.node_port.is_some());
        let mut spec = json!({
            "type": if external { "NodePort" } else { "ClusterIP" },
            "clusterIP": self.address.v4.to_string(),
            "clusterIPs": [self.address.v4.to_string(), self.address.v6.to_string()],
            "ipFamilies": ["IPv4", "IPv6"],
            "ipFamilyPolicy": "RequireDualStack",
            "ports": self.ports.iter().map(Port::to_value).collect::<Vec<_>>(),
        });
        for (field, value) in self.spec.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": self.name,
                "namespace": "default",
                "annotations": self.annotations,
            },
            "spec": spec,
        })
    }
}

impl Port {
    fn to_value(&self) -> Value {
        let mut port = json!({
            "name": self.name,
            "protocol": self.protocol,
            "port": self.port,
            "targetPort": crate::address::SERVER_PORT,
        });
        if let Some(node_port) = self.node_port {
            port["nodePort"] = node_port.into();
        }
        port
    }
}

/// The endpoints of a Service, both families.
#[derive(Clone, Debug)]
pub struct Slice {
    name: String,
    service: String,
    port: u16,
    protocols: Vec<&'static str>,
    endpoints: Vec<(Pair, String)>,
}

impl Slice {
    /// No endpoints yet; they answer on the testbed's server port.
    pub fn new(service: &str) -> Self {
        let port = crate::address::SERVER_PORT;
        let service = service.to_owned();
        let protocols = vec!["TCP", "UDP"];
        Self { name: service.clone(), service, port, protocols, endpoints: Vec::new() }
    }

    /// Another name than the Service's, for one of several slices.
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// With an SCTP port as well.
    pub fn sctp(mut self) -> Self {
        self.protocols.push("SCTP");
        self
    }

    /// Another target port.
    pub fn port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Adds a pod.
    pub fn pod(self, pod: &Pod) -> Self {
        let node = format!("node{}", pod.node());
        self.endpoint(pod.address(), &node)
    }

    /// Adds any address on a node.
    pub fn endpoint(mut self, address: Pair, node: &str) -> Self {
        self.endpoints.push((address, node.to_owned()));
        self
    }

    /// The objects: one for each family, named `NAME-ipv4` and `NAME-ipv6`.
    pub fn to_values(&self) -> [Value; 2] {
        [self.to_value(Family::V4, "IPv4"), self.to_value(Family::V6, "IPv6")]
    }

    fn to_value(&self, family: Family, kind: &str) -> Value {
        let endpoint = |(address, node): &(Pair, String)| {
            json!({
                "addresses": [address.ip(family).to_string()],
                "conditions": { "ready": true, "serving": true, "terminating": false },
                "nodeName": node,
            })
        };
        let port = |protocol: &&str| json!({ "name": protocol.to_lowercase(), "protocol": protocol, "port": self.port });
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{}-{}", self.name, kind.to_lowercase()),
                "namespace": "default",
                "labels": { "kubernetes.io/service-name": self.service },
            },
            "addressType": kind,
            "endpoints": self.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
            "ports": self.protocols.iter().map(port).collect::<Vec<_>>(),
        })
    }
}
