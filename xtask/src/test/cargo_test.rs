//! Runs `cargo test`, shows what it says, and adds up its result lines.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{cargo, step};

/// Tests that want of the kernel what this machine's may lack, by the name of their module: they run
/// in guests only.
pub(super) const GUESTS: &str = "guest::";

/// The sum of the `test result:` lines of one rung.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) passed: u64,
    pub(super) failed: u64,
    ignored: u64,
}

/// Unit and property tests of the crates that need no privileges.
pub(super) fn unit(arguments: &[String]) -> Result<Count> {
    let mut command = cargo::cargo("test");
    command.args(["--locked", "--no-fail-fast"]);
    for package in ["sluice-common", "sluice", "xtask"] {
        command.args(["--package", package]);
    }
    command.arg("--").args(arguments);
    count("unit", &mut command)
}

/// One test target of `sluice-tests`. Its tests share the machine (namespaces, CPU, kernel
/// limits), so they run one at a time.
pub(super) fn privileged(
    target: &str,
    sluice: &Path,
    arguments: &[String],
    environment: &[(&str, String)],
) -> Result<Count> {
    let mut command = cargo::cargo("test");
    command.args(["--locked", "--package", "sluice-tests", "--test", target, "--"]);
    command.arg("--test-threads=1").arg(format!("--skip={GUESTS}")).args(arguments);
    command.env("SLUICE_BIN", sluice);
    command.envs(environment.iter().map(|(name, value)| (*name, value)));
    let count = count(target, &mut command)?;
    if count.ignored > 0 {
        bail!("{target}: {} tests were ignored; a privileged test never skips", count.ignored);
    }
    Ok(count)
}

/// The program of a test target of `sluice-tests`, built.
pub(super) fn test_program(target: &str) -> Result<PathBuf> {
    let mut command = cargo::cargo("test");
    command.args(["--locked", "--package", "sluice-tests", "--test", target]);
    let output = command
        .args(["--no-run", "--message-format=json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("building the tests {target}"))?;
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages = messages.lines().filter_map(|line| serde_json::from_str(line).ok());
    let program = |message: serde_json::Value| {
        (message["target"]["name"] == target)
            .then(|| message["executable"].as_str().map(PathBuf::from))
            .flatten()
    };
    let program = messages.filter_map(program).next_back();
    program.with_context(|| format!("building the tests {target} failed"))
}

fn count(name: &str, command: &mut Command) -> Result<Count> {
    let mut log = step::log_file(name)?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting cargo test for {name}"))?;
    let output = child.stdout.take().context("the output of cargo test")?;
    let mut count = Count::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.with_context(|| format!("reading the output of the tests {name}"))?;
        let line = String::from_utf8_lossy(&line);
        count.add(&line);
        println!("{line}");
        writeln!(log, "{line}").with_context(|| format!("writing the log of {name}"))?;
    }
    let status = child.wait().with_context(|| format!("waiting for the tests {name}"))?;
    if !status.success() && count.failed == 0 {
        bail!("cargo test for {name} ended without a result ({status})");
    }
    Ok(count)
}

impl Count {
    /// Adds the sum of another run.
    pub(super) fn add_up(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }

    /// Adds `test result: ok. 3 passed; 0 failed; 1 ignored; …`; other lines add nothing.
    pub(super) fn add(&mut self, line: &str) {
        let Some((_, results)) = line.split_once("test result: ") else { return };
        let results = results.split_once(". ").map_or(results, |(_, numbers)| numbers);
        for part in results.split(';') {
            let Some((number, what)) = part.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn result_lines_add_up() {
        let mut count = Count::default();
        count.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out");
        count.add("test model::it_works ... ok");
        count.add("test result: FAILED. 2 passed; 4 failed; 0 ignored; finished in 0.10s");
        assert_eq!(count, Count { passed: 5, failed: 4, ignored: 1 });
    }
}
