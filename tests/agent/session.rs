//! Sockets that stay open between requests, and traffic that never pauses.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use testbed::wire::{Ask, Failure, FailureKind, Outcome, Reply, Tally};
use tokio::task::JoinHandle;

use crate::client::{Line, once, within};

/// Failures kept with their text; the rest are only counted.
const KEPT_FAILURES: usize = 5;
/// Connections that are being opened at one time.
const OPEN_AT_ONCE: usize = 64;

/// Traffic under way, and the flag that ends it.
type Running = (JoinHandle<Tally>, Rc<Cell<bool>>);

/// What this agent keeps for its test.
#[derive(Default)]
pub(crate) struct Sessions {
    last: Cell<u64>,
    lines: RefCell<HashMap<u64, Line>>,
    traffic: RefCell<HashMap<u64, Running>>,
}

impl Sessions {
    /// Opens `count` sockets and numbers them.
    pub(crate) async fn open(&self, ask: Ask) -> Outcome {
        let mut opened = Vec::new();
        let mut left = ask.count as usize;
        while left > 0 {
            let batch = left.min(OPEN_AT_ONCE);
            let lines = (0..batch).map(|_| within(ask.timeout_ms, Line::open(ask)));
            let lines = join_all(lines).await;
            opened.extend(lines.into_iter().map(|line| line.map(|line| self.keep(line))));
            left -= batch;
        }
        Outcome::Opened(opened)
    }

    fn keep(&self, line: Line) -> u64 {
        let id = self.number();
        self.lines.borrow_mut().insert(id, line);
        id
    }

    fn number(&self) -> u64 {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }

    /// One exchange on every socket, all at once.
    pub(crate) async fn ask(&self, sockets: &[u64], timeout_ms: u64) -> Outcome {
        Outcome::Replies(join_all(sockets.iter().map(|id| self.ask_one(*id, timeout_ms))).await)
    }

    async fn ask_one(&self, id: u64, timeout_ms: u64) -> Result<Reply, Failure> {
        // Taken out while in use, so that no borrow is held across an await.
        let Some(mut line) = self.lines.borrow_mut().remove(&id) else {
            return Err(Failure::new(FailureKind::Other, format!("no socket {id} is open")));
        };
        let reply = within(timeout_ms, line.ask()).await;
        self.lines.borrow_mut().insert(id, line);
        reply
    }

    /// Closes sockets.
    pub(crate) fn close(&self, sockets: &[u64]) -> Outcome {
        for id in sockets {
            self.lines.borrow_mut().remove(id);
        }
        Outcome::Done
    }

    /// Begins traffic in the background.
    pub(crate) fn start_traffic(&self, ask: Ask, every_ms: u64, fresh: bool) -> Outcome {
        let stop = Rc::new(Cell::new(false));
        let stopped = Rc::clone(&stop);
        let every = Duration::from_millis(every_ms);
        let task = tokio::task::spawn_local(traffic(ask, every, fresh, stopped));
        let id = self.number();
        self.traffic.borrow_mut().insert(id, (task, stop));
        Outcome::Started(id)
    }

    /// Lets the exchange under way end, then tells how all went.
    pub(crate) async fn stop_traffic(&self, id: u64) -> Result<Outcome, Failure> {
        let entry = self.traffic.borrow_mut().remove(&id);
        let unknown = || Failure::new(FailureKind::Other, format!("there is no traffic {id}"));
        let (task, stop) = entry.ok_or_else(unknown)?;
        stop.set(true);
        let tally = task.await.map_err(|e| Failure::new(FailureKind::Other, e.to_string()))?;
        Ok(Outcome::Tally(tally))
    }
}

async fn traffic(ask: Ask, every: Duration, fresh: bool, stop: Rc<Cell<bool>>) -> Tally {
    let mut tally = Tally::default();
    let mut kept = None;
    while !stop.get() {
        let began = Instant::now();
        let reply = if fresh { once(ask).await } else { on_kept(ask, &mut kept).await };
        match reply {
            Ok(_reply) => {
                tally.answered += 1;
                tally.slowest_ms = tally.slowest_ms.max(began.elapsed().as_millis() as u64);
            }
            Err(failure) => {
                tally.failed += 1;
                if tally.failures.len() < KEPT_FAILURES {
                    tally.failures.push(failure);
                }
            }
        }
        tokio::time::sleep(every).await;
    }
    tally
}

/// Exchanges on a socket that is opened once; after a failure, on a new one.
async fn on_kept(ask: Ask, kept: &mut Option<Line>) -> Result<Reply, Failure> {
    let mut line = match kept.take() {
        Some(line) => line,
        None => within(ask.timeout_ms, Line::open(ask)).await?,
    };
    let reply = within(ask.timeout_ms, line.ask()).await?;
    *kept = Some(line);
    Ok(reply)
}
