//! `cargo xtask bench`: measurements, optimised.

use std::process::ExitCode;

use anyhow::Result;

use crate::{build, cargo, demo, missing, setup};

/// What can be measured.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// The service path against the direct path, between network namespaces
    Path {
        /// Passed to the bench; `-- --help` lists what it knows
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

/// Sets up, builds in release, and hands the terminal to the bench.
pub(crate) fn run(bench: &Bench) -> Result<ExitCode> {
    let Bench::Path { arguments } = bench;
    let instead = "run `sudo -E cargo xtask bench path`";
    missing::require_root("the bench makes network namespaces", instead)?;
    setup::run()?;
    let sluice = build::sluice(true)?;
    let binary = demo::binary("sluice-bench", true)?;
    demo::exec(cargo::command(&binary).arg("path").args(arguments).env("SLUICE_BIN", sluice))
}
