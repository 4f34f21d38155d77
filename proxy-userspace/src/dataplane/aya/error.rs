//! What an operator reads when the kernel says no: action, object, cause, next step.

use std::{fmt, io};

use super::rights;

/// Why something could not be done.
#[derive(Debug)]
pub struct Error {
    /// What was tried, with its object: "attaching to eth0".
    pub action: String,
    /// The cause, in the words of whoever refused.
    pub cause: String,
    /// What to do about it, where that is known.
    pub next: Option<String>,
}

impl Error {
    /// An error without advice.
    pub fn new(action: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self { action: action.into(), cause: cause.to_string(), next: None }
    }

    /// An error of the operating system; says which rights are lacking when it was those.
    pub fn os(action: impl Into<String>, cause: &io::Error) -> Self {
        let error = Self::new(action, cause);
        match cause.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => error.advise(rights::advice()),
            _ => error,
        }
    }

    /// The same error with a next step.
    #[must_use]
    pub fn advise(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.action, self.cause)?;
        match &self.next {
            Some(next) => write!(f, "; {next}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
