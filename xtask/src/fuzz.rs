//! `cargo xtask fuzz`: many more random packets than the rung `fuzz` takes.

use std::{
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};

use crate::{missing, setup, test};

const SECONDS_OF_A_DAY: u64 = 86_400;

/// Options of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Packets
    #[arg(long, default_value_t = 10_000_000)]
    count: u64,
    /// The first life's seed; the number of the day when it is not given
    #[arg(long)]
    seed: Option<u64>,
}

/// Sets up and runs the rung with these numbers.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    missing::require_root("fuzzing", "run `sudo -E cargo xtask fuzz`")?;
    setup::run()?;
    let seed = args.seed.map_or_else(todays_seed, Ok)?;
    test::fuzz(args.count, seed)
}

/// Far enough from yesterday's that no night repeats the one before.
fn todays_seed() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?;
    Ok((now.as_secs() / SECONDS_OF_A_DAY) << 32)
}
