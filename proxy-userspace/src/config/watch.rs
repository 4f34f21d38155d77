//! Notices when the configuration file changes (A95).

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    sync::mpsc::{Receiver, channel},
    time::timeout,
};

/// The file is looked at so often even without a notice: notices get lost, on network file systems
/// for one.
const RESCAN: Duration = Duration::from_secs(10);

/// Which file a path leads to, and when that was written: it changes with a write, with a rename
/// over it, and with the swap of symbolic links that updates a ConfigMap's volume. Permissions and
/// times of access are not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    path: PathBuf,
    device: u64,
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl Identity {
    fn of(path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        let meta = fs::metadata(&path)?;
        Ok(Self {
            path,
            device: meta.dev(),
            inode: meta.ino(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            size: meta.size(),
        })
    }
}

/// A configuration file as it was when it was read.
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    then: Option<Identity>,
    notices: Receiver<()>,
    // Stops when dropped.
    _watcher: Option<RecommendedWatcher>,
}

impl FileWatch {
    /// Begins to watch. Make it before the file is read, so that no change falls between.
    pub fn new(path: &Path) -> Self {
        let (sender, notices) = channel(1);
        let notify = move |_: notify::Result<notify::Event>| {
            // A full queue holds a notice already.
            let _queued = sender.try_send(());
        };
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new("."));
        let watcher = notify::recommended_watcher(notify).and_then(|mut watcher| {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            tracing::warn!(%error, every = ?RESCAN, "watching the configuration file's folder failed; looking at it now and then");
        }
        Self {
            path: path.to_owned(),
            then: Identity::of(path).ok(),
            notices,
            _watcher: watcher.ok(),
        }
    }

    /// Waits until the file was written or replaced. A file that is gone has not changed: it is
    /// about to come back.
    pub async fn changed(&mut self) {
        loop {
            let now = Identity::of(&self.path).ok();
            if now.is_some() && now != self.then {
                return;
            }
            // A notice, its absence and a watcher that ended all lead to another look.
            let ended = matches!(timeout(RESCAN, self.notices.recv()).await, Ok(None));
            if ended {
                tokio::time::sleep(RESCAN).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    async fn notices(path: &Path, change: impl FnOnce()) -> bool {
        let mut watch = FileWatch::new(path);
        let idle = timeout(Duration::from_millis(50), watch.changed()).await;
        assert!(idle.is_err(), "no change yet");
        change();
        timeout(Duration::from_secs(5), watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn a95_writes_renames_and_swapped_links() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.conf");
        fs::write(&path, "a").unwrap();
        assert!(notices(&path, || fs::write(&path, "a").unwrap()).await);
        let other = folder.path().join("other");
        let rename = || {
            fs::write(&other, "a").unwrap();
            fs::rename(&other, &path).unwrap();
        };
        assert!(notices(&path, rename).await);
    }

    #[tokio::test]
    async fn a95_a_configmaps_update() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["..1", "..2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("config.conf"), "a").unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/config.conf", at("config.conf")).unwrap();
        let update = || {
            symlink("..2", at("..data_tmp")).unwrap();
            fs::rename(at("..data_tmp"), at("..data")).unwrap();
        };
        assert!(notices(&at("config.conf"), update).await);
    }
}
