//! `cargo xtask build`: the kernel programs and the binary, after set-up.

use std::path::PathBuf;

use anyhow::Result;

use crate::{cargo, setup, step};

/// Options of `cargo xtask build`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Optimise
    #[arg(long)]
    release: bool,
}

/// Sets up and builds.
pub(crate) fn run(args: &Args) -> Result<PathBuf> {
    setup::run()?;
    let binary = sluice(args.release)?;
    println!("{}", binary.display());
    Ok(binary)
}

/// Builds `sluice`, whose build script builds the kernel programs, and says where it is.
pub(crate) fn sluice(release: bool) -> Result<PathBuf> {
    let mut command = cargo::cargo("build");
    command.args(["--locked", "--package", "sluice", "--bin", "sluice"]);
    if release {
        command.arg("--release");
    }
    step::run("build", "building sluice and its kernel programs", &mut command)?;
    Ok(cargo::target().join(if release { "release" } else { "debug" }).join("sluice"))
}
