//! One watch, for as long as anybody listens.

use std::{fmt::Debug, time::Duration};

use futures::StreamExt;
use kube::{
    Api, Client, Resource,
    runtime::watcher::{self, Config, ListSemantic},
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;
use tracing::{debug, info, warn};

use super::{
    backoff::Backoff,
    connection::Connection,
    order::{Order, Place},
};
use crate::model::spec::Event;

/// So many failures in a row start over with a list: whatever the server holds against the
/// resource version (it was restored from a backup, say), a new one cures it.
const START_OVER_AFTER: u32 = 8;

/// A list that takes longer is given up. kube-rs waits for ever.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);

/// Before a new list where a watch told again what was known: a server that always does is not to be
/// asked for lists all the time.
const BACK_IN_TIME: Duration = Duration::from_secs(2);

/// How long a refused optional kind is left alone.
const OPTIONAL_RETRY: Duration = Duration::from_secs(300);

/// Turns the objects of one kind into events.
pub(super) trait Mirror {
    /// The Kubernetes type.
    type Object: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static;

    /// The kind, for log lines.
    const KIND: &'static str;

    /// What to list and watch.
    fn selectors(&self) -> Config;

    /// A list begins.
    fn begin(&mut self);

    /// An object of the list. Nothing is handed over yet (A90).
    fn listed(&mut self, object: &Self::Object);

    /// The list is complete.
    fn complete(&mut self) -> Vec<Event>;

    /// An object was added or changed.
    fn applied(&mut self, object: &Self::Object) -> Vec<Event>;

    /// An object was deleted.
    fn deleted(&mut self, object: &Self::Object) -> Vec<Event>;

    /// Whether we can do without the kind, where the server does not have or not allow it.
    const OPTIONAL: bool = false;
}

/// What to do about a failure.
#[derive(Debug, PartialEq, Eq)]
enum Remedy {
    /// The watcher goes on by itself.
    Resume,
    /// List again.
    StartOver,
    /// Read the credentials again, and list again.
    Reconnect,
    /// The kind is not there, or not for us.
    Absent,
}

/// Where objects come from and events go.
pub(super) struct Follow<'a> {
    pub(super) connection: &'a Connection,
    pub(super) events: Sender<Event>,
}

impl Follow<'_> {
    /// Follows one kind until the receiver is gone.
    pub(super) async fn run<M: Mirror>(&self, mut mirror: M) {
        let mut backoff = Backoff::default();
        // The first list may come from the API server's cache (as client-go's does): a rollout
        // restarts this process on thousands of nodes, and etcd could not bear their lists. A
        // later one has to be new, or endpoints would go back in time.
        let mut semantic = ListSemantic::Any;
        while !self.events.is_closed() {
            match self.connection.client().await {
                Ok(client) => {
                    self.with_client(client, &mut mirror, &mut backoff, &mut semantic).await;
                }
                Err(error) => {
                    if backoff.fail() == 1 {
                        warn!("watching {}s failed: {error:#}; trying again", M::KIND);
                    }
                    self.pause(backoff.wait()).await;
                }
            }
        }
    }

    /// Until the credentials have to be read again.
    async fn with_client<M: Mirror>(
        &self,
        client: Client,
        mirror: &mut M,
        backoff: &mut Backoff,
        semantic: &mut ListSemantic,
    ) {
        while !self.events.is_closed() {
            let api = Api::<M::Object>::all(client.clone());
            let config = listing(mirror.selectors(), semantic);
            let remedy = self.stream(api, config, mirror, backoff).await;
            *semantic = ListSemantic::MostRecent;
            match remedy {
                Remedy::Reconnect => return,
                Remedy::Resume | Remedy::StartOver => {}
                Remedy::Absent => {
                    mirror.begin();
                    self.send(mirror.complete()).await;
                    self.pause(OPTIONAL_RETRY).await;
                }
            }
        }
    }

    /// One watcher, until it has to be replaced.
    async fn stream<M: Mirror>(
        &self,
        api: Api<M::Object>,
        config: Config,
        mirror: &mut M,
        backoff: &mut Backoff,
    ) -> Remedy {
        let mut stream = watcher::watcher(api, config).boxed();
        let mut listing = true;
        let mut order = Order::default();
        loop {
            let next = tokio::select! {
                () = self.events.closed() => return Remedy::Reconnect,
                next = stream.next() => next,
                () = tokio::time::sleep(LIST_TIMEOUT), if listing => None,
            };
            match next {
                Some(Ok(event)) => {
                    match order.place(&event) {
                        Place::Next => {}
                        Place::Again => continue,
                        Place::Back => {
                            warn!("a watch of {}s went back in time; listing them anew", M::KIND);
                            self.pause(BACK_IN_TIME).await;
                            return Remedy::StartOver;
                        }
                    }
                    let settled = matches!(
                        event,
                        watcher::Event::InitDone
                            | watcher::Event::Apply(_)
                            | watcher::Event::Delete(_)
                    );
                    listing = !settled;
                    if settled {
                        recovered::<M>(backoff);
                    }
                    self.send(digest(mirror, event)).await;
                }
                Some(Err(error)) => {
                    let failures = backoff.fail();
                    let remedy = remedy(&error, failures, M::OPTIONAL);
                    complain::<M>(&error, failures, &remedy);
                    if remedy == Remedy::Absent {
                        return remedy;
                    }
                    self.pause(backoff.wait()).await;
                    if remedy != Remedy::Resume {
                        return remedy;
                    }
                }
                None => {
                    if backoff.fail() == 1 {
                        warn!("listing {}s got no answer for a minute; trying again", M::KIND);
                    }
                    return Remedy::Reconnect;
                }
            }
        }
    }

    async fn send(&self, events: Vec<Event>) {
        for event in events {
            if self.events.send(event).await.is_err() {
                return;
            }
        }
    }

    /// Sleeps, but not longer than anybody listens.
    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = self.events.closed() => {}
            () = tokio::time::sleep(time) => {}
        }
    }
}

/// Lists, then a watch with bookmarks: streaming lists are off by default before Kubernetes
/// 1.32, and an older server just ignores the request for one. New lists come in pages; one from
/// the cache cannot (kube-rs asks for a new one if it has a limit).
fn listing(selectors: Config, semantic: &ListSemantic) -> Config {
    let page_size = match semantic {
        ListSemantic::Any => None,
        ListSemantic::MostRecent => Some(500),
    };
    Config { list_semantic: semantic.clone(), page_size, ..selectors }
}

fn digest<M: Mirror>(mirror: &mut M, event: watcher::Event<M::Object>) -> Vec<Event> {
    match event {
        watcher::Event::Init => {
            mirror.begin();
            Vec::new()
        }
        watcher::Event::InitApply(object) => {
            mirror.listed(&object);
            Vec::new()
        }
        watcher::Event::InitDone => mirror.complete(),
        watcher::Event::Apply(object) => mirror.applied(&object),
        watcher::Event::Delete(object) => mirror.deleted(&object),
    }
}

fn remedy(error: &watcher::Error, failures: u32, optional: bool) -> Remedy {
    let code = match error {
        watcher::Error::WatchError(status) => Some(status.code),
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => Some(status.code),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => None,
    };
    match code {
        Some(401) => Remedy::Reconnect,
        Some(403 | 404) if optional => Remedy::Absent,
        // kube-rs starts over by itself, but only if the 410 is an event and not the answer.
        Some(410) => Remedy::StartOver,
        Some(_) | None if failures.is_multiple_of(START_OVER_AFTER) => Remedy::Reconnect,
        Some(_) | None => Remedy::Resume,
    }
}

fn complain<M: Mirror>(error: &watcher::Error, failures: u32, remedy: &Remedy) {
    let kind = M::KIND;
    match remedy {
        Remedy::Absent => {
            info!("not watching {kind}s: {error}; going on without, asking again now and then");
        }
        // An expired watch is everyday business.
        Remedy::StartOver => debug!("watching {kind}s failed: {error}; listing again"),
        Remedy::Resume | Remedy::Reconnect if failures == 1 || failures.is_multiple_of(16) => {
            warn!(
                "watching {kind}s failed {failures} times: {error}; rules stay as they are, \
                 trying again; check the API server and this node's credentials"
            );
        }
        Remedy::Resume | Remedy::Reconnect => debug!("watching {kind}s failed: {error}"),
    }
}

fn recovered<M: Mirror>(backoff: &mut Backoff) {
    let failures = backoff.succeed();
    if failures > 0 {
        info!("watching {}s again after {failures} failures", M::KIND);
    }
}
