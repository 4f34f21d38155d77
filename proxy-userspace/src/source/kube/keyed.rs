//! Services and EndpointSlices: many objects, each by its name.

use std::{collections::BTreeMap, fmt::Debug};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{Resource, runtime::watcher::Config};
use serde::de::DeserializeOwned;

use super::follow::Mirror;
use crate::{
    model::{
        problem::{Problem, Subject},
        spec::{Change, Event, ObjectName, ServiceSpec, SliceSpec},
    },
    source::{
        convert::{self, Converted},
        troubles::Troubles,
    },
};

/// What tells Services and EndpointSlices apart.
pub(super) trait Kind {
    type Object: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static;
    type Spec;
    const NAME: &'static str;
    fn selectors() -> Config;
    fn convert(object: &Self::Object) -> Converted<Self::Spec>;
    fn subject(name: ObjectName) -> Subject;
    fn event(change: Change<ObjectName, Self::Spec>) -> Event;
}

/// Services (A1).
pub(super) struct Services;

impl Kind for Services {
    type Object = Service;
    type Spec = ServiceSpec;
    const NAME: &'static str = "Service";

    fn selectors() -> Config {
        Config::default()
            .labels("!service.kubernetes.io/service-proxy-name")
            .fields("spec.clusterIP!=None")
    }

    fn convert(object: &Service) -> Converted<ServiceSpec> {
        convert::service(object)
    }

    fn subject(name: ObjectName) -> Subject {
        Subject::Service(name)
    }

    fn event(change: Change<ObjectName, ServiceSpec>) -> Event {
        Event::Services(change)
    }
}

/// EndpointSlices (A3).
pub(super) struct Slices;

impl Kind for Slices {
    type Object = EndpointSlice;
    type Spec = SliceSpec;
    const NAME: &'static str = "EndpointSlice";

    fn selectors() -> Config {
        Config::default().labels("!service.kubernetes.io/headless")
    }

    fn convert(object: &EndpointSlice) -> Converted<SliceSpec> {
        convert::slice(object)
    }

    fn subject(name: ObjectName) -> Subject {
        Subject::Slice(name)
    }

    fn event(change: Change<ObjectName, SliceSpec>) -> Event {
        Event::Slices(change)
    }
}

/// Collects a list, then passes changes on. Keeps no object.
pub(super) struct Keyed<K: Kind> {
    list: BTreeMap<ObjectName, K::Spec>,
    problems: Vec<Problem>,
    troubles: Troubles,
}

impl<K: Kind> Keyed<K> {
    pub(super) fn new(_kind: K) -> Self {
        Self { list: BTreeMap::new(), problems: Vec::new(), troubles: Troubles::default() }
    }

    fn change(&mut self, name: ObjectName, converted: Converted<K::Spec>) -> Vec<Event> {
        let subject = K::subject(name.clone());
        let change = match converted.value {
            Some(spec) => Change::Apply(name, spec),
            None => Change::Delete(name),
        };
        let mut events = vec![K::event(change)];
        events.extend(self.troubles.renew(&subject, converted.problems));
        events
    }
}

fn name_of<T: Resource>(object: &T) -> ObjectName {
    convert::object_name(object.meta())
}

impl<K: Kind> Mirror for Keyed<K> {
    type Object = K::Object;

    const KIND: &'static str = K::NAME;

    fn selectors(&self) -> Config {
        K::selectors()
    }

    fn begin(&mut self) {
        self.list.clear();
        self.problems.clear();
    }

    fn listed(&mut self, object: &K::Object) {
        let converted = K::convert(object);
        self.problems.extend(converted.problems);
        if let Some(spec) = converted.value {
            self.list.insert(name_of(object), spec);
        }
    }

    fn complete(&mut self) -> Vec<Event> {
        let mut events = vec![K::event(Change::Replace(std::mem::take(&mut self.list)))];
        events.extend(self.troubles.replace(std::mem::take(&mut self.problems)));
        events
    }

    fn applied(&mut self, object: &K::Object) -> Vec<Event> {
        self.change(name_of(object), K::convert(object))
    }

    fn deleted(&mut self, object: &K::Object) -> Vec<Event> {
        self.change(name_of(object), Converted { value: None, problems: Vec::new() })
    }
}
