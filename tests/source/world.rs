//! Follows a source's events as the controller does.

use std::{collections::BTreeMap, time::Duration};

use ipnet::IpNet;
use sluice::{
    model::{
        problem::{Problem, Subject},
        spec::{Change, Event, NodeSpec, ObjectName, ServiceSpec, SliceSpec},
    },
    source::kube::Connection,
};
use tokio::{
    sync::mpsc::{Receiver, channel},
    task::JoinHandle,
    time::timeout,
};

/// The state after all events so far.
pub(crate) struct World {
    events: Receiver<Event>,
    task: JoinHandle<()>,
    pub(crate) services: Option<BTreeMap<ObjectName, ServiceSpec>>,
    pub(crate) slices: Option<BTreeMap<ObjectName, SliceSpec>>,
    pub(crate) node: Option<NodeSpec>,
    pub(crate) cidrs: Option<Vec<IpNet>>,
    pub(crate) problems: BTreeMap<Subject, Vec<Problem>>,
    pub(crate) replaced: usize,
}

impl World {
    /// Follows an API server.
    pub(crate) fn kube(connection: Connection) -> Self {
        Self::new(|events| {
            tokio::spawn(
                async move { sluice::source::kube::run(&connection, "node1", events).await },
            )
        })
    }

    /// Follows a folder.
    pub(crate) fn folder(dir: std::path::PathBuf) -> Self {
        Self::new(|events| {
            tokio::spawn(async move { sluice::source::manifest::run(dir, "node1", events).await })
        })
    }

    fn new(start: impl FnOnce(tokio::sync::mpsc::Sender<Event>) -> JoinHandle<()>) -> Self {
        let (sender, events) = channel(16);
        Self {
            events,
            task: start(sender),
            services: None,
            slices: None,
            node: None,
            cidrs: None,
            problems: BTreeMap::new(),
            replaced: 0,
        }
    }

    /// Takes up events until something holds.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let wait = async {
            while !holds(self) {
                let event = self.events.recv().await.expect("the source has ended");
                self.take(event);
            }
        };
        if timeout(Duration::from_secs(10), wait).await.is_err() {
            panic!("in vain: {what}; services {:?}, problems {:?}", self.names(), self.problems);
        }
    }

    /// Everything was listed once; the test server has no Node.
    pub(crate) fn listed(&self) -> bool {
        self.services.is_some()
            && self.slices.is_some()
            && self.cidrs.is_some()
            && (self.node.as_ref().is_some_and(|node| !node.leaving) || !self.problems.is_empty())
    }

    /// Nothing happens for a while.
    pub(crate) async fn quiet(&mut self, milliseconds: u64) {
        let wait = timeout(Duration::from_millis(milliseconds), self.events.recv()).await;
        assert!(wait.is_err(), "unexpected: {wait:?}");
    }

    /// The source ends when nobody listens any more.
    pub(crate) async fn end(self) {
        drop(self.events);
        timeout(Duration::from_secs(2), self.task).await.expect("the source ends").unwrap();
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.services.iter().flatten().map(|(name, _)| name.to_string()).collect()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.names().iter().any(|other| other == name)
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Services(change) => {
                self.replaced += usize::from(matches!(change, Change::Replace(_)));
                merge(&mut self.services, change);
            }
            Event::Slices(change) => merge(&mut self.slices, change),
            Event::Node(node) => self.node = Some(node),
            Event::ServiceCidrs(cidrs) => self.cidrs = Some(cidrs),
            Event::Problem(problem) => {
                self.problems.entry(problem.subject.clone()).or_default().push(problem);
            }
            Event::Cleared(subject) => {
                self.problems.remove(&subject).expect("only what had problems is cleared");
            }
        }
    }
}

fn merge<T>(map: &mut Option<BTreeMap<ObjectName, T>>, change: Change<ObjectName, T>) {
    match change {
        Change::Replace(all) => *map = Some(all),
        Change::Apply(name, spec) => {
            map.as_mut().expect("a list comes first").insert(name, spec);
        }
        Change::Delete(name) => {
            map.as_mut().expect("a list comes first").remove(&name);
        }
    }
}

/// A Service manifest.
pub(crate) fn service(name: &str, ip: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: shop}}, \
         spec: {{clusterIP: {ip}, ports: [{{port: 80}}]}}}}\n"
    )
}

/// An EndpointSlice manifest.
pub(crate) fn slice(name: &str, address: &str) -> String {
    format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: {name}, \
         namespace: shop, labels: {{kubernetes.io/service-name: web}}}}, addressType: IPv4, \
         endpoints: [{{addresses: [{address}]}}], ports: [{{name: '', port: 8080}}]}}\n"
    )
}
