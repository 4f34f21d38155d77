//! Namespaces and what is in them, by way of the `ip` command.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};

/// The file that stands for a namespace.
pub(crate) fn path(netns: &str) -> PathBuf {
    Path::new("/run/netns").join(netns)
}

/// Runs a closure on a thread that has entered a namespace.
pub(crate) fn within<T: Send>(netns: &str, body: impl FnOnce() -> T + Send) -> Result<T> {
    let file =
        File::open(path(netns)).with_context(|| format!("opening network namespace {netns}"))?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).context("entering a network namespace")?;
            Ok(body())
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Makes namespaces.
pub(crate) fn create(names: &[String]) -> Result<()> {
    let lines: Vec<String> = names.iter().map(|name| format!("netns add {name}")).collect();
    batch("ip", &[], &lines)
}

/// Deletes one.
pub(crate) fn delete(name: &str) -> Result<()> {
    batch("ip", &[], &[format!("netns del {name}")])
}

/// Runs `ip` commands in a namespace, in one go.
pub(crate) fn ip(netns: &str, lines: &[String]) -> Result<()> {
    batch("ip", &["-n", netns], lines)
}

/// Runs `bridge` commands in a namespace.
pub(crate) fn bridge(netns: &str, lines: &[String]) -> Result<()> {
    batch("bridge", &["-n", netns], lines)
}

/// A veth pair: `(namespace, device)` and `(namespace, device)`.
pub(crate) fn veth(a: (&str, &str), b: (&str, &str), mtu: u32) -> Result<()> {
    let line = format!(
        "link add {} mtu {mtu} netns {} type veth peer name {} mtu {mtu} netns {}",
        a.1, a.0, b.1, b.0
    );
    batch("ip", &[], &[line])?;
    ip(a.0, &[format!("link set {} up", a.1)])?;
    ip(b.0, &[format!("link set {} up", b.1)])
}

/// Writes sysctls (`net/ipv4/ip_forward`) in a namespace.
pub(crate) fn sysctl(netns: &str, settings: &[(&str, &str)]) -> Result<()> {
    within(netns, || {
        for (name, value) in settings {
            std::fs::write(Path::new("/proc/sys").join(name), value)
                .with_context(|| format!("setting {name} to {value} in {netns}"))?;
        }
        Ok(())
    })?
}

/// Sets what a device does to packets (`ethtool -K`), in a namespace.
pub(crate) fn offloads(netns: &str, device: &str, settings: &[&str]) -> Result<()> {
    let run = || Command::new("ethtool").args(["-K", device]).args(settings).output();
    let output = within(netns, run)?.context("starting ethtool; install it")?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("ethtool -K {device} {settings:?} in {netns}: {}", error.trim());
    }
    Ok(())
}

fn batch(program: &str, arguments: &[&str], lines: &[String]) -> Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {program}; install iproute2"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all((lines.join("\n") + "\n").as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}\nof:\n{}", arguments.join(" "), error.trim(), lines.join("\n"));
    }
    Ok(())
}
