//! The servers of health checks, kept in step with the Services (A80, A83).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::{Checks, Health, Moment, Target, checks::answer};
use crate::{
    events::{Events, Message},
    http::{Handler, Reply, serve, server::listen_on_family},
};

/// How often a port that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Opens, serves and closes as `checks` say, for ever.
pub async fn run(mut checks: watch::Receiver<Checks>, health: Health, events: Events) {
    let mut servers = Servers {
        health,
        events,
        counts: Arc::default(),
        open: BTreeMap::new(),
        failed: BTreeSet::new(),
    };
    let mut retries = interval(RETRY);
    retries.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = checks.changed() => if changed.is_err() { return },
            _ = retries.tick() => {}
        }
        let wanted = checks.borrow_and_update().clone();
        servers.follow(wanted).await;
    }
}

struct Servers {
    health: Health,
    events: Events,
    counts: Arc<RwLock<Checks>>,
    open: BTreeMap<Target, Server>,
    /// What could not be opened and has been reported.
    failed: BTreeSet<Target>,
}

/// A task that ends, with its connections, when this is dropped.
struct Server(JoinHandle<()>);

impl Server {
    /// Returns when the port is free.
    async fn close(mut self) {
        self.0.abort();
        // It ends with an error that says it was aborted.
        let _aborted = (&mut self.0).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Servers {
    async fn follow(&mut self, wanted: Checks) {
        // First, so that a port that goes from one Service to another is free.
        let gone: Vec<Target> =
            self.open.keys().filter(|target| !wanted.contains_key(target)).cloned().collect();
        for server in gone.iter().filter_map(|target| self.open.remove(target)) {
            server.close().await;
        }
        self.failed.retain(|target| wanted.contains_key(target));
        let targets: Vec<Target> = wanted.keys().cloned().collect();
        *self.counts.write().unwrap_or_else(PoisonError::into_inner) = wanted;
        for target in targets {
            if !self.open.contains_key(&target) {
                self.start(target);
            }
        }
    }

    fn start(&mut self, target: Target) {
        match listen_on_family(target.address) {
            Ok(listener) => {
                tracing::debug!(service = %target.service, address = %target.address, "serving a health check");
                self.failed.remove(&target);
                let server = tokio::spawn(serve(listener, self.handler(target.clone())));
                self.open.insert(target, Server(server));
            }
            Err(error) => self.report(target, &error),
        }
    }

    fn handler(&self, target: Target) -> Handler {
        let (counts, health) = (Arc::clone(&self.counts), self.health.clone());
        Arc::new(move |_: &str| {
            let count = counts.read().unwrap_or_else(PoisonError::into_inner).get(&target).copied();
            match count {
                Some(count) => answer(&target.service, count, health.is_healthy(Moment::now())),
                None => Reply::not_found(),
            }
        })
    }

    /// A83, once for each failure.
    fn report(&mut self, target: Target, error: &std::io::Error) {
        // A kernel without IPv6 has no IPv6 clients either.
        let no_family = error.kind() == std::io::ErrorKind::Unsupported
            || error.raw_os_error() == Some(libc::EAFNOSUPPORT);
        if no_family || !self.failed.insert(target.clone()) {
            return;
        }
        let Target { service, address } = target;
        let text = format!(
            "failed to start healthcheck {service:?} at {address}: {error}; it is tried again \
             every 5 s: free the port, or change spec.healthCheckNodePort",
            service = service.to_string(),
        );
        tracing::warn!("{text}");
        self.events.tell(Message::about_service(
            &service,
            "FailedToStartServiceHealthcheck",
            "Listen",
            text,
        ));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener as StdListener};

    use super::*;
    use crate::{events, http::server::tests::get, model::spec::ObjectName};

    fn target(name: &str, address: SocketAddr) -> Target {
        Target { service: ObjectName { namespace: "shop".into(), name: name.into() }, address }
    }

    /// A port that nobody has at the moment.
    fn free() -> SocketAddr {
        StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    async fn answered(address: SocketAddr, part: &str) {
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(address).await.is_ok()
                && get(address, "/any/path").await.1.contains(part)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no {part} at {address}");
    }

    #[tokio::test]
    async fn a80_ports_open_follow_and_close() {
        let (first, second) = (free(), free());
        let (sender, checks) = watch::channel(Checks::new());
        let (events, _told) = events::channel();
        tokio::spawn(run(checks, Health::new(Duration::from_secs(30)), events));
        sender.send_replace([(target("web", first), 2)].into());
        answered(first, "\"localEndpoints\": 2").await;
        sender.send_replace([(target("web", first), 0)].into());
        answered(first, "\"localEndpoints\": 0").await;
        assert!(get(first, "/").await.0.starts_with("http/1.1 503"));
        sender.send_replace([(target("web", second), 1)].into());
        answered(second, "\"localEndpoints\": 1").await;
        assert!(tokio::net::TcpStream::connect(first).await.is_err());
        // The port of a Service that was deleted may be another's at once.
        sender.send_replace([(target("dns", second), 3)].into());
        answered(second, "\"name\": \"dns\"").await;
    }

    #[tokio::test]
    async fn a83_a_port_in_use_is_told_once() {
        let taken = StdListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let (sender, checks) = watch::channel(Checks::new());
        let (events, mut told) = events::channel();
        tokio::spawn(run(checks, Health::new(Duration::from_secs(30)), events));
        sender.send_replace([(target("web", address), 1)].into());
        let message = told.recv().await.unwrap();
        assert_eq!(message.reason, "FailedToStartServiceHealthcheck");
        assert!(message.note.contains("Address already in use"), "{}", message.note);
        sender.send_replace([(target("web", address), 2)].into());
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(told.try_recv().is_err());
    }
}
