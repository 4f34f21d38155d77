//! A network namespace, a bpffs and a cgroup of a test's own.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use nix::{
    mount::{MntFlags, umount2},
    sched::{CloneFlags, unshare},
};
use sluice::dataplane::aya::{cgroup, interfaces::cleanup};
use tokio::runtime::Runtime;

/// The places that the code under test may touch.
pub(crate) struct Sandbox {
    /// A bpffs.
    pub(crate) bpf: PathBuf,
    /// An empty cgroup.
    pub(crate) cgroup: PathBuf,
    _folder: tempfile::TempDir,
}

impl Sandbox {
    /// Runs a test in a thread that has a network namespace to itself.
    pub(crate) fn run(test: impl FnOnce(&Sandbox, &Runtime) + Send + 'static) {
        let thread = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("the node tests need root");
            let sandbox = Sandbox::new();
            // One thread: it is this one that is in the namespace.
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let result = catch_unwind(AssertUnwindSafe(|| test(&sandbox, &runtime)));
            cleanup(&sandbox.bpf).expect("cleaning up");
            drop(sandbox);
            if let Err(panic) = result {
                resume_unwind(panic);
            }
        });
        if let Err(panic) = thread.join() {
            resume_unwind(panic);
        }
    }

    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = cgroup::find_root().expect("cgroup2");
        let name = folder.path().file_name().unwrap().to_string_lossy().into_owned();
        let cgroup = root.join(format!("sluice-test-{}", name.trim_start_matches('.')));
        fs::create_dir(&cgroup).expect("a cgroup");
        // Not on the machine's own bpffs: `prepare` mounts one here.
        let bpf = folder.path().join("bpf");
        Self { bpf, cgroup, _folder: folder }
    }
}

/// Puts this process back into the cgroup that it came from, when dropped.
pub(crate) struct Inside {
    home: PathBuf,
}

impl Sandbox {
    /// Puts this process into the cgroup. (Tests run one at a time.)
    pub(crate) fn enter(&self) -> Inside {
        let groups = fs::read_to_string("/proc/self/cgroup").expect("this process's cgroups");
        let path = groups.lines().find_map(|line| line.strip_prefix("0::/")).expect("cgroup2");
        let home = cgroup::find_root().expect("cgroup2").join(path);
        let inside = Inside { home };
        move_to(&self.cgroup).expect("entering the cgroup");
        inside
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Err(e) = move_to(&self.home) {
            eprintln!("returning to {}: {e}", self.home.display());
        }
    }
}

fn move_to(cgroup: &Path) -> std::io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())
}

/// Runs `ip`, in this thread's namespace.
pub(crate) fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("ip");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {errors}");
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for (what, result) in
            [("bpffs", unmount(&self.bpf)), ("cgroup", fs::remove_dir(&self.cgroup))]
        {
            if let Err(e) = result {
                eprintln!("removing the {what}: {e}");
            }
        }
    }
}

fn unmount(path: &Path) -> std::io::Result<()> {
    umount2(path, MntFlags::MNT_DETACH).map_err(Into::into)
}
