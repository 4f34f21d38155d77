//! Names with an owner: everything a cluster makes carries its owner's process id, so that it can
//! be removed by whoever finds it after a crash.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

const RUN: &str = "/run/sluice-test";
const NETNS: &str = "/run/netns";

static NEXT: AtomicU32 = AtomicU32::new(1);

/// The namespaces, cgroups, mounts and files of one cluster; removed on drop.
#[derive(Debug)]
pub(crate) struct Scope {
    id: String,
    cgroup_mount: PathBuf,
}

impl Scope {
    /// A new, empty scope owned by this process.
    pub(crate) fn create() -> Result<Self> {
        let owner = std::process::id();
        let id = format!("{owner}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let scope = Self { cgroup_mount: cgroup2_mount()?, id };
        fs::create_dir_all(scope.run_dir()).context("making the cluster's folder in /run")?;
        fs::write(scope.run_dir().join("owner"), started(owner).unwrap_or_default())?;
        fs::create_dir_all(scope.cgroup())
            .with_context(|| format!("making cgroup {}", scope.cgroup().display()))?;
        Ok(scope)
    }

    /// The full name of a namespace.
    pub(crate) fn netns(&self, name: &str) -> String {
        format!("sluice-{}-{name}", self.id)
    }

    /// The folder for mounts, logs and manifests.
    pub(crate) fn run_dir(&self) -> PathBuf {
        Path::new(RUN).join(&self.id)
    }

    /// The cgroup all the cluster's processes are in.
    pub(crate) fn cgroup(&self) -> PathBuf {
        self.cgroup_mount.join(format!("sluice-{}", self.id))
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        remove(&self.id, &self.cgroup_mount);
    }
}

/// Removes what crashed runs left: everything named after a process that is gone.
pub fn sweep() {
    let Ok(mount) = cgroup2_mount() else { return };
    let mut ids: Vec<String> = [Path::new(RUN), Path::new(NETNS), &mount]
        .into_iter()
        .flat_map(entries)
        .filter_map(|path| id_of(&path))
        .filter(|id| !owner_lives(id))
        .collect();
    ids.sort();
    ids.dedup();
    for id in ids {
        remove(&id, &mount);
    }
}

/// Removes everything this process owns: for the end that no `Drop` sees, a signal.
pub fn remove_own() {
    let Ok(mount) = cgroup2_mount() else { return };
    let own = format!("{}-", std::process::id());
    for path in entries(Path::new(RUN)) {
        if let Some(id) = id_of(&path).filter(|id| id.starts_with(&own)) {
            remove(&id, &mount);
        }
    }
}

/// Kills what runs in the scope's cgroup, then takes the scope apart. Best effort: each step may
/// find its work done already.
fn remove(id: &str, cgroup_mount: &Path) {
    let cgroup = cgroup_mount.join(format!("sluice-{id}"));
    if cgroup.is_dir() {
        report("killing the processes in", &cgroup, fs::write(cgroup.join("cgroup.kill"), "1"));
        for _ in 0..200 {
            let empty = fs::read_to_string(cgroup.join("cgroup.events"))
                .is_ok_and(|events| events.contains("populated 0"));
            if empty {
                break;
            }
            sleep(Duration::from_millis(10));
        }
    }
    let prefix = format!("sluice-{id}-");
    for netns in entries(Path::new(NETNS)) {
        if name_of(&netns).starts_with(&prefix) {
            let done = Command::new("ip").args(["netns", "del", name_of(&netns)]).status();
            report("deleting namespace", &netns, done.map(drop));
        }
    }
    let run = Path::new(RUN).join(id);
    for mount in mounts_below(&run) {
        let done = nix::mount::umount2(&mount, nix::mount::MntFlags::MNT_DETACH);
        report("unmounting", &mount, done.map_err(Into::into));
    }
    if run.is_dir() {
        report("removing", &run, fs::remove_dir_all(&run));
    }
    if cgroup.is_dir() {
        report("removing cgroup", &cgroup, remove_cgroup(&cgroup));
    }
    // The last cluster closes the door; a folder that is not empty stays.
    let _still_in_use = fs::remove_dir(RUN);
}

fn report(action: &str, object: &Path, result: std::io::Result<()>) {
    if let Err(error) = result {
        eprintln!("testbed: {action} {} failed: {error}", object.display());
    }
}

/// Children first. A process that was just killed keeps its cgroup busy for a moment.
fn remove_cgroup(cgroup: &Path) -> std::io::Result<()> {
    for child in entries(cgroup).into_iter().filter(|path| path.is_dir()) {
        remove_cgroup(&child)?;
    }
    for _ in 0..100 {
        match fs::remove_dir(cgroup) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                sleep(Duration::from_millis(10));
            }
            done => return done,
        }
    }
    fs::remove_dir(cgroup)
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// `<pid>-<n>` out of `sluice-<pid>-<n>-node1`, `sluice-<pid>-<n>` or `<pid>-<n>`.
fn id_of(path: &Path) -> Option<String> {
    let name = name_of(path);
    let mut parts = name.strip_prefix("sluice-").unwrap_or(name).split('-');
    let (pid, n): (u32, u32) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(format!("{pid}-{n}"))
}

/// Whether the process that made the scope still runs, and is not another with its number.
fn owner_lives(id: &str) -> bool {
    let Some(pid) = id.split('-').next().and_then(|pid| pid.parse().ok()) else { return true };
    let recorded = fs::read_to_string(Path::new(RUN).join(id).join("owner")).ok();
    match (started(pid), recorded) {
        (Some(now), Some(then)) if !then.is_empty() => now == then,
        (now, _unrecorded) => now.is_some(),
    }
}

/// A process's start time in ticks: the 20th field after the command's closing bracket.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.to_owned())
}

/// Mount points at or below a folder, deepest first.
fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut mounts: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|mount| mount.starts_with(dir))
        .collect();
    mounts.sort();
    mounts.reverse();
    mounts
}

/// Where cgroup2 is mounted: in the middle of a hybrid hierarchy it is not at /sys/fs/cgroup.
fn cgroup2_mount() -> Result<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("reading mountinfo")?;
    table
        .lines()
        .find(|line| line.contains(" - cgroup2 "))
        .and_then(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .ok_or_else(|| anyhow!("no cgroup2 is mounted; mount -t cgroup2 none /sys/fs/cgroup"))
}
