//! `testbed-agent`: the servers and clients of one place (a pod, a node, an outsider).
//!
//! A test starts one agent in each network namespace and cgroup and talks to it in JSON lines. The
//! agent ends when its standard input does, so none outlives the test that started it.

mod bulk;
mod client;
mod sctp;
mod server;
mod session;
mod tunnel;

use std::io::{BufRead, Write};
use std::rc::Rc;

use testbed::wire::{Failure, FailureKind, Op, Outcome, Request, Response};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::session::Sessions;

fn main() -> std::io::Result<()> {
    let (requests, inbox) = mpsc::unbounded_channel();
    std::thread::spawn(move || read_requests(&requests));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve_requests(inbox));
    Ok(())
}

/// Reads until the end of input. A line that is no request is reported and skipped.
fn read_requests(requests: &mpsc::UnboundedSender<Request>) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(request) => {
                if requests.send(request).is_err() {
                    return;
                }
            }
            Err(error) => eprintln!("testbed-agent: {line:?} is no request: {error}"),
        }
    }
}

/// Runs every request as a task of its own; ends with the input.
async fn serve_requests(mut inbox: mpsc::UnboundedReceiver<Request>) {
    let sessions = Rc::new(Sessions::default());
    while let Some(Request { id, op }) = inbox.recv().await {
        let sessions = Rc::clone(&sessions);
        tokio::task::spawn_local(async move {
            let outcome = carry_out(&sessions, op).await.unwrap_or_else(Outcome::Failed);
            respond(&Response { id, outcome });
        });
    }
}

async fn carry_out(sessions: &Rc<Sessions>, op: Op) -> Result<Outcome, Failure> {
    match op {
        Op::Serve { name, tcp, udp, sctp } => server::start(&name, &tcp, &udp, &sctp),
        Op::Exchange(ask) => Ok(client::exchange(ask).await),
        Op::Open(ask) => Ok(sessions.open(ask).await),
        Op::AskOn { sockets, timeout_ms } => Ok(sessions.ask(&sockets, timeout_ms).await),
        Op::Close { sockets } => Ok(sessions.close(&sockets)),
        Op::Bulk { target, transport, bytes, timeout_ms } => {
            bulk::run(target, transport, bytes, timeout_ms).await
        }
        Op::StartTraffic { ask, every_ms, fresh } => {
            Ok(sessions.start_traffic(ask, every_ms, fresh))
        }
        Op::StopTraffic { traffic } => sessions.stop_traffic(traffic).await,
        Op::Tunnel { device, local, peers } => tunnel::start(&device, local, peers)
            .map(|()| Outcome::Done)
            .map_err(|error| Failure::new(FailureKind::Other, format!("tun {device}: {error}"))),
    }
}

/// Writes one line. When the test is gone there is nobody left to tell.
fn respond(response: &Response) {
    if let Ok(line) = serde_json::to_string(response) {
        let mut out = std::io::stdout().lock();
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            std::process::exit(0);
        }
    }
}
