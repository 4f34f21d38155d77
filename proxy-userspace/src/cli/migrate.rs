//! `sluice migrate`: what is found and done, in words.

use super::output::Output;
use crate::{
    dataplane::aya::Error,
    migrate::{Plan, RolledBack, leftovers::Leftover},
};

/// The plan as text.
pub fn plan(plan: &Plan, output: Output) -> Result<String, Error> {
    if output == Output::Json {
        return serde_json::to_string_pretty(plan).map_err(|e| Error::new("printing JSON", e));
    }
    let mut text = String::new();
    for sign in &plan.kube_proxy {
        text += &format!("kube-proxy runs: {sign}\n");
    }
    for objection in &plan.objections {
        text += &format!("not yet: {objection}\n");
    }
    if plan.leftovers.is_empty() {
        return Ok(text + "nothing of kube-proxy's is left\n");
    }
    Ok(text + &list(&plan.leftovers)? + "\n")
}

/// The list of what is kube-proxy's.
fn list(leftovers: &[Leftover]) -> Result<String, Error> {
    let header = ["ACTION", "SYSTEM", "FAMILY", "TABLE", "KIND", "NAME", "REASON"];
    Output::Table.print(leftovers, &header, |item| {
        let action = if item.remove { "remove" } else { "keep" };
        [action, item.system, item.family, &item.table, item.kind, &item.name, &item.reason]
            .map(str::to_owned)
            .into()
    })
}

/// What `apply` did.
pub fn applied(leftovers: &[Leftover]) -> String {
    let (gone, kept): (Vec<_>, Vec<_>) = leftovers.iter().partition(|item| item.remove);
    let mut text = String::new();
    for Leftover { system, family, table, kind, name, .. } in &gone {
        text += &format!("removed {system} {family} {table}: {kind} {name}\n");
    }
    for Leftover { system, family, table, name, reason, .. } in &kept {
        text += &format!("kept {system} {family} {table}: {name}, because {reason}\n");
    }
    if gone.is_empty() {
        text += "nothing of kube-proxy's was left\n";
    }
    text
}

/// What `rollback` did.
pub fn rolled_back(done: &RolledBack) -> String {
    let mut text: String = done.removed.iter().map(|line| format!("removed {line}\n")).collect();
    text += &format!("{} connections go on in netfilter\n", done.handed.connections);
    if done.handed.lost > 0 {
        text += &format!("{} connections could not be handed over\n", done.handed.lost);
    }
    text
}
