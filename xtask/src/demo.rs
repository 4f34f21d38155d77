//! `cargo xtask demo`: builds and runs the demo of the package `sluice-tests`.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::{build, cargo, missing, setup, step};

/// Options of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Passed to the demo; `-- --help` lists what it knows
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Sets up, builds, and hands the terminal to the demo, which cleans up after itself.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    missing::require_root("the demo makes network namespaces", "run `sudo -E cargo xtask demo`")?;
    setup::run()?;
    let sluice = build::sluice(false)?;
    let demo = binary("sluice-demo", false)?;
    exec(cargo::command(&demo).args(&args.arguments).env("SLUICE_BIN", sluice))
}

/// Builds a binary of the package `sluice-tests`, and the agent that its namespaces run, and says
/// where it is.
pub(crate) fn binary(name: &str, release: bool) -> Result<String> {
    let mut command = cargo::cargo("build");
    command.args([
        "--locked",
        "--package",
        "sluice-tests",
        "--bin",
        name,
        "--bin",
        "testbed-agent",
    ]);
    if release {
        command.arg("--release");
    }
    step::run(name, &format!("building {name}"), &mut command)?;
    let profile = if release { "release" } else { "debug" };
    Ok(cargo::target().join(profile).join(name).display().to_string())
}

/// Becomes the command, so that Ctrl-C and the exit code are the command's own.
pub(crate) fn exec(command: &mut std::process::Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    let program = command.get_program().to_string_lossy().into_owned();
    Err(error).with_context(|| format!("starting {program}"))
}
