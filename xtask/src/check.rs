//! `cargo xtask check`: format, lints on both targets, documentation, tidy rules.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{
    cargo,
    setup::{self, Toolchain},
    step::{self, Step},
    tidy,
};

/// Everything but the kernel programs, which only build for BPF.
const HOST: [&str; 4] = ["--locked", "--workspace", "--exclude", "sluice-ebpf"];

/// Sets up, then checks.
pub(crate) fn run() -> Result<()> {
    let toolchain = setup::run()?;
    all(&toolchain)
}

/// Runs every check, so that one run shows everything there is to repair.
pub(crate) fn all(toolchain: &Toolchain) -> Result<()> {
    let outcomes = [format(), tidy(), clippy_host(), clippy_bpf(toolchain), documentation()];
    let failures: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    for failure in &failures {
        eprintln!("error: {failure:#}");
    }
    if failures.is_empty() { Ok(()) } else { bail!("{} of the checks failed", failures.len()) }
}

fn format() -> Result<()> {
    let arguments = ["--all", "--check", "--", "--color=never"];
    step::run("fmt", "format", cargo::cargo("fmt").args(arguments))
}

fn tidy() -> Result<()> {
    let step = Step::start("tidy rules");
    let broken = tidy::check(&cargo::root())?;
    if broken.is_empty() {
        step.done();
        return Ok(());
    }
    step.failed();
    for line in &broken {
        eprintln!("    {line}");
    }
    bail!("{} tidy rules are broken; xtask/src/tidy.rs explains each", broken.len())
}

fn clippy_host() -> Result<()> {
    let mut command = cargo::cargo("clippy");
    command.args(HOST).args(["--all-targets", "--", "-D", "warnings"]);
    step::run("clippy-host", "clippy, host", &mut command)
}

/// Lints the kernel programs as they are built: for BPF, by the compiler that builds them. On the
/// host's target other code would be compiled (aya-ebpf's stand-ins), and it would not be `no_std`.
fn clippy_bpf(toolchain: &Toolchain) -> Result<()> {
    if !toolchain.has_clippy() {
        return Err(toolchain.clippy_missing().into());
    }
    let mut command = Command::new("rustup");
    command.current_dir(cargo::root()).args(["run", &toolchain.name, "cargo", "clippy"]);
    command.args(["--locked", "--package", "sluice-ebpf", "-Z", "build-std=core"]);
    command.args(["--target", "bpfel-unknown-none", "--target-dir"]);
    command.arg(cargo::target().join("ebpf")).args(["--", "-D", "warnings"]);
    clear_outer(&mut command);
    command.env("RUSTC_BOOTSTRAP", "1");
    step::run("clippy-bpf", "clippy, BPF", &mut command)
}

/// The variables of the cargo that runs us name another compiler.
fn clear_outer(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let outer = ["CARGO", "RUST"].iter().any(|prefix| text.starts_with(prefix));
        if outer && !["CARGO_HOME", "RUSTUP_HOME"].contains(&text.as_ref()) {
            command.env_remove(&name);
        }
    }
}

fn documentation() -> Result<()> {
    let mut command = cargo::cargo("doc");
    command.args(HOST).args(["--no-deps", "--document-private-items"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    step::run("doc", "documentation", &mut command)
}
