//! The `sluice` command.

use std::{path::Path, process::ExitCode};

use anyhow::Context;
use clap::error::ErrorKind;
use sluice::{
    cli,
    config::{Command, Config, DEFAULT_VERBOSITY, Flags, flags::ListCommand, watch::FileWatch},
    dataplane::aya::interfaces,
    logging, node, process,
};

/// The exit code for flags and files that cannot be obeyed.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    let flags = match Flags::read(std::env::args_os()) {
        Ok(flags) => flags,
        Err(error) => return refuse(&error),
    };
    if let Some(when) = flags.version.as_deref().filter(|when| *when != "false") {
        print_version(when);
        return ExitCode::SUCCESS;
    }
    if let Some(command) = flags.command.clone() {
        logging::start(flags.v.unwrap_or(DEFAULT_VERBOSITY), false);
        return finish(inspect(&command));
    }
    if flags.cleanup == Some(true) {
        logging::start(flags.v.unwrap_or(DEFAULT_VERBOSITY), false);
        return finish(cleanup(&flags.bpf_root));
    }
    start(flags)
}

/// Runs as kube-proxy does, or does the part of it that a flag asks for.
fn start(flags: Flags) -> ExitCode {
    // Before the file is read, so that no change falls between.
    let file = flags.config.as_deref().map(FileWatch::new);
    let (write_to, init_only) = (flags.write_config_to.clone(), flags.init_only == Some(true));
    let config = match Config::from_flags(flags) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("sluice: {error}");
            return ExitCode::from(BAD_USAGE);
        }
    };
    logging::start(config.verbosity, config.json_log);
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    config.notes.iter().for_each(|note| tracing::info!("{note}"));
    match write_to {
        Some(path) => finish(write_config(&config, &path)),
        None if init_only => finish(node::sysctl::apply(Path::new("/"), &config.kube.conntrack)),
        None => finish(run(config, file)),
    }
}

/// `kube-proxy --version` names the Kubernetes release that it belongs to; so do we.
fn print_version(when: &str) {
    let (version, kubernetes) = (env!("CARGO_PKG_VERSION"), sluice::KUBERNETES);
    match when {
        "raw" => println!("{version}"),
        _ => println!("sluice {version} (Kubernetes {kubernetes})"),
    }
}

fn write_config(config: &Config, path: &Path) -> anyhow::Result<()> {
    let text = serde_saphyr::to_string(&config.kube)?;
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    tracing::info!(file = %path.display(), "wrote the configuration");
    Ok(())
}

fn cleanup(bpf_root: &Path) -> anyhow::Result<()> {
    for line in interfaces::cleanup(bpf_root)? {
        println!("{line}");
    }
    Ok(())
}

/// Help as clap prints it; an error as one line.
fn refuse(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp) {
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
        Command::Cleanup(args) => cleanup(&args.bpf_root)?,
    }
    Ok(())
}

fn run(config: Config, file: Option<FileWatch>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(process::run(config, file))
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
