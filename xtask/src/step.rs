//! One line for each step: what, how long, and on failure the end of its log.

use std::{
    fs::{self, File},
    io::IsTerminal,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cargo;

/// How much of a failed step's log is worth a screen.
const TAIL: usize = 60;

/// A running step. It ends with [`Step::done`] or [`Step::failed`].
pub(crate) struct Step {
    what: String,
    began: Instant,
    bar: Option<ProgressBar>,
}

impl Step {
    /// Says what is being done: with a spinner on a terminal, with a plain line elsewhere.
    pub(crate) fn start(what: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| spinner(what));
        if bar.is_none() {
            eprintln!("  ....  {what}");
        }
        Self { what: what.to_owned(), began: Instant::now(), bar }
    }

    /// The step succeeded.
    pub(crate) fn done(self) {
        self.end("  ok  ");
    }

    /// The step failed; the caller prints why.
    pub(crate) fn failed(self) {
        self.end("FAILED");
    }

    fn end(self, word: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{word}  {} ({})", self.what, seconds(self.began.elapsed()));
    }
}

fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(what.to_owned());
    let style = ProgressStyle::with_template("  {spinner}   {msg} ({elapsed})");
    bar.set_style(style.expect("the template is a constant"));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// A duration for people: `0.4 s`, `12 s`, `3 min 05 s`.
pub(crate) fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f32()),
        whole @ 10..60 => format!("{whole} s"),
        whole => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

/// The file that holds the output of the step with this short name.
pub(crate) fn log_path(name: &str) -> PathBuf {
    cargo::target().join("xtask").join(name).with_extension("log")
}

/// Opens the log of a step, emptied.
pub(crate) fn log_file(name: &str) -> Result<File> {
    let path = log_path(name);
    fs::create_dir_all(path.parent().expect("a file in a folder"))
        .and_then(|()| File::create(&path))
        .with_context(|| format!("creating the log {}", path.display()))
}

/// Runs a command as one step, its output in `target/xtask/NAME.log`.
pub(crate) fn run(name: &str, what: &str, command: &mut Command) -> Result<()> {
    let log = log_file(name)?;
    let errors = log.try_clone().context("sharing the log")?;
    let step = Step::start(what);
    command.env("CARGO_TERM_COLOR", "never");
    let status = command.stdin(Stdio::null()).stdout(log).stderr(errors).status();
    match status {
        Ok(status) if status.success() => {
            step.done();
            Ok(())
        }
        Ok(status) => {
            step.failed();
            let path = log_path(name);
            print_tail(&path);
            bail!("{what} failed ({status}); the whole log is {}", path.display())
        }
        Err(error) => {
            step.failed();
            let program = command.get_program().to_string_lossy().into_owned();
            Err(error).with_context(|| format!("{what}: starting {program}"))
        }
    }
}

fn print_tail(path: &Path) {
    let text = fs::read_to_string(path).unwrap_or_else(|e| format!("(no log: {e})"));
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(TAIL)..] {
        eprintln!("    {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_naturally() {
        assert_eq!(seconds(Duration::from_millis(420)), "0.4 s");
        assert_eq!(seconds(Duration::from_secs(59)), "59 s");
        assert_eq!(seconds(Duration::from_secs(185)), "3 min 05 s");
    }
}
