//! Random and damaged packets through the programs, held against a reference in user space.
//!
//! A seed determines a *life*: a few packets of a flow, or of flows that meet, from empty tables on.
//! `cargo xtask fuzz --count N --seed S` lives N of them, from seed S on. A life that fails is printed
//! with its seed and kept as a file of `corpus/`, whose files are lived again by every run.

mod generate;
mod mutate;
mod random;
mod reference;
mod universe;

use std::{
    collections::VecDeque,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
    time::Instant,
};

use generate::Step;
use nix::sched::{CloneFlags, unshare};
use random::Random;
use reference::Reference;
use sluice_common::reason::Reason;
use testbed::packet::{Hook, Lab};

/// Packets of a run that is told no number: CI's.
const COUNT: u64 = 100_000;
/// Its first seed. Every run of CI takes the same way.
const SEED: u64 = 1;
/// Packets of one life.
const STEPS: usize = 8;

/// What the packets must have met, lest the generator come to miss it.
const MET: &[Reason] = &[
    Reason::NewFlow,
    Reason::Forward,
    Reason::Reply,
    Reason::Masquerade,
    Reason::MasqueradeReply,
    Reason::Rechosen,
    Reason::Claim,
    Reason::Direct,
    Reason::IcmpError,
    Reason::IcmpRedirect,
    Reason::Fragment,
    Reason::EarlyFragment,
    Reason::SctpFragment,
    Reason::NoEndpoints,
    Reason::NoLocalEndpoint,
];

/// What a life did: for the message and the file when it fails.
type Trail = Vec<Step>;

/// A packet that went on, as it came and as it went.
type Passed = (Step, Vec<u8>);

/// Runs a test where released fragments go nowhere: a new namespace's loopback is down.
fn isolated(test: impl FnOnce(&mut Lab) + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a namespace for this thread");
            test(&mut universe::lab());
        });
        thread.join().unwrap_or_else(|panic| resume_unwind(panic));
    });
}

/// One packet through a program and the reference.
fn step(lab: &mut Lab, reference: &mut Reference, (hook, frame): &Step) -> Option<Vec<u8>> {
    let seen = lab.pass(*hook, frame);
    reference.check(*hook, frame, &seen)
}

/// The life that `seed` determines.
fn live(lab: &mut Lab, seed: u64, trail: &mut Trail) {
    let mut random = Random::new(seed);
    let mut reference = Reference::default();
    let mut known: Vec<Passed> = vec![];
    let mut waiting = VecDeque::new();
    while trail.len() < STEPS {
        let mut next = waiting.pop_front().unwrap_or_else(|| choose(&mut random, &known));
        if waiting.is_empty() && random.once_in(8) {
            waiting.extend(generate::fragments(&mut random, &next).unwrap_or_default());
            next = waiting.pop_front().unwrap_or(next);
        }
        if random.once_in(3) {
            mutate::mutate(&mut random, &mut next.1);
        }
        trail.push(next.clone());
        if let Some(frame) = step(lab, &mut reference, &next) {
            known.push((next, frame));
        }
        if reference.lost_track {
            return;
        }
    }
}

/// A packet that follows on one of the life, or begins something.
fn choose(random: &mut Random, known: &[Passed]) -> Step {
    if known.is_empty() || random.once_in(4) {
        return generate::beginning(random);
    }
    // The latest most often.
    let back = random.below(known.len().min(3));
    let ((hook, before), after) = &known[known.len() - 1 - back];
    if random.once_in(3) {
        return (*hook, generate::flagged(random, before));
    }
    generate::next(random, *hook, after).unwrap_or_else(|| generate::beginning(random))
}

/// Runs a life; when it fails, says which it was, and keeps it.
fn survive(lab: &mut Lab, name: &str, life: impl FnOnce(&mut Lab, &mut Trail)) {
    lab.forget_flows();
    let mut trail = vec![];
    let result = catch_unwind(AssertUnwindSafe(|| life(lab, &mut trail)));
    let Err(panic) = result else { return };
    eprintln!("{name} failed at its last packet:");
    for (hook, frame) in &trail {
        eprintln!("  {hook:?} {}\n    {}", generate::describe(frame), hex(frame));
    }
    let path = corpus().join(format!("{name}.hex"));
    if !path.exists() {
        let lines: String =
            trail.iter().map(|(hook, frame)| format!("{hook:?} {}\n", hex(frame))).collect();
        fs::write(&path, lines).expect("keeping the life");
        eprintln!("kept as {}", path.display());
    }
    resume_unwind(panic);
}

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn hex(frame: &[u8]) -> String {
    frame.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A line of a corpus file.
fn read(line: &str) -> Step {
    let (hook, digits) = line.split_once(' ').expect("a hook and a frame");
    let hook = if hook == "Ingress" { Hook::Ingress } else { Hook::Egress };
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    (hook, (0..digits.len()).step_by(2).map(byte).collect())
}

/// A number from the environment, which `cargo xtask fuzz` sets.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

#[test]
fn kept_lives() {
    isolated(|lab| {
        let mut files: Vec<PathBuf> = fs::read_dir(corpus())
            .expect("the corpus")
            .map(|f| f.expect("a file").path())
            .collect();
        files.sort();
        for path in files.iter().filter(|path| path.extension().is_some_and(|e| e == "hex")) {
            let text = fs::read_to_string(path).expect("a life");
            let name = path.file_stem().expect("a name").to_string_lossy();
            survive(lab, &name, |lab, trail| {
                let mut reference = Reference::default();
                for line in text.lines() {
                    trail.push(read(line));
                    step(lab, &mut reference, &trail[trail.len() - 1]);
                }
            });
        }
    });
}

#[test]
fn random_lives() {
    let (count, seed) = (number("SLUICE_FUZZ_COUNT", COUNT), number("SLUICE_FUZZ_SEED", SEED));
    isolated(|lab| {
        let began = Instant::now();
        let before: Vec<u64> = MET.iter().map(|reason| lab.counted(*reason)).collect();
        let lives = count.div_ceil(STEPS as u64);
        for seed in seed..seed + lives {
            survive(lab, &format!("seed-{seed}"), |lab, trail| live(lab, seed, trail));
        }
        let seconds = began.elapsed().as_secs_f64();
        println!("{lives} lives in {seconds:.1} s, seeds {seed} to {}", seed + lives - 1);
        for (reason, before) in MET.iter().zip(before) {
            let count = lab.counted(*reason) - before;
            println!("{count:>10} {}", reason.label());
            assert!(count > 0 || lives < 1000, "no packet met {reason:?}");
        }
    });
}
