//! The endpoints change under traffic: new connections move, a held one stays (A26).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use testbed::Held;
use testbed::address::Family;

use crate::interrupt;
use crate::requests::{WEB, WEB_NODEPORT};
use crate::screen::Screen;
use crate::stage::{PODS, Stage};

/// How many connections in a row the pod that stays has to get before the change counts as seen.
const IN_A_ROW: u32 = 100;
const PATIENCE: Duration = Duration::from_secs(5);
/// A connection lands on a pod that will leave with two chances in three.
const TRIES: u32 = 50;

/// A connection from outside, open to a pod that is going to leave.
#[derive(Debug)]
pub(crate) struct OldConnection<'a> {
    held: Held<'a>,
    /// The client's own address and port, by which flow tables know the connection.
    pub(crate) client: std::net::SocketAddr,
    /// The pod it reached.
    pub(crate) pod: String,
}

impl<'a> OldConnection<'a> {
    /// Connects until a pod other than the last one has answered.
    pub(crate) fn open(stage: &'a Stage) -> Result<Self> {
        let target = WEB_NODEPORT.target(stage, Family::V4)?;
        for _ in 0..TRIES {
            let held = stage.client().hold(target, 1).context("opening a connection to hold")?;
            let reply = held.echo().context("asking on the held connection")?;
            if reply.who != last() {
                return Ok(Self { held, client: reply.local, pod: reply.who });
            }
        }
        bail!("{TRIES} connections to {target} all reached {}", last())
    }

    /// It is answered by the same pod, on the same socket.
    pub(crate) fn still_answers(&self) -> Result<()> {
        let reply = self.held.echo().with_context(|| format!("{} was cut off", self.client))?;
        ensure!(reply.who == self.pod, "{} moved to {}", self.client, reply.who);
        Ok(())
    }
}

/// Cuts web down to one pod, measures how soon that shows, and asks on the old connection.
pub(crate) fn play(stage: &Stage, screen: &Screen, old: &OldConnection<'_>) -> Result<()> {
    screen
        .line(&format!("a connection {} -> web, NodePort, is open to {}", old.client, old.pod))?;
    screen.line(&format!("the EndpointSlices of web are rewritten: only {} is left", last()))?;
    let moved = rewrite_and_measure(stage)?;
    let ms = moved.as_secs_f64() * 1e3;
    screen.line(&format!("the last new connection to another pod began {ms:.1} ms later"))?;
    old.still_answers()?;
    screen.line(&format!("the open connection is still answered by {} (A26)", old.pod))?;
    Ok(())
}

/// From the moment the files are in place to the beginning of the last connection that still
/// reached a pod that left.
fn rewrite_and_measure(stage: &Stage) -> Result<Duration> {
    {
        let _undisturbed = interrupt::hands();
        stage.keep_last_endpoint()?;
    }
    let written = Instant::now();
    let askers = [
        (stage.client(), WEB_NODEPORT.target(stage, Family::V4)?),
        (stage.pod()?, WEB.target(stage, Family::V6)?),
    ];
    let (mut moved, mut in_a_row) = (Duration::ZERO, 0);
    while in_a_row < IN_A_ROW {
        ensure!(
            written.elapsed() < PATIENCE,
            "the traffic did not move within {} s of the change",
            PATIENCE.as_secs()
        );
        for (who, target) in askers {
            let began = written.elapsed();
            let reply = who.tcp(target).with_context(|| format!("asking {target} meanwhile"))?;
            if reply.who == last() {
                in_a_row += 1;
            } else {
                (moved, in_a_row) = (began, 0);
            }
        }
    }
    Ok(moved)
}

fn last() -> String {
    format!("pod{PODS}")
}
