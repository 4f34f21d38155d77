//! The thread that ends UDP sockets whose backend left.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use crate::{
    dataplane::aya::{pin::Pins, stale::StaleSockets},
    model::quarantine::GRACE,
    vitals::Vitals,
};

/// Between two looks: with many endpoints on the move, each is not to cost a walk over all sockets.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks the thread to look. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct StaleSocketWatch {
    wake: Option<SyncSender<()>>,
}

impl StaleSocketWatch {
    /// Starts the thread in this thread's network namespace. It looks at once: backends may have
    /// left while no controller ran, or just before one was killed. On a kernel that cannot end
    /// sockets there is none, and a line that says so.
    pub(super) fn start(pins: &Pins, vitals: Arc<Vitals>) -> Self {
        let (wake, woken) = sync_channel(1);
        let started = StaleSockets::open(pins).map(|sockets| {
            let thread = thread::Builder::new().name("stale-sockets".into());
            thread.spawn(move || run(&woken, || look(&sockets, &vitals)))
        });
        match started {
            Ok(Ok(_thread)) => {
                let watch = Self { wake: Some(wake) };
                watch.look();
                watch
            }
            Ok(Err(e)) => {
                tracing::warn!("starting a thread for stale UDP sockets: {e}");
                Self { wake: None }
            }
            Err(e) => {
                tracing::warn!("{e}");
                Self { wake: None }
            }
        }
    }

    /// A UDP backend left. Requests that come while the thread is busy become one.
    pub(super) fn look(&self) {
        if let Some(wake) = &self.wake {
            // Full: it will look after now anyway.
            let _pending = wake.try_send(());
        }
    }
}

/// Looks when asked, and once more after the grace period: a hook that read the maps before they
/// changed may connect a socket a little later.
fn run(woken: &Receiver<()>, look: impl Fn()) {
    while woken.recv().is_ok() {
        look();
        loop {
            thread::sleep(PAUSE);
            match woken.recv_timeout(GRACE) {
                Ok(()) => look(),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        look();
    }
}

fn look(sockets: &StaleSockets, vitals: &Vitals) {
    match sockets.end() {
        Ok(0) => {}
        Ok(ended) => {
            vitals.update(|figures| figures.sockets_ended += ended as u64);
            tracing::info!(
                sockets = ended,
                "ended connected UDP sockets of host processes: their endpoints left"
            );
        }
        Err(e) => tracing::warn!("{e}"),
    }
}
