//! The decisions on the way to an answer, in plain words.

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Number of the rule in the contract; `None` for what only helps to understand.
    pub rule: Option<&'static str>,
    /// What it says of this packet.
    pub text: String,
}

/// Decisions in their order.
#[derive(Debug, Default)]
pub(super) struct Steps(Vec<Step>);

impl Steps {
    /// Adds a rule that was applied.
    pub(super) fn rule(&mut self, rule: &'static str, text: impl Into<String>) {
        self.0.push(Step { rule: Some(rule), text: text.into() });
    }

    /// Adds what no rule says, but a reader wants to know.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.0.push(Step { rule: None, text: text.into() });
    }

    pub(super) fn finish(self) -> Vec<Step> {
        self.0
    }
}
