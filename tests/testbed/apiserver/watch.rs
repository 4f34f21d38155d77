//! Watches: what happens from a version on, line by line.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    Response,
    body::{Bytes, Frame},
};
use serde_json::{Value, json};
use tokio::{
    sync::watch::Receiver,
    time::{Instant, sleep_until},
};

use super::{
    Shared, answer,
    query::Params,
    serve::{Body, json_type, whole},
    store::Kind,
};

/// How often a quiet watch gets a bookmark; a real server takes a minute.
const BOOKMARKS: Duration = Duration::from_millis(200);

struct Watch {
    kind: &'static Kind,
    params: Params,
    shared: Arc<Shared>,
    version: u64,
    queue: VecDeque<Value>,
    finished: bool,
    deadline: Instant,
    changed: Receiver<u64>,
    dropped: Receiver<u64>,
}

/// Answers a watch request; `dropped` tells of `drop_watches` since the request came.
pub(super) fn respond(
    kind: &'static Kind,
    params: Params,
    shared: Arc<Shared>,
    dropped: Receiver<u64>,
) -> Response<Body> {
    let timeout = Duration::from_secs(params.number("timeoutSeconds").unwrap_or(1800));
    let mut watch = Watch {
        kind,
        version: params.number("resourceVersion").unwrap_or(0),
        params,
        queue: VecDeque::new(),
        finished: false,
        deadline: Instant::now() + timeout,
        changed: shared.changed.subscribe(),
        dropped,
        shared,
    };
    if let Some(status) = watch.begin() {
        return whole(&status);
    }
    let frames = stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((line.map(|line| Frame::data(Bytes::from(line))), watch))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed());
    json_type(&mut response);
    response
}

impl Watch {
    /// Queues what the client is to see first, or refuses.
    fn begin(&mut self) -> Option<Value> {
        let store = self.shared.store();
        if self.version != 0 && store.is_expired(self.version) {
            let status = answer::expired(self.version, store.version);
            if self.shared.manners().gone_by_status {
                return Some(status);
            }
            self.queue.push_back(json!({"type": "ERROR", "object": status}));
            self.finished = true;
            return None;
        }
        if self.version != 0 {
            let mut past = store.since(self.kind, &self.params, 0);
            past.retain(|event| version_of(event).is_some_and(|it| it <= self.version));
            let again = past.len().min(self.shared.manners().replay);
            self.shared.manners().replay -= again;
            self.queue.extend(past.split_off(past.len() - again));
        }
        let streaming = self.params.is_set("sendInitialEvents");
        if streaming || self.version == 0 {
            let page = store.list(self.kind, None, &self.params, 0);
            let added = |object| json!({"type": "ADDED", "object": object});
            self.queue.extend(page.items.into_iter().map(added));
            self.version = store.version;
        }
        if streaming {
            self.queue.push_back(answer::bookmark(self.kind, self.version, true));
        }
        None
    }

    /// The next line; `None` at the end, an error to break the connection.
    async fn next(&mut self) -> Option<io::Result<String>> {
        loop {
            // Looked at after the store: a dropped watch never tells what came after its drop.
            if self.dropped.has_changed().unwrap_or(true) {
                return Some(Err(io::Error::other("the watch was dropped")));
            }
            if let Some(event) = self.queue.pop_front() {
                return Some(Ok(format!("{event}\n")));
            }
            if self.finished || Instant::now() >= self.deadline {
                return None;
            }
            self.collect();
            if self.queue.is_empty() {
                self.wait().await;
            }
        }
    }

    fn collect(&mut self) {
        self.changed.mark_unchanged();
        let store = self.shared.store();
        if store.is_expired(self.version) {
            // Who is up to date is not hurt by a compaction; a real watch never notices one.
            self.version = store.version;
            return;
        }
        self.queue.extend(store.since(self.kind, &self.params, self.version));
        self.version = store.version;
    }

    /// Waits for news, or for the drop.
    async fn wait(&mut self) {
        let bookmark = Instant::now() + BOOKMARKS;
        let mut dropped = self.dropped.clone();
        tokio::select! {
            _ = dropped.changed() => {}
            _ = self.changed.changed() => {}
            () = sleep_until(self.deadline.min(bookmark)) => {
                if self.params.is_set("allowWatchBookmarks") {
                    self.queue.push_back(answer::bookmark(self.kind, self.version, false));
                }
            }
        }
    }
}

fn version_of(event: &Value) -> Option<u64> {
    event["object"]["metadata"]["resourceVersion"].as_str()?.parse().ok()
}
