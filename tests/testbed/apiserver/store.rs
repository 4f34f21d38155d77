//! Objects, their versions, and what happened to them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::query::Params;

/// A kind of object that the server has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) group: &'static str,
    pub(super) resource: &'static str,
}

impl Kind {
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() { "v1".into() } else { format!("{}/v1", self.group) }
    }

    pub(super) fn by_resource(group: &str, resource: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.group == group && kind.resource == resource)
    }

    fn by_name(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }
}

const KINDS: [Kind; 6] = [
    Kind { name: "Service", group: "", resource: "services" },
    Kind { name: "Node", group: "", resource: "nodes" },
    Kind { name: "Event", group: "", resource: "events" },
    Kind { name: "Event", group: "events.k8s.io", resource: "events" },
    Kind { name: "EndpointSlice", group: "discovery.k8s.io", resource: "endpointslices" },
    Kind { name: "ServiceCIDR", group: "networking.k8s.io", resource: "servicecidrs" },
];

/// Resource, namespace, name.
pub(super) type Key = (&'static str, String, String);

/// Something that happened.
#[derive(Debug)]
struct Entry {
    version: u64,
    resource: &'static str,
    before: Option<Value>,
    after: Option<Value>,
}

/// A page of a list.
pub(super) struct Page {
    pub(super) items: Vec<Value>,
    pub(super) next: Option<String>,
    pub(super) remaining: usize,
}

/// Everything the server knows.
#[derive(Debug, Default)]
pub(super) struct Store {
    objects: BTreeMap<Key, Value>,
    log: Vec<Entry>,
    pub(super) version: u64,
    compacted: u64,
}

impl Store {
    pub(super) fn apply(&mut self, mut document: Value) -> Result<()> {
        if let Some(items) = document.get_mut("items").and_then(Value::as_array_mut) {
            let items = std::mem::take(items);
            let list = document["kind"].as_str().unwrap_or_default().to_owned();
            for mut item in items {
                if item.get("kind").is_none() {
                    item["kind"] = list.trim_end_matches("List").into();
                }
                self.apply(item)?;
            }
            return Ok(());
        }
        let name = document["kind"].as_str().context("an object without a kind")?;
        let Some(kind) = Kind::by_name(name) else { bail!("the API server has no {name}") };
        self.put(kind, document);
        Ok(())
    }

    pub(super) fn put(&mut self, kind: &'static Kind, mut object: Value) -> Value {
        let key = key(kind, &object);
        let before = self.objects.get(&key).cloned();
        self.version += 1;
        object["kind"] = kind.name.into();
        object["apiVersion"] = kind.api_version().into();
        let meta = &mut object["metadata"];
        meta["resourceVersion"] = self.version.to_string().into();
        let uid = format!("00000000-0000-4000-8000-{:012x}", self.version);
        for (field, value) in [("uid", uid.as_str()), ("creationTimestamp", "2026-01-01T00:00:00Z")]
        {
            if meta.get(field).is_none() {
                let old = before.as_ref().map(|before| before["metadata"][field].clone());
                meta[field] = old.unwrap_or_else(|| value.into());
            }
        }
        let after = Some(object.clone());
        self.log.push(Entry { version: self.version, resource: kind.resource, before, after });
        self.objects.insert(key, object.clone());
        object
    }

    pub(super) fn delete(&mut self, kind: &str, namespace: &str, name: &str) {
        let Some(kind) = Kind::by_name(kind) else { return };
        let key = (kind.resource, namespace.to_owned(), name.to_owned());
        if let Some(before) = self.objects.remove(&key) {
            self.version += 1;
            let (version, before) = (self.version, Some(before));
            self.log.push(Entry { version, resource: kind.resource, before, after: None });
        }
    }

    pub(super) fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(kind.resource, namespace.to_owned(), name.to_owned()))
    }

    pub(super) fn contains(&self, kind: &'static Kind, object: &Value) -> bool {
        self.objects.contains_key(&key(kind, object))
    }

    /// Forgets what happened; a version that was current until now is too old afterwards.
    pub(super) fn compact(&mut self) {
        self.version += 1;
        self.compacted = self.version;
        self.log.clear();
    }

    /// Whether what happened after `version` is not known any more.
    pub(super) fn is_expired(&self, version: u64) -> bool {
        version < self.compacted
    }

    /// Selected objects from the `after`-th on.
    pub(super) fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        params: &Params,
        after: usize,
    ) -> Page {
        let all: Vec<&Value> = self
            .objects
            .iter()
            .filter(|((resource, ns, _), object)| {
                *resource == kind.resource
                    && namespace.is_none_or(|wanted| wanted == ns)
                    && params.select(object)
            })
            .map(|(_, object)| object)
            .skip(after)
            .collect();
        let limit = params.number("limit").map_or(all.len(), |limit| limit as usize);
        let taken = limit.min(all.len());
        let remaining = all.len() - taken;
        let next = (remaining > 0).then(|| format!("{}.{}", self.version, after + taken));
        Page { items: all.into_iter().take(taken).cloned().collect(), next, remaining }
    }

    /// Events after `version` as a watch with these selectors sees them.
    pub(super) fn since(&self, kind: &Kind, params: &Params, version: u64) -> Vec<Value> {
        let first = self.log.partition_point(|entry| entry.version <= version);
        self.log[first..]
            .iter()
            .filter(|entry| entry.resource == kind.resource)
            .filter_map(|entry| seen(entry, params))
            .collect()
    }
}

/// An object that leaves the selection is deleted for whoever watches it.
fn seen(entry: &Entry, params: &Params) -> Option<Value> {
    let selected = |object: &&Value| params.select(object);
    let before = entry.before.as_ref().filter(selected);
    let after = entry.after.as_ref().filter(selected);
    Some(match (before, after) {
        (None, None) => return None,
        (None, Some(object)) => json!({"type": "ADDED", "object": object}),
        (Some(_), Some(object)) => json!({"type": "MODIFIED", "object": object}),
        (Some(object), None) => {
            let mut object = object.clone();
            object["metadata"]["resourceVersion"] = entry.version.to_string().into();
            json!({"type": "DELETED", "object": object})
        }
    })
}

fn key(kind: &'static Kind, object: &Value) -> Key {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (kind.resource, text("namespace"), text("name"))
}
