//! `cargo xtask test`: the ladder, from the cheapest rung to the dearest, one after the other.

mod cargo_test;
mod rungs;
mod vm;

use std::{process::ExitCode, time::Instant};

use anyhow::Result;

use crate::{build, check, image, missing, setup, step};
use cargo_test::Count;
use rungs::Rung;

/// The rung that runs the image.
const IN_CONTAINERS: &str = "dropin";

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The rungs to climb, in any order; all when none is named
    rungs: Vec<String>,
    /// Passed to the test programs: a filter, `--nocapture`
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// What became of a rung.
struct Outcome {
    rung: Rung,
    count: Count,
    failed: bool,
}

/// Climbs the rungs in order. A failure does not hide what the rungs above it would say.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let selected = rungs::select(&rungs::all()?, &args.rungs)?;
    let privileged: Vec<_> =
        selected.iter().filter(|r| r.is_privileged()).map(Rung::name).collect();
    if !privileged.is_empty() {
        let what = format!("running the tests {}", privileged.join(", "));
        let instead =
            "run `sudo -E cargo xtask test`, or name rungs: `cargo xtask test check unit`";
        missing::require_root(&what, instead)?;
    }
    let toolchain = setup::run()?;
    let mut outcomes = Vec::new();
    for rung in selected {
        let name = rung.name().to_owned();
        eprintln!("\n== {name}");
        let began = Instant::now();
        let outcome = climb(rung, &toolchain, args);
        let word = if outcome.failed { "FAILED" } else { "ok" };
        eprintln!("== {name}: {word} in {}", step::seconds(began.elapsed()));
        outcomes.push(outcome);
    }
    Ok(summary(&outcomes))
}

/// The rung `fuzz`, with other numbers than CI's.
pub(crate) fn fuzz(count: u64, seed: u64) -> Result<ExitCode> {
    let environment = [("SLUICE_FUZZ_COUNT", count), ("SLUICE_FUZZ_SEED", seed)];
    let environment = environment.map(|(name, number)| (name, number.to_string()));
    let binary = build::sluice(false)?;
    let arguments = ["--nocapture".to_owned()];
    let count = cargo_test::privileged("fuzz", &binary, &arguments, &environment)?;
    Ok(if count.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn climb(rung: Rung, toolchain: &setup::Toolchain, args: &Args) -> Outcome {
    let result = match &rung {
        Rung::Check => check::all(toolchain).map(|()| Count::default()),
        Rung::Unit => cargo_test::unit(&args.arguments),
        Rung::Privileged(target) => privileged(target, &args.arguments),
        Rung::Vm => build::sluice(false)
            .and_then(|binary| vm::run(&binary, !args.rungs.is_empty(), &args.arguments)),
    };
    match result {
        Ok(count) => Outcome { failed: count.failed > 0, rung, count },
        Err(error) => {
            eprintln!("error: {error:#}");
            Outcome { rung, count: Count::default(), failed: true }
        }
    }
}

/// The image comes first, because both leave their binary in the same place.
fn privileged(target: &str, arguments: &[String]) -> Result<Count> {
    let mut environment = Vec::new();
    if target == IN_CONTAINERS {
        let image = image::build(&image::Args::for_tests())?;
        environment.push(("SLUICE_IMAGE", image.display().to_string()));
    }
    let binary = build::sluice(false)?;
    cargo_test::privileged(target, &binary, arguments, &environment)
}

/// The closing line. A rung that failed without a failed test (it does not compile, a check is
/// broken, a test was skipped) counts as one failure, so that the line never reads as a success.
fn summary(outcomes: &[Outcome]) -> ExitCode {
    let passed: u64 = outcomes.iter().map(|o| o.count.passed).sum();
    let failed: u64 = outcomes.iter().map(|o| o.count.failed.max(o.failed.into())).sum();
    let broken: Vec<_> = outcomes.iter().filter(|o| o.failed).map(|o| o.rung.name()).collect();
    println!();
    if !broken.is_empty() {
        println!("failed: {}", broken.join(", "));
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
