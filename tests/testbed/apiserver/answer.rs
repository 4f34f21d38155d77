//! Status bodies and bookmarks, as recorded in `tests/fixtures`.

use serde_json::{Value, json};

use super::store::Kind;

fn status(code: u16, reason: &str, message: &str, details: Option<Value>) -> Value {
    let mut body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    if let Some(details) = details {
        body["details"] = details;
    }
    body
}

/// 401.
pub(super) fn unauthorized() -> Value {
    status(401, "Unauthorized", "Unauthorized", None)
}

/// 403.
pub(super) fn forbidden(resource: &str, group: &str) -> Value {
    let message = format!(
        "{resource} is forbidden: User \"system:node:node1\" cannot list resource \
         \"{resource}\" in API group \"{group}\" at the cluster scope"
    );
    let mut details = json!({"kind": resource});
    if !group.is_empty() {
        details["group"] = group.into();
    }
    status(403, "Forbidden", &message, Some(details))
}

/// 404 for a path or a resource.
pub(super) fn no_resource() -> Value {
    status(404, "NotFound", "the server could not find the requested resource", Some(json!({})))
}

/// 404 for an object.
pub(super) fn no_object(resource: &str, name: &str) -> Value {
    let message = format!("{resource} \"{name}\" not found");
    status(404, "NotFound", &message, Some(json!({"name": name, "kind": resource})))
}

/// 409.
pub(super) fn exists(resource: &str, name: &str) -> Value {
    let message = format!("{resource} \"{name}\" already exists");
    status(409, "AlreadyExists", &message, Some(json!({"name": name, "kind": resource})))
}

/// 410.
pub(super) fn expired(wanted: u64, current: u64) -> Value {
    status(410, "Expired", &format!("too old resource version: {wanted} ({current})"), None)
}

/// Whatever a test asked for.
pub(super) fn ordered(code: u16) -> Value {
    match code {
        401 => unauthorized(),
        404 => no_resource(),
        410 => expired(1, 2),
        429 => status(code, "TooManyRequests", "too many requests, please try again later", None),
        503 => status(code, "ServiceUnavailable", "apiserver not ready", None),
        other => status(other, "InternalError", "an error on the server has been ordered", None),
    }
}

/// A bookmark; the closing one of a streaming list is annotated.
pub(super) fn bookmark(kind: &Kind, version: u64, closing: bool) -> Value {
    let mut object = match kind.name {
        "Service" => json!({"spec": {}, "status": {"loadBalancer": {}}}),
        "EndpointSlice" => json!({"addressType": "", "endpoints": null, "ports": null}),
        _ => json!({"spec": {}, "status": {}}),
    };
    object["kind"] = kind.name.into();
    object["apiVersion"] = kind.api_version().into();
    object["metadata"] = json!({"resourceVersion": version.to_string()});
    if closing {
        object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    json!({"type": "BOOKMARK", "object": object})
}
