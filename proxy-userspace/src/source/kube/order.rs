//! Whether a watch tells changes in their order.
//!
//! Resource versions of one kind grow from event to event. A server that goes back, because it answers
//! from a cache that lags or tells its history again, would for a while undo what is known, and might
//! never tell the rest: so what it says is not taken, and a new list asked for.

use kube::{Resource, runtime::watcher::Event};

/// The newest version that a list or a watch has told.
#[derive(Debug, Default)]
pub(super) struct Order {
    newest: Option<u64>,
}

/// An event's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind all others, as it should be.
    Next,
    /// The last event once more.
    Again,
    /// Before what has been told.
    Back,
}

impl Order {
    /// Takes note of an event.
    pub(super) fn place<K: Resource>(&mut self, event: &Event<K>) -> Place {
        let (object, is_listed) = match event {
            Event::Init => {
                self.newest = None;
                return Place::Next;
            }
            Event::InitDone => return Place::Next,
            Event::InitApply(object) => (object, true),
            Event::Apply(object) | Event::Delete(object) => (object, false),
        };
        // To compare them as numbers is what Kubernetes 1.35 promises, and etcd always gave.
        let version = object.meta().resource_version.as_deref().and_then(|v| v.parse().ok());
        let place = match (version, self.newest) {
            (Some(version), Some(newest)) if !is_listed && version < newest => return Place::Back,
            (Some(version), Some(newest)) if !is_listed && version == newest => Place::Again,
            (Some(_), Some(_)) | (None, _) | (_, None) => Place::Next,
        };
        self.newest = self.newest.max(version);
        place
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    fn service(version: &str) -> Service {
        let mut service = Service::default();
        service.metadata.resource_version = Some(version.to_owned());
        service
    }

    #[test]
    fn a_list_has_no_order_and_a_watch_has() {
        let mut order = Order::default();
        let events = [
            (Event::Init, Place::Next),
            (Event::InitApply(service("9")), Place::Next),
            (Event::InitApply(service("7")), Place::Next),
            (Event::InitDone, Place::Next),
            (Event::Apply(service("10")), Place::Next),
            (Event::Apply(service("10")), Place::Again),
            (Event::Delete(service("8")), Place::Back),
            (Event::Apply(service("a word")), Place::Next),
            (Event::Delete(service("11")), Place::Next),
            (Event::Init, Place::Next),
            (Event::InitApply(service("3")), Place::Next),
            (Event::Apply(service("4")), Place::Next),
        ];
        for (event, place) in events {
            assert_eq!(order.place(&event), place, "{event:?}");
        }
    }
}
