//! The thread that reads the maps for the audit. It only reads: comparing and repairing is the
//! loop's, which alone knows what was written.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use tokio::sync::mpsc;

use crate::{
    dataplane::aya::{Error, pin::Pins, read::read_mirror},
    model::mirror::Mirror,
};

/// Between two audits.
const EVERY: Duration = Duration::from_secs(300);

/// The running thread; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Auditor {
    wake: SyncSender<()>,
    mirrors: mpsc::Receiver<Mirror>,
}

impl Auditor {
    /// Starts it. The first audit is a while after: at the start, the maps have just been read.
    pub(super) fn start(pins: &Pins) -> Result<Self, Error> {
        let (wake, woken) = sync_channel(1);
        let (sender, mirrors) = mpsc::channel(1);
        let pins = pins.clone();
        thread::Builder::new()
            .name("audit".into())
            .spawn(move || run(&pins, &woken, &sender))
            .map_err(|e| Error::os("starting the thread that audits the maps", &e))?;
        Ok(Self { wake, mirrors })
    }

    /// Asks for an audit now.
    pub(super) fn look(&self) {
        // Full: one is about to begin.
        let _pending = self.wake.try_send(());
    }

    /// Waits for the next reading of the maps.
    pub(super) async fn read(&mut self) -> Mirror {
        match self.mirrors.recv().await {
            Some(mirror) => mirror,
            // The thread is gone; there will be none.
            None => std::future::pending().await,
        }
    }
}

fn run(pins: &Pins, woken: &Receiver<()>, sender: &mpsc::Sender<Mirror>) {
    loop {
        match woken.recv_timeout(EVERY) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        match read_mirror(pins) {
            Ok(mirror) => {
                if sender.blocking_send(mirror).is_err() {
                    return;
                }
            }
            Err(e) => tracing::warn!("auditing the maps: {e}; the next audit is in {EVERY:?}"),
        }
    }
}
