//! A place: a network namespace and a cgroup, with an agent that lives there.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::SigSet;

use crate::agent::{Agent, binary};
use crate::netns;
use crate::wire::{Failure, Op, Outcome};

/// Where a pod, a node's own processes or an outsider live.
#[derive(Debug)]
pub struct Place {
    name: String,
    netns: String,
    cgroup: PathBuf,
    agent: Agent,
}

impl Place {
    /// Settles in a namespace that exists, in a cgroup that need not.
    pub(crate) fn settle(name: &str, netns: String, cgroup: PathBuf) -> Result<Self> {
        fs::create_dir_all(&cgroup).with_context(|| format!("making {}", cgroup.display()))?;
        let program = binary("testbed-agent", "TESTBED_AGENT")?;
        let agent = Agent::start(command_in(&program, &netns, &cgroup)?)
            .with_context(|| format!("settling in {netns}"))?;
        Ok(Self { name: name.to_owned(), netns, cgroup, agent })
    }

    /// The name answers carry: `pod1`, `node2`, `client`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The full name of the network namespace.
    pub fn netns(&self) -> &str {
        &self.netns
    }

    /// Runs a closure on a thread in the namespace. The thread's cgroup stays the test's: use
    /// [`Place::command`] or the agent where a socket hook has to see the traffic.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> Result<T> {
        netns::within(&self.netns, body)
    }

    /// A command that will run in the namespace and the cgroup.
    pub fn command(&self, program: impl AsRef<Path>) -> Result<Command> {
        command_in(program.as_ref(), &self.netns, &self.cgroup)
    }

    /// Runs a command to its end and returns what it printed.
    pub fn shell(&self, line: &str) -> Result<String> {
        let output = self.command("sh")?.args(["-c", line]).output()?;
        if !output.status.success() {
            bail!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub(crate) fn call(&self, op: Op, patience: Duration) -> Result<Outcome, Failure> {
        self.agent.call(op, patience)
    }
}

/// A command whose process enters a namespace and a cgroup before it becomes the program.
pub(crate) fn command_in(program: &Path, netns: &str, cgroup: &Path) -> Result<Command> {
    let namespace = File::open(netns::path(netns)).with_context(|| format!("opening {netns}"))?;
    let procs = cgroup.join("cgroup.procs");
    let members = File::options()
        .write(true)
        .open(&procs)
        .with_context(|| format!("opening {}", procs.display()))?;
    let mut command = Command::new(program);
    // Its own process group: Ctrl-C is for the test, which then ends its children in order.
    command.process_group(0);
    let enter = move || {
        (&members).write_all(b"0")?;
        // A test that waits for signals blocks them; its children shall hear them.
        SigSet::empty().thread_set_mask()?;
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).map_err(Into::into)
    };
    // SAFETY: after the fork the closure only calls write(2), pthread_sigmask(3) and setns(2), the
    // first and last on open descriptors: all are async-signal-safe, and nothing is allocated.
    unsafe { command.pre_exec(enter) };
    Ok(command)
}
