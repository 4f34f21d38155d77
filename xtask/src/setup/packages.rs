//! Debian packages, and on other systems the commands they would have brought.

use std::process::Command;

use anyhow::{Context, Result};

use crate::{
    cargo,
    missing::{self, Missing},
    step,
};

/// A package of which we use one command or file.
pub(super) struct Tool {
    /// Debian's name.
    pub(super) package: &'static str,
    /// The command, in PATH, or the file, by its absolute path.
    provides: &'static str,
}

/// What the privileged tests, the demo and the bench call.
pub(super) const TOOLS: [Tool; 11] = [
    Tool { package: "bpftool", provides: "bpftool" },
    Tool { package: "nftables", provides: "nft" },
    Tool { package: "iptables", provides: "iptables" },
    Tool { package: "iproute2", provides: "ip" },
    Tool { package: "conntrack", provides: "conntrack" },
    Tool { package: "ethtool", provides: "ethtool" },
    Tool { package: "procps", provides: "sysctl" },
    Tool { package: "containernetworking-plugins", provides: "/usr/lib/cni/bridge" },
    Tool { package: "tcpdump", provides: "tcpdump" },
    Tool { package: "crun", provides: "crun" },
    Tool {
        package: "golang-github-containers-common",
        provides: "/usr/share/containers/seccomp.json",
    },
];

/// A compiler with the source of its own `core`, and its clippy.
pub(super) const COMPILER: [&str; 4] =
    ["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy"];

/// The library that bpf-linker is built on and runs with. It is linked dynamically, so neither
/// zlib nor zstd is needed at build time.
pub(super) const LLVM: [&str; 1] = ["llvm-22-dev"];

/// What boots other kernels, what packs their first file system, and what tests call there only.
pub(super) const EMULATOR: [&str; 6] =
    ["qemu-system-x86", "busybox-static", "kmod", "cpio", "xz-utils", "wireguard-tools"];

/// Installs the wanted packages that are missing. Only root installs, and only root runs what
/// needs [`TOOLS`], so others pass: what they lack to build is found missing by the next steps.
pub(super) fn ensure(wanted: &[&str]) -> Result<()> {
    if !missing::is_root() {
        return Ok(());
    }
    if cargo::in_path("apt-get").is_none() || cargo::in_path("dpkg-query").is_none() {
        return check_commands();
    }
    let missing = not_installed(wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    let what = "refreshing the package lists";
    step::run("apt-update", what, apt().args(["update", "--quiet"]))?;
    let what = format!("installing {}", missing.join(" "));
    let mut install = apt();
    install.args(["install", "--yes", "--quiet", "--no-install-recommends"]).args(&missing);
    step::run("apt-install", &what, &mut install)
}

fn apt() -> Command {
    let mut apt = cargo::command("apt-get");
    // Another apt may be at work on a fresh machine; two minutes of patience settle it.
    apt.args(["-o", "DPkg::Lock::Timeout=120"]).env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

fn not_installed<'a>(wanted: &[&'a str]) -> Result<Vec<&'a str>> {
    // dpkg-query fails when it does not know a name, but still answers for the others.
    let output = cargo::command("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(wanted)
        .output()
        .context("asking dpkg-query which packages are installed")?;
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(missing_from(wanted, &answer))
}

fn missing_from<'a>(wanted: &[&'a str], answer: &str) -> Vec<&'a str> {
    let installed =
        |name: &str| answer.lines().any(|line| line.split_once(' ') == Some((name, "installed")));
    wanted.iter().copied().filter(|name| !installed(name)).collect()
}

fn check_commands() -> Result<()> {
    let there = |tool: &&Tool| match tool.provides.starts_with('/') {
        true => std::path::Path::new(tool.provides).exists(),
        false => cargo::in_path(tool.provides).is_some(),
    };
    let missing: Vec<_> = TOOLS.iter().filter(|t| !there(t)).map(|t| t.provides).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(", ");
    Err(Missing(format!(
        "setting up: {missing} missing, and there is no apt-get to install them; install them with \
         this system's package manager"
    ))
    .into())
}

#[cfg(test)]
mod tests {
    use super::missing_from;

    #[test]
    fn a_package_counts_only_when_it_is_installed() {
        let answer = "nftables installed\niptables config-files\n";
        let wanted = ["nftables", "iptables", "tcpdump"];
        assert_eq!(missing_from(&wanted, answer), ["iptables", "tcpdump"]);
    }
}
