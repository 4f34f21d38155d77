//! The rung `vm`: real kernels under QEMU, which `docs/kernel-support.md` lists.
//!
//! A guest sees this machine's files, read-only, below a layer of its own, so it runs the very
//! programs that were built here. QEMU emulates the processor (TCG): KVM is not asked for, because
//! the machines that CI runs on are guests themselves.

mod boot;
mod guest;
mod kernel;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::cargo_test::{Count, GUESTS, test_program};
use crate::{cargo, setup, step::Step};
use guest::Job;
use kernel::Kernel;

/// What the guests run in every climb of the ladder: a test target and a filter.
const ALWAYS: [(&str, &str); 2] = [("verifier", ""), ("packets", "")];
/// What they run as well when the rung is named.
const NAMED: [(&str, &str); 6] = [
    ("node", GUESTS),
    ("node", "without_tcx"),
    ("testbed", GUESTS),
    ("cluster", "paths::bridge"),
    ("cluster", GUESTS),
    ("e2e", GUESTS),
];

/// A guest that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(900);
/// The same when the rung is named.
const NAMED_PATIENCE: Duration = Duration::from_secs(3600);

/// Thousands of packets or entries, which say nothing about a kernel and take an emulated one
/// minutes.
const THOUSANDS: [&str; 3] = ["explain::", "flood::", "tuples::where_no_"];

/// These wait for flows to grow older than a guest gets.
const OLDER_THAN_A_GUEST: [&str; 4] = [
    "affinity::a71_every_new_connection_renews_the_choice",
    "affinity::a71_packets_of_a_known_flow_renew_nothing",
    "tuples::a_masquerade_that_is_taken_over_begins_anew",
    "tuples::an_idle_flow_gives_its_tuple_up",
];

/// Boots every kernel of the list, one after the other.
///
/// What is only worth its time when somebody asks for this rung by name is left out otherwise.
pub(super) fn run(sluice: &Path, is_named: bool, extra: &[String]) -> Result<Count> {
    setup::emulator()?;
    let jobs = jobs(is_named, extra)?;
    let patience = if is_named { NAMED_PATIENCE } else { PATIENCE };
    let mut count = Count::default();
    for kernel in kernels()? {
        count.add_up(climb(&kernel, sluice, &jobs, patience)?);
    }
    Ok(count)
}

/// Filters on the command line stand in the place of the list's.
fn jobs(is_named: bool, extra: &[String]) -> Result<Vec<Job>> {
    let is_filtered = extra.iter().any(|argument| !argument.starts_with('-'));
    let mut jobs: Vec<Job> = Vec::new();
    for (target, filter) in ALWAYS.into_iter().chain(NAMED.into_iter().filter(|_| is_named)) {
        let program = test_program(target)?;
        if is_filtered && jobs.iter().any(|job| job.program == program) {
            continue;
        }
        let mut arguments = vec!["--test-threads=1".to_owned(), "--color=never".to_owned()];
        let left_out = OLDER_THAN_A_GUEST.iter().chain(&THOUSANDS);
        arguments.extend(left_out.map(|name| format!("--skip={name}")));
        arguments.extend(extra.iter().cloned());
        arguments.extend((!is_filtered && !filter.is_empty()).then(|| filter.to_owned()));
        jobs.push(Job { program, arguments });
    }
    Ok(jobs)
}

fn kernels() -> Result<Vec<Kernel>> {
    let list = cargo::root().join("docs/kernel-support.md");
    let text = std::fs::read_to_string(&list)
        .with_context(|| format!("reading the list of kernels {}", list.display()))?;
    let kernels = kernel::parse(&text);
    if kernels.is_empty() {
        bail!("{} lists no kernel that Debian serves", list.display());
    }
    Ok(kernels)
}

fn climb(kernel: &Kernel, sluice: &Path, jobs: &[Job], patience: Duration) -> Result<Count> {
    let image = kernel.fetch()?;
    let initrd = guest::initrd(&image, sluice, jobs)?;
    let step = Step::start(&format!("booting Linux {}", kernel.version));
    let mut count = Count::default();
    let finished = boot::run(&image, &initrd, patience, |line| {
        count.add(line);
        println!("{line}");
    });
    match finished {
        Ok(()) => step.done(),
        Err(error) => {
            step.failed();
            return Err(error.context(format!("Linux {}", kernel.version)));
        }
    }
    if count == Count::default() {
        bail!("Linux {}: the guest ran no test", kernel.version);
    }
    Ok(count)
}

/// A kernel, unpacked.
struct Image {
    /// What `uname -r` says there.
    release: String,
    /// The folder that holds `boot` and `lib/modules`.
    root: PathBuf,
}
