//! A manifest's text to converted objects.

use std::path::Path;

use ipnet::IpNet;
use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
    networking::v1::ServiceCIDR,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::{
    model::spec::{NodeSpec, ObjectName, ServiceSpec, SliceSpec, Unserved},
    source::convert::{self, Converted},
};

/// An object of a manifest, converted.
#[derive(Clone, Debug)]
pub(super) enum Object {
    Service(ObjectName, Converted<ServiceSpec>, Vec<Unserved>),
    Slice(ObjectName, Converted<SliceSpec>),
    Node(String, Converted<NodeSpec>),
    ServiceCidr(String, Converted<Vec<IpNet>>),
}

/// All objects that concern a service proxy, or why the file cannot be used.
pub(super) fn objects(path: &Path, bytes: &[u8]) -> Result<Vec<Object>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
        format!("line {line}: it is not UTF-8 text")
    })?;
    if text.trim().is_empty() {
        // What an editor leaves for a moment while it saves.
        return Err("line 1: it is empty; delete the file to delete its objects".into());
    }
    let json = path.extension().is_some_and(|suffix| suffix == "json");
    let documents = if json { from_json(text)? } else { from_yaml(text)? };
    let mut found = Vec::new();
    for (line, document) in documents {
        collect(document, &mut found).map_err(|cause| format!("line {line}: {cause}"))?;
    }
    Ok(found)
}

fn from_yaml(text: &str) -> Result<Vec<(u64, Value)>, String> {
    let documents: Vec<Spanned<Value>> = serde_saphyr::from_multiple(text).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        format!("line {line}: {}", first_line(&error.without_snippet().to_string()))
    })?;
    Ok(documents.into_iter().map(|it| (it.defined.line(), it.value)).collect())
}

fn from_json(text: &str) -> Result<Vec<(u64, Value)>, String> {
    let mut documents = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    loop {
        let before = &text[..stream.byte_offset()];
        let line = 1 + before.bytes().filter(|byte| *byte == b'\n').count() as u64;
        match stream.next() {
            None => return Ok(documents),
            Some(Ok(document)) => documents.push((line, document)),
            Some(Err(error)) => return Err(format!("line {}: {error}", error.line())),
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Objects of other kinds are welcome in a folder of manifests, and no concern of ours.
fn collect(document: Value, found: &mut Vec<Object>) -> Result<(), String> {
    if document.is_null() {
        return Ok(());
    }
    let text = |field: &str| document.get(field).and_then(Value::as_str).map(str::to_owned);
    let (Some(version), Some(kind)) = (text("apiVersion"), text("kind")) else {
        return Err("an object without apiVersion and kind".into());
    };
    match (version.as_str(), kind.as_str()) {
        ("v1", "Service") => {
            let object: Service = typed(document)?;
            let name = object_name(&object.metadata, "Service")?;
            let object = Service { metadata: named(object.metadata, &name), ..object };
            found.push(Object::Service(
                name,
                convert::service(&object),
                convert::unserved(&object),
            ));
        }
        ("discovery.k8s.io/v1", "EndpointSlice") => {
            let object: EndpointSlice = typed(document)?;
            let name = object_name(&object.metadata, "EndpointSlice")?;
            let object = with_defaults(object, &name);
            found.push(Object::Slice(name, convert::slice(&object)));
        }
        ("v1", "Node") => {
            let object: Node = typed(document)?;
            let name = object_name(&object.metadata, "Node")?.name;
            found.push(Object::Node(name, convert::node(&object)));
        }
        ("networking.k8s.io/v1", "ServiceCIDR") => {
            let object: ServiceCIDR = typed(document)?;
            let name = object_name(&object.metadata, "ServiceCIDR")?.name;
            found.push(Object::ServiceCidr(name, convert::service_cidr(&object)));
        }
        (_, list) if list.ends_with("List") => {
            let items = match document.get("items") {
                None | Some(Value::Null) => Vec::new(),
                Some(Value::Array(items)) => items.clone(),
                Some(_) => return Err(format!("{list}: items is no list")),
            };
            for mut item in items {
                inherit_kind(&mut item, &version, list);
                collect(item, found)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// The items of a `ServiceList`, as an API server prints it, do not say what they are.
fn inherit_kind(item: &mut Value, version: &str, list: &str) {
    if let Some(fields) = item.as_object_mut()
        && list != "List"
    {
        let kind = list.strip_suffix("List").unwrap_or(list);
        fields.entry("apiVersion").or_insert_with(|| version.into());
        fields.entry("kind").or_insert_with(|| kind.into());
    }
}

fn typed<T: DeserializeOwned>(document: Value) -> Result<T, String> {
    let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("?").to_owned();
    let kind = document.get("kind").and_then(Value::as_str).unwrap_or("?").to_owned();
    serde_json::from_value(document).map_err(|error| format!("{kind} {name}: {error}"))
}

fn object_name(meta: &ObjectMeta, kind: &str) -> Result<ObjectName, String> {
    let mut name = convert::object_name(meta);
    if name.name.is_empty() {
        return Err(format!("a {kind} without metadata.name"));
    }
    if name.namespace.is_empty() {
        name.namespace = "default".into();
    }
    Ok(name)
}

fn named(meta: ObjectMeta, name: &ObjectName) -> ObjectMeta {
    ObjectMeta { namespace: Some(name.namespace.clone()), ..meta }
}

/// What an API server would have filled in: without it A5 ignores the port.
fn with_defaults(mut object: EndpointSlice, name: &ObjectName) -> EndpointSlice {
    object.metadata = named(object.metadata, name);
    for port in object.ports.iter_mut().flatten() {
        port.name.get_or_insert_default();
    }
    object
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
