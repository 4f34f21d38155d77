//! Log lines on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Starts logging at klog's verbosity: 0 and 1 errors and warnings, 2 and 3 information, 4 and 5
/// debugging, 6 and up everything, libraries included. `RUST_LOG` overrides it. With `json`, each
/// line is an object.
pub fn start(verbosity: u8, json: bool) {
    let level = match verbosity {
        0 | 1 => "warn",
        2 | 3 => "warn,sluice=info",
        4 | 5 => "info,sluice=debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Colours are for people: in a file or a Pod's log they are noise.
    let log = log.with_ansi(io::stderr().is_terminal());
    match json {
        true => log.json().flatten_event(true).init(),
        false => log.init(),
    }
}
