//! The `sluice` command.

use std::process::ExitCode;

use clap::{Parser, error::ErrorKind};
use sluice::{
    cli,
    config::{Command, Config, Flags, flags::ListCommand},
    controller,
    dataplane::aya::interfaces,
    logging,
};

/// The exit code for flags and files that cannot be obeyed.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => return refuse(&error),
    };
    logging::start(flags.v);
    match flags.command.clone() {
        Some(command) => finish(inspect(&command)),
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
fn refuse(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        print!("{error}");
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    eprintln!("sluice: {line}; see `sluice --help`");
    ExitCode::from(BAD_USAGE)
}

fn inspect(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Service(ListCommand::List(args)) => {
            print!("{}", cli::service::list(&args.bpf_root, args.output)?);
        }
        Command::Flow(ListCommand::List(args)) => {
            print!("{}", cli::flow::list(&args.bpf_root, args.output)?);
        }
        Command::Cleanup(args) => {
            for line in interfaces::cleanup(&args.bpf_root)? {
                println!("{line}");
            }
        }
    }
    Ok(())
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
