//! The thread that computes and writes Maglev tables, so that no other change waits for them.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use tokio::sync::mpsc;

use super::Controller;
use crate::{
    dataplane::{
        TABLES, WriteError,
        aya::{Error, pin::Pins, tables::TableWriter},
    },
    model::plan::Build,
};

/// A table, and its checksum if it was written.
type Outcome = (Build, Result<u64, WriteError>);

/// Tables taken together into one plan.
const BATCH: usize = 64;

/// What the thread has done. It ends with the maps that give it orders.
#[derive(Debug)]
pub(super) struct TableBuilder {
    outcomes: mpsc::UnboundedReceiver<Outcome>,
}

impl TableBuilder {
    /// Starts it; the other half takes the orders.
    pub(super) fn start(pins: &Pins) -> Result<(Self, Sender<Build>), Error> {
        let writer = TableWriter::open(pins)?;
        let (orders, given) = channel();
        let (sender, outcomes) = mpsc::unbounded_channel();
        thread::Builder::new()
            .name("maglev-tables".into())
            .spawn(move || run(&writer, &given, &sender))
            .map_err(|e| Error::os("starting the thread that writes Maglev tables", &e))?;
        Ok((Self { outcomes }, orders))
    }

    /// Waits for tables to be done.
    pub(super) async fn done(&mut self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        match self.outcomes.recv_many(&mut outcomes, BATCH).await {
            // The thread is gone; there will be none.
            0 => std::future::pending().await,
            _ => outcomes,
        }
    }
}

fn run(writer: &TableWriter, orders: &Receiver<Build>, outcomes: &mpsc::UnboundedSender<Outcome>) {
    while let Ok(build) = orders.recv() {
        let outcome = writer.write(&build);
        if outcomes.send((build, outcome)).is_err() {
            return;
        }
    }
}

impl Controller {
    /// Switches frontends to tables that are now there.
    pub(super) fn take_tables(&mut self, outcomes: Vec<Outcome>) {
        let mut failed = false;
        for (build, outcome) in outcomes {
            self.model.built(&build, outcome.as_ref().ok().copied());
            if let Err(error) = outcome {
                tracing::error!("writing {TABLES} failed: {error}");
                failed = true;
            }
        }
        match failed {
            true => self.retry_later(),
            false => self.write(),
        }
    }
}
