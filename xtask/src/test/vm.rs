//! The rung `vm`: real kernels under QEMU, which `docs/kernel-support.md` lists.
//!
//! A guest sees this machine's files, read-only, below a layer of its own, so it runs the very
//! programs that were built here. QEMU emulates the processor (TCG): KVM is not asked for, because
//! the machines that CI runs on are guests themselves.

mod boot;
mod guest;
mod kernel;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::cargo_test::{Count, GUESTS, test_program};
use crate::{cargo, setup, step::Step};
use guest::Job;
use kernel::Kernel;

/// What the guests run in every climb of the ladder.
const ALWAYS: [&str; 2] = ["verifier", "packets"];
/// What they run as well when the rung is named: a test target and a filter.
const NAMED: [(&str, &str); 3] =
    [("node", "without_tcx"), ("cluster", "paths::bridge"), ("cluster", GUESTS)];

/// Thousands of packets, which say nothing about a kernel and take an emulated one a minute.
const RANDOM: &str = "explain::";

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
    let mut jobs = Vec::new();
    let named = NAMED.iter().filter(|_| is_named).copied();
    for (target, filter) in ALWAYS.map(|target| (target, "")).into_iter().chain(named) {
        let mut arguments = vec!["--test-threads=1".to_owned(), "--color=never".to_owned()];
        arguments.extend(OLDER_THAN_A_GUEST.map(|name| format!("--skip={name}")));
        arguments.push(format!("--skip={RANDOM}"));
        arguments.extend(extra.iter().cloned());
        arguments.extend((!filter.is_empty()).then(|| filter.to_owned()));
        jobs.push(Job { program: test_program(target)?, arguments });
    }
    let mut count = Count::default();
    for kernel in kernels()? {
        count.add_up(climb(&kernel, sluice, &jobs)?);
    }
    Ok(count)
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

fn climb(kernel: &Kernel, sluice: &Path, jobs: &[Job]) -> Result<Count> {
    let image = kernel.fetch()?;
    let initrd = guest::initrd(&image, sluice, jobs)?;
    let step = Step::start(&format!("booting Linux {}", kernel.version));
    let mut count = Count::default();
    let finished = boot::run(&image, &initrd, |line| {
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
