//! Kubernetes objects to [`crate::model::spec`] structs (A1 to A17).
//!
//! Nothing here fails: what cannot be used becomes a problem that names the object, and the
//! rest of the object stays in use.

mod address;
mod node;
mod service;
mod slice;
mod unserved;

pub use address::{parse_cidr, parse_ip};
pub use node::{node, service_cidr};
pub use service::service;
pub use slice::slice;
pub use unserved::unserved;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::model::{
    problem::{Problem, Subject},
    spec::{ObjectName, Protocol},
};

/// Services with this label belong to another proxy, whatever its value (A1).
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";

/// An object after conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted<T> {
    /// What the model is to know; `None` if the object has no rules.
    pub value: Option<T>,
    /// What could not be used.
    pub problems: Vec<Problem>,
}

impl<T> Converted<T> {
    /// An object that has no rules, by design and not by mistake.
    fn skipped() -> Self {
        Self { value: None, problems: Vec::new() }
    }
}

/// Namespace and name.
pub(super) fn object_name(meta: &ObjectMeta) -> ObjectName {
    ObjectName {
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
    }
}

fn has_label(meta: &ObjectMeta, label: &str) -> bool {
    meta.labels.as_ref().is_some_and(|labels| labels.contains_key(label))
}

/// Collects the problems of one object.
struct Report {
    subject: Subject,
    problems: Vec<Problem>,
}

impl Report {
    fn new(subject: Subject) -> Self {
        Self { subject, problems: Vec::new() }
    }

    fn add(&mut self, text: String) {
        self.problems.push(Problem { subject: self.subject.clone(), text });
    }

    fn finish<T>(self, value: T) -> Converted<T> {
        Converted { value: Some(value), problems: self.problems }
    }

    /// A protocol by its name; the API server's default is TCP.
    fn protocol(&mut self, field: &str, name: Option<&str>) -> Option<Protocol> {
        match name.unwrap_or("TCP") {
            "TCP" => Some(Protocol::Tcp),
            "UDP" => Some(Protocol::Udp),
            "SCTP" => Some(Protocol::Sctp),
            other => {
                self.add(format!(
                    "{field}: protocol {other:?} is unknown, the port is not served; use TCP, \
                     UDP or SCTP"
                ));
                None
            }
        }
    }

    /// A port number from 1 to 65535.
    fn port(&mut self, field: &str, number: i32) -> Option<u16> {
        let port = u16::try_from(number).ok().filter(|port| *port != 0);
        if port.is_none() {
            self.add(format!("{field}: {number} is not a port from 1 to 65535, it is ignored"));
        }
        port
    }
}
