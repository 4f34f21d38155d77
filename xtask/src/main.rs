//! `cargo xtask`: every command a person or CI runs, with all of its own set-up.

mod bench;
mod build;
mod cache;
mod cargo;
mod check;
mod demo;
mod fuzz;
mod image;
mod missing;
mod setup;
mod step;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::missing::Missing;

/// Set-up, build, check, test, demo and bench of Sluice.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install or find everything the other commands need (they call it themselves)
    Setup,
    /// Build the kernel programs and the binary `sluice`
    Build(build::Args),
    /// Format, clippy (host and BPF), documentation, tidy rules
    Check,
    /// Set-up, check, and every rung of tests; or the named rungs only
    Test(test::Args),
    /// Hold the kernel programs against a reference, with random packets
    Fuzz(fuzz::Args),
    /// Build a container image, as an OCI archive
    Image(image::Args),
    /// Show services being load-balanced between network namespaces of this machine
    Demo(demo::Args),
    /// Measure
    #[command(subcommand)]
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            // 2 says "nothing was tried": the machine lacks something, the message says what.
            ExitCode::from(if error.is::<Missing>() { 2 } else { 1 })
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup => setup::run().map(|_| ExitCode::SUCCESS),
        Command::Build(args) => build::run(&args).map(|_| ExitCode::SUCCESS),
        Command::Check => check::run().map(|()| ExitCode::SUCCESS),
        Command::Test(args) => test::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Image(args) => image::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(bench) => bench::run(&bench),
    }
}
