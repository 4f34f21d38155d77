//! The own Node, and ServiceCIDRs: told as a whole, and only when they changed.

use std::collections::BTreeMap;

use ipnet::IpNet;
use k8s_openapi::api::{core::v1::Node, networking::v1::ServiceCIDR};
use kube::runtime::watcher::Config;

use super::follow::Mirror;
use crate::{
    model::{
        problem::{Problem, Subject},
        spec::{Event, NodeSpec},
    },
    source::{
        convert::{self, Converted},
        troubles::Troubles,
    },
};

/// The own Node (A17). A Node's status changes every few minutes; its spec hardly ever.
pub(super) struct OwnNode {
    name: String,
    listed: Option<Converted<NodeSpec>>,
    told: Option<NodeSpec>,
    troubles: Troubles,
}

impl OwnNode {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), listed: None, told: None, troubles: Troubles::default() }
    }

    fn tell(&mut self, converted: Converted<NodeSpec>) -> Vec<Event> {
        let mut events = Vec::new();
        // The last zone and addresses stay; that there is no Node is told (A17d), and the model waits
        // to hear it (A17).
        let gone = || NodeSpec { leaving: true, ..self.told.clone().unwrap_or_default() };
        let converted = Converted { value: converted.value.or_else(|| Some(gone())), ..converted };
        if let Some(spec) = converted.value
            && self.told.as_ref() != Some(&spec)
        {
            self.told = Some(spec.clone());
            events.push(Event::Node(spec));
        }
        events.extend(self.troubles.replace(converted.problems));
        events
    }

    fn missing(&self) -> Converted<NodeSpec> {
        let text = format!(
            "there is no such Node; its last zone and addresses stay in use; register the node, \
             or correct --hostname-override if {:?} is not its name",
            self.name
        );
        let subject = Subject::Other(format!("Node {}", self.name));
        Converted { value: None, problems: vec![Problem { subject, text }] }
    }
}

impl Mirror for OwnNode {
    type Object = Node;

    const KIND: &'static str = "Node";

    fn selectors(&self) -> Config {
        Config::default().fields(&format!("metadata.name={}", self.name))
    }

    fn begin(&mut self) {
        self.listed = None;
    }

    fn listed(&mut self, object: &Node) {
        if object.metadata.name.as_deref() == Some(&self.name) {
            self.listed = Some(convert::node(object));
        }
    }

    fn complete(&mut self) -> Vec<Event> {
        let converted = self.listed.take().unwrap_or_else(|| self.missing());
        self.tell(converted)
    }

    fn applied(&mut self, object: &Node) -> Vec<Event> {
        self.tell(convert::node(object))
    }

    fn deleted(&mut self, _object: &Node) -> Vec<Event> {
        let missing = self.missing();
        self.tell(missing)
    }
}

/// ServiceCIDRs (A18). Before Kubernetes 1.33 there are none, and an old ClusterRole does not
/// allow them: neither matters but for dropping traffic to unallocated addresses.
#[derive(Default)]
pub(super) struct ServiceCidrs {
    objects: BTreeMap<String, Converted<Vec<IpNet>>>,
    told: Option<Vec<IpNet>>,
    troubles: Troubles,
}

impl ServiceCidrs {
    fn tell(&mut self) -> Vec<Event> {
        let mut nets: Vec<_> =
            self.objects.values().filter_map(|it| it.value.as_ref()).flatten().copied().collect();
        nets.sort_unstable();
        nets.dedup();
        let mut events = Vec::new();
        if self.told.as_ref() != Some(&nets) {
            self.told = Some(nets.clone());
            events.push(Event::ServiceCidrs(nets));
        }
        let problems = self.objects.values().flat_map(|it| it.problems.clone()).collect();
        events.extend(self.troubles.replace(problems));
        events
    }
}

impl Mirror for ServiceCidrs {
    type Object = ServiceCIDR;

    const KIND: &'static str = "ServiceCIDR";

    const OPTIONAL: bool = true;

    fn selectors(&self) -> Config {
        Config::default()
    }

    fn begin(&mut self) {
        self.objects.clear();
    }

    fn listed(&mut self, object: &ServiceCIDR) {
        let name = object.metadata.name.clone().unwrap_or_default();
        self.objects.insert(name, convert::service_cidr(object));
    }

    fn complete(&mut self) -> Vec<Event> {
        self.tell()
    }

    fn applied(&mut self, object: &ServiceCIDR) -> Vec<Event> {
        self.listed(object);
        self.tell()
    }

    fn deleted(&mut self, object: &ServiceCIDR) -> Vec<Event> {
        self.objects.remove(object.metadata.name.as_deref().unwrap_or_default());
        self.tell()
    }
}
