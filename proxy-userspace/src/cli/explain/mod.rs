//! `sluice explain`: what becomes of a packet, and why.

mod args;
mod node;
mod objects;
mod print;

#[cfg(test)]
mod tests;

pub use args::Explain;

use super::Output;
use crate::{dataplane::aya::Error, explain};

/// Why there is no answer.
#[derive(Debug)]
pub enum Refusal {
    /// The arguments, or the files they name, cannot be obeyed: one line.
    Usage(String),
    /// Something else went wrong.
    Failed(anyhow::Error),
}

impl Refusal {
    fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Explain {
    /// Answers, as text.
    pub fn run(self) -> Result<String, Refusal> {
        let (from, to) = (self.from.clone(), self.to);
        if from.address.is_ipv4() != to.socket.is_ipv4() {
            return Err(Refusal::usage(format!(
                "--from {} and --to {} are not of one family; give two IPv4 or two IPv6 addresses",
                from.address,
                to.socket.ip()
            )));
        }
        let (output, source_port) = (self.output, self.from_port);
        let (view, input) = match self.flags.manifests.clone() {
            Some(folder) => objects::view(self, &folder)?,
            None => node::view(&self)?,
        };
        let question = explain::Question {
            source: from.address,
            source_port,
            input,
            destination: to.socket,
            protocol: to.protocol,
        };
        let answer = explain::explain(&view, &question);
        match output {
            Output::Json => print::json(&answer).map_err(|e| Refusal::Failed(e.into())),
            Output::Table => Ok(print::text(&from, to, &answer)),
        }
    }
}
