//! A Kubernetes API server for tests: lists, watches and misbehaves like a real one, over
//! plain HTTP on any listener, so also inside a network namespace.

mod answer;
mod kubeconfig;
mod query;
mod serve;
mod store;
mod watch;

pub use kubeconfig::kubeconfig;

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::sync::{oneshot, watch as signal};

use store::Store;

/// How the server treats requests.
#[derive(Debug, Default)]
struct Manners {
    token: Option<String>,
    fail: (usize, u16),
    fail_continued: usize,
    forbidden: Vec<String>,
    delay: Duration,
    gone_by_status: bool,
    replay: usize,
    requests: Vec<String>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    manners: Mutex<Manners>,
    /// Counts changes of the store: watches wake up.
    changed: signal::Sender<u64>,
    /// Counts calls of `drop_watches`.
    dropped: signal::Sender<u64>,
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn manners(&self) -> MutexGuard<'_, Manners> {
        self.manners.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// The server. It stops when it is dropped.
pub struct ApiServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    running: Option<Running>,
}

impl ApiServer {
    /// Starts on a free port of the loopback interface.
    ///
    /// # Errors
    /// There is no port or no thread.
    pub fn start() -> Result<Self> {
        Self::on(TcpListener::bind("127.0.0.1:0").context("binding the API server failed")?)
    }

    /// Starts on a listener; one made inside a network namespace stays in it.
    ///
    /// # Errors
    /// There is no thread, or the listener cannot be used.
    pub fn on(listener: TcpListener) -> Result<Self> {
        let shared = Arc::new(Shared {
            store: Mutex::default(),
            manners: Mutex::default(),
            changed: signal::Sender::new(0),
            dropped: signal::Sender::new(0),
        });
        let address = listener.local_addr()?;
        let mut server = Self { shared, address, running: None };
        server.run(listener)?;
        Ok(server)
    }

    fn run(&mut self, listener: TcpListener) -> Result<()> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("apiserver".into()).spawn(move || {
            // Dropping the runtime closes every connection, as the death of a server does.
            runtime.block_on(serve::until(stopped, listener, shared));
        })?;
        self.running = Some(Running { stop, thread });
        Ok(())
    }

    /// Where clients find it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Creates or replaces the objects of a JSON or YAML text: documents, or lists.
    ///
    /// # Errors
    /// The text is neither, or an object is of an unknown kind.
    pub fn apply(&self, text: &str) -> Result<()> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text)
            .map_err(|error| anyhow::anyhow!("parsing a manifest failed: {error}"))?;
        documents.into_iter().try_for_each(|document| self.apply_value(document))
    }

    /// Creates or replaces an object, or the items of a list.
    ///
    /// # Errors
    /// The object is of an unknown kind.
    pub fn apply_value(&self, document: Value) -> Result<()> {
        self.shared.store().apply(document)?;
        self.wake();
        Ok(())
    }

    /// Deletes an object; `kind` as in `Service`, `namespace` empty for cluster-wide kinds.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) {
        self.shared.store().delete(kind, namespace, name);
        self.wake();
    }

    fn wake(&self) {
        self.shared.changed.send_modify(|count| *count += 1);
    }

    /// Breaks every connection that carries a watch.
    pub fn drop_watches(&self) {
        self.shared.dropped.send_modify(|count| *count += 1);
    }

    /// Forgets the past: whoever wants to resume from it gets 410 Expired.
    pub fn compact(&self) {
        self.shared.store().compact();
    }

    /// Whether 410 comes as HTTP status rather than as an ERROR event.
    pub fn answer_gone_by_status(&self, by_status: bool) {
        self.shared.manners().gone_by_status = by_status;
    }

    /// The next watch that resumes begins with the last `count` events before its version, as they
    /// were then.
    pub fn replay(&self, count: usize) {
        self.shared.manners().replay = count;
    }

    /// The next `count` requests fail with `status`.
    pub fn fail_next(&self, count: usize, status: u16) {
        self.shared.manners().fail = (count, status);
    }

    /// The next `count` requests for a further page of a list fail with 500.
    pub fn fail_next_pages(&self, count: usize) {
        self.shared.manners().fail_continued = count;
    }

    /// Requests for a resource, as in `servicecidrs`, are answered with 403 from now on.
    pub fn forbid(&self, resource: &str) {
        self.shared.manners().forbidden.push(resource.to_owned());
    }

    /// Every answer takes so long.
    pub fn delay(&self, milliseconds: u64) {
        self.shared.manners().delay = Duration::from_millis(milliseconds);
    }

    /// From now on this bearer token is required; watches under the old one go on.
    pub fn rotate_token(&self, token: &str) {
        self.shared.manners().token = Some(token.to_owned());
    }

    /// All requests so far: method, path, query and status.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.shared.manners().requests.clone()
    }

    /// Stops and closes every connection. The objects stay.
    pub fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        // The thread may have ended already.
        let _ended = running.stop.send(());
        if running.thread.join().is_err() {
            eprintln!("the API server's thread panicked");
        }
    }

    /// Starts again on the same port, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The port is taken, or there is no thread.
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        let listener = TcpListener::bind(self.address)
            .with_context(|| format!("binding {} again failed", self.address))?;
        self.run(listener)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop();
    }
}
