//! The test's end of a `testbed-agent` process.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::wire::{Failure, FailureKind, Op, Outcome, Request, Response};

type Waiting = Arc<Mutex<HashMap<u64, mpsc::Sender<Outcome>>>>;

/// A running agent; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Agent {
    child: Child,
    stdin: Mutex<Option<ChildStdin>>,
    waiting: Waiting,
    last: AtomicU64,
}

impl Agent {
    /// Starts an agent; `command` decides where.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting testbed-agent")?;
        let stdin = Mutex::new(child.stdin.take());
        let waiting = Waiting::default();
        if let Some(stdout) = child.stdout.take() {
            let waiting = Arc::clone(&waiting);
            std::thread::spawn(move || dispatch(stdout, &waiting));
        }
        Ok(Self { child, stdin, waiting, last: AtomicU64::new(0) })
    }

    /// Has the agent do something and waits for what comes of it.
    pub(crate) fn call(&self, op: Op, patience: Duration) -> Result<Outcome, Failure> {
        let id = self.last.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel();
        lock(&self.waiting).insert(id, sender);
        self.send(&Request { id, op }).map_err(|error| broken(&error.to_string()))?;
        match receiver.recv_timeout(patience) {
            Ok(Outcome::Failed(failure)) => Err(failure),
            Ok(outcome) => Ok(outcome),
            Err(_silence) => Err(broken("the agent ended or did not answer")),
        }
    }

    fn send(&self, request: &Request) -> Result<()> {
        let line = serde_json::to_string(request)?;
        let mut stdin = lock(&self.stdin);
        let stdin = stdin.as_mut().ok_or_else(|| anyhow!("the agent's input is closed"))?;
        writeln!(stdin, "{line}")?;
        Ok(stdin.flush()?)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        lock(&self.stdin).take();
        // It may be busy in a long exchange; nothing of it is wanted any more.
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Hands responses to those who wait until the agent ends, then lets the rest go.
fn dispatch(stdout: ChildStdout, waiting: &Waiting) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if let Ok(Response { id, outcome }) = serde_json::from_str(&line)
            && let Some(sender) = lock(waiting).remove(&id)
        {
            // Whoever waited may have run out of patience.
            let _unwanted = sender.send(outcome);
        }
    }
    lock(waiting).clear();
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn broken(text: &str) -> Failure {
    Failure::new(FailureKind::Other, format!("testbed-agent: {text}"))
}

/// Finds a binary of this workspace beside the running one, or where a variable says.
pub(crate) fn binary(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let own = std::env::current_exe().context("finding the running binary")?;
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            anyhow!("{name} is not beside {}; build it, or set {variable}", own.display())
        })
}
