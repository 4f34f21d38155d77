//! The `sluice` command.

use std::{ffi::OsString, iter, process::ExitCode};

use clap::{Parser, error::ErrorKind};
use sluice::{
    cli::{
        self,
        explain::{Explain, Refusal},
    },
    config::{
        Command, Config, Flags,
        flags::{CleanupArgs, ExplainArgs, ListCommand},
    },
    controller,
    dataplane::aya::{Error, interfaces},
    logging,
};

/// The exit code for flags and files that cannot be obeyed.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => return refuse(&error, "sluice --help"),
    };
    logging::start(flags.v);
    match flags.command.clone() {
        Some(command) => obey(command),
        None => match Config::from_flags(flags) {
            Ok(config) => finish(run(config)),
            Err(error) => {
                eprintln!("sluice: {error}");
                ExitCode::from(BAD_USAGE)
            }
        },
    }
}

/// Help and version as clap prints them; an error as one line.
fn refuse(error: &clap::Error, help: &str) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        print!("{error}");
        return ExitCode::SUCCESS;
    }
    // Up to the first blank line, an error may name several arguments, one a line.
    let text = error.to_string();
    let lines: Vec<&str> =
        text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let line = lines.join(" ");
    eprintln!("sluice: {}; see `{help}`", line.trim_start_matches("error: "));
    ExitCode::from(BAD_USAGE)
}

fn obey(command: Command) -> ExitCode {
    match command {
        Command::Service(ListCommand::List(args)) => {
            finish(show(cli::service::list(&args.bpf_root, args.output)))
        }
        Command::Flow(ListCommand::List(args)) => {
            finish(show(cli::flow::list(&args.bpf_root, args.output)))
        }
        Command::Explain(args) => explain(args),
        Command::Cleanup(args) => finish(show(cleanup(&args))),
    }
}

fn show(text: Result<String, Error>) -> anyhow::Result<()> {
    print!("{}", text?);
    Ok(())
}

fn cleanup(args: &CleanupArgs) -> Result<String, Error> {
    Ok(interfaces::cleanup(&args.bpf_root)?.into_iter().map(|line| line + "\n").collect())
}

fn explain(args: ExplainArgs) -> ExitCode {
    let name = OsString::from("sluice explain");
    let explain = match Explain::parse_args(iter::once(name).chain(args.args)) {
        Ok(explain) => explain,
        Err(error) => return refuse(&error, "sluice explain --help"),
    };
    match explain.run() {
        Ok(text) => finish(show(Ok(text))),
        Err(Refusal::Usage(line)) => {
            eprintln!("sluice: {line}");
            ExitCode::from(BAD_USAGE)
        }
        Err(Refusal::Failed(error)) => finish(Err(error)),
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(controller::run(config))
}

fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sluice: {error:#}");
            ExitCode::FAILURE
        }
    }
}
