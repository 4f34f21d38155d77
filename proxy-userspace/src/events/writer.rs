//! Writes Events to the API server, with what kube-proxy's own ClusterRole allows (A19).

use std::time::{Duration, Instant};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::mpsc::Receiver,
    time::{sleep, timeout},
};

use super::{Message, Regarding, limit::Limit};
use crate::source::kube::Connection;

/// The name that kube-proxy's Events bear; filters and alerts know it.
const CONTROLLER: &str = "kube-proxy";
/// The API's limit for a note, in bytes.
const MAX_NOTE: usize = 1024;
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses after failures. An API server that is away for longer loses the Event: the log has it.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(10)];

/// Writes what is told until nobody can tell any more.
pub async fn run(connection: Connection, node: String, mut messages: Receiver<Message>) {
    let mut limit = Limit::new(Instant::now());
    let mut client = None;
    while let Some(mut message) = messages.recv().await {
        let receipt = message.receipt.take();
        if limit.admits(&message, Instant::now()) {
            write(&connection, &mut client, &event(&message, &node)).await;
        }
        if let Some(receipt) = receipt {
            // Who does not wait any more need not know.
            let _gone = receipt.send(());
        }
    }
}

/// Takes messages where there is no API server.
pub async fn discard(mut messages: Receiver<Message>) {
    while messages.recv().await.is_some() {}
}

/// Tries again what an API server did not answer; its refusals are final.
async fn write(connection: &Connection, client: &mut Option<Client>, event: &Event) {
    let reason = event.reason.as_deref().unwrap_or_default();
    for pause in PAUSES {
        let error = match timeout(PATIENCE, create(connection, client, event)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(_) => anyhow::anyhow!("no answer in {PATIENCE:?}"),
        };
        tracing::debug!(reason, "writing an Event failed: {error:#}");
        if matches!(error.downcast_ref(), Some(kube::Error::Api(status)) if status.code < 500) {
            return;
        }
        sleep(pause).await;
    }
}

async fn create(
    connection: &Connection,
    client: &mut Option<Client>,
    event: &Event,
) -> anyhow::Result<()> {
    let known = match client.take() {
        Some(known) => known,
        None => connection.client().await?,
    };
    let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
    Api::namespaced(known.clone(), namespace).create(&PostParams::default(), event).await?;
    // Only now: after an error a new client reads the credentials anew.
    *client = Some(known);
    Ok(())
}

fn event(message: &Message, node: &str) -> Event {
    let regarding = reference(&message.regarding, node);
    let now = Timestamp::now();
    // As kube-proxy does for a Node, which has no namespace.
    let namespace = regarding.namespace.clone().unwrap_or_else(|| "default".to_owned());
    let name = regarding.name.as_deref().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(event_name(name, now)),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        regarding: Some(regarding),
        reason: Some(message.reason.to_owned()),
        action: Some(message.action.to_owned()),
        note: Some(shortened(&message.note)),
        type_: Some(if message.warning { "Warning" } else { "Normal" }.to_owned()),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(shortened_to(&format!("{CONTROLLER}-{node}"), 128)),
        ..Event::default()
    }
}

/// A name that is valid whatever the object's is: at most 253 bytes of a DNS subdomain.
fn event_name(object: &str, now: Timestamp) -> String {
    let object = shortened_to(object, 230);
    let object = object.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    format!("{object}.{:x}", now.as_nanosecond())
}

/// kube-proxy knows no UIDs either, and writes names.
fn reference(regarding: &Regarding, node: &str) -> ObjectReference {
    match regarding {
        Regarding::Node => ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            uid: Some(node.to_owned()),
            ..ObjectReference::default()
        },
        Regarding::Service(name) => ObjectReference {
            kind: Some("Service".to_owned()),
            namespace: Some(name.namespace.clone()),
            name: Some(name.name.clone()),
            uid: Some(name.to_string()),
            ..ObjectReference::default()
        },
        Regarding::Slice(name) => ObjectReference {
            api_version: Some("discovery.k8s.io/v1".to_owned()),
            kind: Some("EndpointSlice".to_owned()),
            namespace: Some(name.namespace.clone()),
            name: Some(name.name.clone()),
            ..ObjectReference::default()
        },
    }
}

fn shortened(note: &str) -> String {
    shortened_to(note, MAX_NOTE)
}

fn shortened_to(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::spec::ObjectName;

    #[test]
    fn a83_a_services_event() {
        let name = ObjectName { namespace: "shop".into(), name: "web".into() };
        let note = "ü".repeat(1000);
        let event = event(&Message::about_service(&name, "Reason", "Listen", note), "n1");
        assert_eq!(event.metadata.namespace.as_deref(), Some("shop"));
        assert!(event.metadata.name.unwrap().starts_with("web."));
        assert_eq!(event.note.unwrap().len(), 1024);
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        assert_eq!(event.regarding.unwrap().kind.as_deref(), Some("Service"));
    }

    #[test]
    fn a_long_name_stays_valid() {
        let node = format!("{}-{}", "n".repeat(229), "x".repeat(20));
        let event = event(&Message::about_node(false, "Starting", ""), &node);
        let name = event.metadata.name.unwrap();
        assert!(name.len() <= 253 && name.starts_with(&format!("{}.", "n".repeat(229))), "{name}");
    }

    #[test]
    fn a96_the_nodes_event() {
        let event = event(&Message::about_node(false, "Starting", ""), "n1");
        assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
        assert_eq!(event.reporting_instance.as_deref(), Some("kube-proxy-n1"));
        assert_eq!(event.action.as_deref(), Some("StartKubeProxy"));
        assert_eq!(event.type_.as_deref(), Some("Normal"));
    }
}
