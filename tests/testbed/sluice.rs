//! The real `sluice` on a node of the cluster.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::address::{CLUSTER_CIDRS, NODEPORT_CIDRS};
use crate::agent::binary;
use crate::cluster::Node;
use crate::place::command_in;

/// What the log says once maps are programmed and interfaces attached.
const READY: &str = "datapath ready";
/// How long that may take: the kernel verifies the programs for some seconds of CPU time.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Where a controller learns of Services.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A folder of manifests.
    Manifests(&'a Path),
    /// An API server, by its kubeconfig file.
    Kubeconfig(&'a Path),
}

/// A running controller. Its log is printed when the test that drops it is failing.
#[derive(Debug)]
pub struct Sluice {
    name: String,
    child: Option<Child>,
    log: PathBuf,
}

impl Sluice {
    /// Starts `sluice` in the node's namespace and cgroup.
    pub fn start(node: &Node, source: Source<'_>) -> Result<Self> {
        Self::start_with(node, source, &[])
    }

    /// The same with more arguments; a later flag wins over an earlier one.
    pub fn start_with(node: &Node, source: Source<'_>, more: &[&str]) -> Result<Self> {
        Self::start_build(node, source, &Self::build()?, more)
    }

    /// The build under test.
    pub fn build() -> Result<PathBuf> {
        binary("sluice", "SLUICE_BIN")
    }

    /// The same with another build than the one under test: an upgrade.
    pub fn start_build(
        node: &Node,
        source: Source<'_>,
        build: &Path,
        more: &[&str],
    ) -> Result<Self> {
        let log = node.dir().join("sluice.log");
        let cgroup = node.cgroup_root().join("sluice");
        fs::create_dir_all(&cgroup)?;
        let out = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let (flag, from) = match source {
            Source::Manifests(dir) => ("--manifests", dir),
            Source::Kubeconfig(file) => ("--kubeconfig", file),
        };
        // A list of several flags is one list.
        let is_told = more.iter().any(|word| word.starts_with("--nodeport-addresses"));
        let node_ports = format!("--nodeport-addresses={NODEPORT_CIDRS}");
        let child = command_in(build, node.netns(), &cgroup)?
            .arg("--proxy-mode=ebpf")
            .args([OsStr::new(flag), from.as_os_str()])
            .args(["--hostname-override", node.name()])
            .args(["--cluster-cidr", CLUSTER_CIDRS])
            .args(if is_told { None } else { Some(node_ports) })
            .args([OsStr::new("--cgroup-root"), node.cgroup_root().as_os_str()])
            .args([OsStr::new("--bpf-root"), node.bpf_root().as_os_str()])
            .args(["-v", "2"])
            .args(more)
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .context("starting sluice")?;
        Ok(Self { name: node.name().to_owned(), child: Some(child), log })
    }

    /// Waits until the datapath is programmed and attached.
    pub fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN * patience();
        while Instant::now() < deadline {
            if self.log().contains(READY) {
                return Ok(());
            }
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!(
                    "sluice on {} ended before it was ready ({status}):\n{}",
                    self.name,
                    self.log()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("sluice on {} was not ready in {READY_WITHIN:?}; its log:\n{}", self.name, self.log())
    }

    /// Ends it with SIGTERM, as a DaemonSet's update does, and waits.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)?;
        let deadline = Instant::now() + Duration::from_secs(10) * patience();
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("sluice on {} ended with {status} after SIGTERM", self.name);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill()?;
        child.wait()?;
        bail!("sluice on {} did not end within 10 s of SIGTERM", self.name)
    }

    /// Ends it with SIGKILL, as an out-of-memory kill does.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Asks for an audit of the maps, with SIGUSR1.
    pub fn audit(&self) -> Result<()> {
        let child = self.child.as_ref().context("sluice does not run")?;
        Ok(kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGUSR1)?)
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Runs a subcommand that reads the node's pinned maps, as an operator would.
    pub fn inspect(node: &Node, arguments: &[&str]) -> Result<Output> {
        let mut command: Command = node.command(Self::build()?)?;
        command.args(arguments).arg("--bpf-root").arg(node.bpf_root());
        command.output().context("running sluice")
    }

    /// Takes the node's datapath away.
    pub fn cleanup(node: &Node) -> Result<Output> {
        let mut command: Command = node.command(Self::build()?)?;
        command.arg("cleanup").arg("--bpf-root").arg(node.bpf_root());
        let output = command.output().context("running sluice cleanup")?;
        if !output.status.success() {
            bail!("sluice cleanup: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(output)
    }
}

impl Drop for Sluice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of sluice on {} ---\n{}", self.name, self.log());
        }
        // A controller that is gone already is what is wanted.
        let _gone = self.kill();
    }
}

/// How many times longer than usual things may take: `SLUICE_PATIENCE`, which is set where the
/// processor is emulated.
pub fn patience() -> u32 {
    std::env::var("SLUICE_PATIENCE").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}
