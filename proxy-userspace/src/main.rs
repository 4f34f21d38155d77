//! The `sluice` command.

use std::{
    ffi::OsString,
    io::{self, Write},
    iter,
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use clap::error::ErrorKind;
use sluice::{
    cli::{
        self,
        explain::{Explain, Refusal},
    },
    config::{
        Command, Config, DEFAULT_VERBOSITY, Flags,
        flags::{ExplainArgs, ListCommand, MigrateCommand, NodeArgs},
        watch::FileWatch,
    },
    dataplane::aya::{Error, interfaces, pin::Pins},
    logging, migrate, node, process,
};

/// The exit code for flags and files that cannot be obeyed.
const BAD_USAGE: u8 = 2;
/// The exit code of a migration's step that changed nothing, because something has to be done first.
const REFUSED: u8 = 3;

fn main() -> ExitCode {
    let flags = match Flags::read(std::env::args_os()) {
        Ok(flags) => flags,
        Err(error) => return refuse(&error, "sluice --help"),
    };
    if let Some(when) = flags.version.as_deref().filter(|when| *when != "false") {
        return finish(print_version(when));
    }
    if let Some(command) = flags.command.clone() {
        logging::start(flags.v.unwrap_or(DEFAULT_VERBOSITY), false);
        return obey(command);
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
    let only = write_to.is_some() || init_only;
    let checked = Config::from_flags(flags).and_then(|config| match only {
        true => Ok(config),
        false => config.check_kubeconfig().map(|()| config),
    });
    let config = match checked {
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
        None if init_only => finish(init(&config)),
        None => finish(run(config, file)),
    }
}

/// `kube-proxy --version` names the Kubernetes release that it belongs to; so do we.
fn print_version(when: &str) -> anyhow::Result<()> {
    let (version, kubernetes) = (env!("CARGO_PKG_VERSION"), sluice::KUBERNETES);
    match when {
        "raw" => print(&format!("{version}\n")),
        _ => print(&format!("sluice {version} (Kubernetes {kubernetes})\n")),
    }
}

/// What an init container does with more rights, so that the proxy itself needs only CAP_BPF,
/// CAP_NET_ADMIN and CAP_PERFMON. Sysctls are best effort here as they are there: without them the
/// proxy shall start all the same, and it writes the Event.
fn init(config: &Config) -> anyhow::Result<()> {
    Pins::new(&config.bpf_root).mount()?;
    if let Err(error) = node::sysctl::apply(Path::new("/"), &config.kube.conntrack) {
        tracing::warn!("{error:#}");
    }
    Ok(())
}

fn write_config(config: &Config, path: &Path) -> anyhow::Result<()> {
    let text = serde_saphyr::to_string(&config.kube)?;
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    tracing::info!(file = %path.display(), "wrote the configuration");
    Ok(())
}

fn cleanup(bpf_root: &Path) -> anyhow::Result<()> {
    let mut lines = interfaces::cleanup(bpf_root)?;
    lines.extend(migrate::end_translation()?);
    print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
}

/// Prints what was asked for. Whoever reads may stop early, as `head` does: `print!` would panic.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("writing to standard output")
        }
        _ => Ok(()),
    }
}

/// Help as clap prints it; an error as one line.
fn refuse(error: &clap::Error, help: &str) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp) {
        return finish(print(&error.to_string()));
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
        Command::Cleanup(args) => finish(cleanup(&args.bpf_root)),
        Command::Migrate(step) => take_step(step),
    }
}

fn take_step(step: MigrateCommand) -> ExitCode {
    let node = |args: NodeArgs| migrate::Node {
        bpf_root: args.bpf_root,
        metrics: args.metrics_bind_address,
    };
    let done = match step {
        MigrateCommand::Plan(args) => migrate::plan(&node(args.node))
            .and_then(|plan| cli::migrate::plan(&plan, args.output))
            .map_err(migrate::Stop::Failed),
        MigrateCommand::Apply(args) => {
            let insist = migrate::Insist {
                while_kube_proxy_runs: args.while_kube_proxy_runs,
                ignore_missing: args.ignore_missing,
            };
            migrate::apply(&node(args.node), insist).map(|done| cli::migrate::applied(&done))
        }
        MigrateCommand::Rollback(args) => {
            let insist = migrate::Insist {
                ignore_missing: args.ignore_missing,
                ..migrate::Insist::default()
            };
            migrate::rollback(&node(args.node), insist).map(|done| cli::migrate::rolled_back(&done))
        }
    };
    match done {
        Ok(text) => finish(print(&text)),
        Err(migrate::Stop::Failed(error)) => finish(Err(error.into())),
        Err(migrate::Stop::Refused(reasons)) => {
            reasons.iter().for_each(|reason| eprintln!("sluice: {reason}"));
            eprintln!("sluice: nothing was changed");
            ExitCode::from(REFUSED)
        }
    }
}

fn show(text: Result<String, Error>) -> anyhow::Result<()> {
    print(&text?)
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
