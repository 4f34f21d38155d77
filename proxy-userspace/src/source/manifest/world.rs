//! What all files say together, and what changed in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use ipnet::IpNet;

use super::{folder::File, parse::Object};
use crate::model::{
    problem::{Problem, Subject},
    spec::{Change, Event, NodeSpec, ObjectName, ServiceSpec, SliceSpec, Unserved},
};

/// The objects of all files.
#[derive(Debug, Default)]
pub(super) struct World {
    services: BTreeMap<ObjectName, ServiceSpec>,
    slices: BTreeMap<ObjectName, SliceSpec>,
    node: NodeSpec,
    cidrs: BTreeSet<IpNet>,
    problems: BTreeMap<Subject, Vec<Problem>>,
    unserved: Vec<Unserved>,
}

impl World {
    /// Merges the files. The first file in the order of paths wins where two have an object.
    pub(super) fn merge(files: &BTreeMap<PathBuf, File>, node_name: &str) -> Self {
        let mut merge = Merge { world: Self::default(), node_name, owners: BTreeMap::new() };
        for (path, file) in files {
            let path = path.display().to_string();
            if let Some(cause) = &file.broken {
                let text =
                    format!("{cause}; its last good content stays in force until it is fixed");
                merge.report(Problem { subject: Subject::File(path.clone()), text });
            }
            for object in &file.objects {
                merge.add(&path, object);
            }
        }
        merge.world
    }

    /// The Services' addresses that have no rules; no event tells them.
    pub(super) fn unserved(&self) -> &[Unserved] {
        &self.unserved
    }

    /// The events that tell everything.
    pub(super) fn beginning(&self) -> Vec<Event> {
        let mut events = vec![
            Event::Services(Change::Replace(self.services.clone())),
            Event::Slices(Change::Replace(self.slices.clone())),
            Event::Node(self.node.clone()),
            Event::ServiceCidrs(self.cidrs.iter().copied().collect()),
        ];
        events.extend(self.problems.values().flatten().cloned().map(Event::Problem));
        events
    }

    /// The events that turn this world into `next`.
    pub(super) fn changes_to(&self, next: &Self) -> Vec<Event> {
        let mut events = Vec::new();
        // Services first: endpoints without a Service do no harm, nor the other way round, but
        // a Service that is gone need not be recomputed for its endpoints.
        events.extend(diff(&self.services, &next.services).map(Event::Services));
        events.extend(diff(&self.slices, &next.slices).map(Event::Slices));
        if self.node != next.node {
            events.push(Event::Node(next.node.clone()));
        }
        if self.cidrs != next.cidrs {
            events.push(Event::ServiceCidrs(next.cidrs.iter().copied().collect()));
        }
        for (subject, old) in &self.problems {
            if next.problems.get(subject) != Some(old) {
                events.push(Event::Cleared(subject.clone()));
            }
        }
        for (subject, new) in &next.problems {
            if self.problems.get(subject) != Some(new) {
                events.extend(new.iter().cloned().map(Event::Problem));
            }
        }
        events
    }
}

fn diff<T: Clone + PartialEq>(
    old: &BTreeMap<ObjectName, T>,
    new: &BTreeMap<ObjectName, T>,
) -> impl Iterator<Item = Change<ObjectName, T>> {
    let gone = old.keys().filter(|name| !new.contains_key(name)).cloned().map(Change::Delete);
    let changed = new
        .iter()
        .filter(|(name, spec)| old.get(name) != Some(spec))
        .map(|(name, spec)| Change::Apply(name.clone(), spec.clone()));
    gone.chain(changed)
}

struct Merge<'a> {
    world: World,
    node_name: &'a str,
    /// Which file has an object, by kind and name.
    owners: BTreeMap<String, String>,
}

impl Merge<'_> {
    fn report(&mut self, problem: Problem) {
        self.world.problems.entry(problem.subject.clone()).or_default().push(problem);
    }

    fn add(&mut self, path: &str, object: &Object) {
        let (what, problems) = match object {
            Object::Service(name, it, _) => (format!("Service {name}"), &it.problems),
            Object::Slice(name, it) => (format!("EndpointSlice {name}"), &it.problems),
            // Other nodes' objects are as good as absent.
            Object::Node(name, _) if name != self.node_name => return,
            Object::Node(name, it) => (format!("Node {name}"), &it.problems),
            Object::ServiceCidr(name, it) => (format!("ServiceCIDR {name}"), &it.problems),
        };
        if let Some(owner) = self.owners.get(&what) {
            let text = format!("{what} is in {owner} already, which wins; delete one of the two");
            self.report(Problem { subject: Subject::File(path.to_owned()), text });
            return;
        }
        self.owners.insert(what, path.to_owned());
        for problem in problems {
            self.report(problem.clone());
        }
        self.insert(object);
    }

    fn insert(&mut self, object: &Object) {
        match object.clone() {
            Object::Service(name, it, unserved) => {
                self.world.unserved.extend(unserved);
                self.world.services.extend(it.value.map(|spec| (name, spec)));
            }
            Object::Slice(name, it) => self.world.slices.extend(it.value.map(|spec| (name, spec))),
            Object::Node(_, it) => self.world.node = it.value.unwrap_or_default(),
            Object::ServiceCidr(_, it) => self.world.cidrs.extend(it.value.into_iter().flatten()),
        }
    }
}
