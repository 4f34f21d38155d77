//! A folder of ordinary manifests as a source, followed live.

mod folder;
mod parse;
mod world;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::{sleep, timeout},
};
use tracing::warn;

use self::{folder::Folder, world::World};
use crate::model::{
    problem::{Problem, Subject},
    spec::{Event, Unserved},
};

/// A change is taken up after so long a silence: an editor's or a copy's several writes are one.
const QUIET: Duration = Duration::from_millis(50);

/// Who never stops writing is heard after so many silences that were none.
const PATIENCE: usize = 20;

/// The folder is read so often even without a notice: notices get lost on network file systems,
/// and when the folder itself is replaced.
const RESCAN: Duration = Duration::from_secs(5);

/// Follows the `.yaml`, `.yml` and `.json` files of a folder: Services, EndpointSlices,
/// ServiceCIDRs and the Node named `node_name`. A broken file keeps its last good content in
/// force. Ends only when the receiver is gone.
pub async fn run(dir: PathBuf, node_name: &str, events: Sender<Event>) {
    let mut folder = Folder::new(dir.clone());
    let mut told: Option<World> = None;
    let mut unreadable = false;
    loop {
        // Before the first read, so that no change falls between the two.
        let mut notices = Notices::new(&dir);
        loop {
            let read = folder.read();
            let news = match &read {
                Ok(()) => news(&folder, node_name, &mut told),
                Err(error) if !unreadable => vec![Event::Problem(cannot_read(&dir, error))],
                Err(_) => Vec::new(),
            };
            let readable_again = unreadable && read.is_ok();
            unreadable = read.is_err();
            let cleared = readable_again.then(|| Event::Cleared(subject(&dir)));
            for event in cleared.into_iter().chain(news) {
                if events.send(event).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = events.closed() => return,
                () = notices.wait() => {}
            }
            if unreadable || notices.stale() {
                break;
            }
        }
    }
}

/// What the folder says now, as events that tell everything, and the addresses that have no rules;
/// or the first reason, in the order of paths, why that cannot be told.
pub fn read(dir: &Path, node_name: &str) -> Result<(Vec<Event>, Vec<Unserved>), String> {
    let mut folder = Folder::new(dir.to_owned());
    folder.read().map_err(|error| format!("reading folder {}: {error}", dir.display()))?;
    for (path, file) in folder.files() {
        if let Some(cause) = &file.broken {
            return Err(format!("reading {}: {cause}", path.display()));
        }
    }
    let world = World::merge(folder.files(), node_name);
    Ok((world.beginning(), world.unserved().to_vec()))
}

/// What changed since it was told last.
fn news(folder: &Folder, node_name: &str, told: &mut Option<World>) -> Vec<Event> {
    let world = World::merge(folder.files(), node_name);
    let events = match told {
        Some(old) => old.changes_to(&world),
        None => world.beginning(),
    };
    *told = Some(world);
    events
}

fn subject(dir: &Path) -> Subject {
    Subject::File(dir.display().to_string())
}

fn cannot_read(dir: &Path, error: &std::io::Error) -> Problem {
    let text = format!(
        "reading the folder failed: {error}; what was read before stays in force; create it or \
         correct --manifests"
    );
    Problem { subject: subject(dir), text }
}

/// Tells when the folder may have changed.
struct Notices {
    // Dropped, it stops watching.
    _watcher: Option<RecommendedWatcher>,
    woken: Receiver<()>,
    silent: bool,
}

impl Notices {
    fn new(dir: &Path) -> Self {
        let (wake, woken) = channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| is_change(event.kind)) {
                // Full means that somebody is about to look anyway.
                let _already_woken = wake.try_send(());
            }
        })
        .and_then(|mut watcher| {
            watcher.watch(dir, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        if let Err(error) = &watcher
            && dir.exists()
        {
            warn!(
                "watching folder {} failed: {error}; reading it every {RESCAN:?} instead; raise \
                 fs.inotify.max_user_watches if it is exhausted",
                dir.display()
            );
        }
        Self { _watcher: watcher.ok(), woken, silent: false }
    }

    /// Until a change is complete, or it is time to look anyway.
    async fn wait(&mut self) {
        if self._watcher.is_none() {
            sleep(RESCAN.min(Duration::from_secs(1))).await;
            self.silent = true;
            return;
        }
        self.silent = timeout(RESCAN, self.woken.recv()).await.is_err();
        for _ in 0..PATIENCE {
            if self.silent || timeout(QUIET, self.woken.recv()).await.is_err() {
                return;
            }
        }
    }

    /// Whether the folder may be another one than the one that is watched.
    fn stale(&self) -> bool {
        self.silent
    }
}

/// Reading a file is an event as well; answering it by reading would never end.
fn is_change(kind: EventKind) -> bool {
    !kind.is_access() || kind == EventKind::Access(AccessKind::Close(AccessMode::Write))
}

/// What the source would tell at first of a folder with this one file.
#[cfg(test)]
pub(crate) fn events_of(file: &Path, node_name: &str) -> Vec<Event> {
    let files = [(file.to_owned(), folder::File::read(file))].into();
    World::merge(&files, node_name).beginning()
}
