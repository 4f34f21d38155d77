//! Ctrl-C: everything the demo made goes before the process does.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

/// Held by whoever makes or removes something, and for good by the end that a signal brings.
static HANDS: Mutex<()> = Mutex::new(());

/// The exit code of a command that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Blocks the signals in this thread and those it starts, and waits for them in one of its own.
///
/// Call it before any other thread exists.
pub(crate) fn watch() -> Result<()> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals.thread_block().context("blocking SIGINT and SIGTERM")?;
    thread::spawn(move || {
        if signals.wait().is_ok() {
            // Never given back: the main thread stops at its next step, and sees nothing vanish.
            let _for_good = hands();
            eprintln!("\nsluice-demo: interrupted, cleaning up");
            testbed::remove_own();
            std::process::exit(INTERRUPTED);
        }
    });
    Ok(())
}

/// While it is held no signal takes apart what is being made. Blocks for ever once one came.
pub(crate) fn hands() -> MutexGuard<'static, ()> {
    HANDS.lock().unwrap_or_else(PoisonError::into_inner)
}
