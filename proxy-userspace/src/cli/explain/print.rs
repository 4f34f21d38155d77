//! An answer as text or JSON.

use serde::Serialize;

use super::args::{Origin, Target};
use crate::explain::{Answer, Verdict};

/// The answer as programs read it.
#[derive(Serialize)]
struct Row {
    verdict: Verdict,
    backends: Vec<String>,
    masquerade: bool,
    rules: Vec<&'static str>,
    service: String,
}

/// One object on one line.
pub(super) fn json(answer: &Answer) -> serde_json::Result<String> {
    let row = Row {
        verdict: answer.verdict,
        backends: answer.backends.iter().map(ToString::to_string).collect(),
        masquerade: answer.masquerade,
        rules: answer.rules(),
        service: answer.service.clone(),
    };
    Ok(serde_json::to_string(&row)? + "\n")
}

/// A headline, then the decisions, then the backends.
pub(super) fn text(from: &Origin, to: Target, answer: &Answer) -> String {
    let socket = to.socket;
    let protocol = format!("{:?}", to.protocol).to_uppercase();
    let mut text = format!("{from} -> {socket}/{protocol}: {}\n", headline(answer));
    for step in &answer.steps {
        text += &format!("  {:<5}{}\n", step.rule.unwrap_or(""), step.text);
    }
    for backend in &answer.backends {
        text += &format!("  -> {backend}\n");
    }
    text
}

fn headline(answer: &Answer) -> String {
    let service = &answer.service;
    match answer.verdict {
        Verdict::Forward => {
            let source = if answer.masquerade { "masqueraded" } else { "source kept" };
            let count = answer.backends.len();
            let noun = if count == 1 { "backend" } else { "backends" };
            format!("forward to {service}, {count} {noun}, {source}")
        }
        Verdict::Reject if service.is_empty() => "reject".to_owned(),
        Verdict::Reject => format!("reject, for {service}"),
        Verdict::Drop if service.is_empty() => "drop".to_owned(),
        Verdict::Drop => format!("drop, for {service}"),
        Verdict::Untouched => "untouched: not for a service".to_owned(),
    }
}
