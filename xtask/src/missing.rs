//! What the machine or the caller lacks: one clear line, and exit code 2.

use anyhow::Result;

/// A tool or a privilege is missing; the text says which, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Missing(pub(crate) String);

/// Refuses to go on without root, which `what` needs; `instead` says what to run.
pub(crate) fn require_root(what: &str, instead: &str) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    Err(Missing(format!("{what}: this needs root; {instead}")).into())
}

/// Whether this process may install packages, make namespaces and load programs.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
