//! What an operator can look at: sluice's own lists, and the maps themselves.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluice::dataplane::aya::pin::Pins;
use testbed::address::service;

use crate::screen::Screen;
use crate::stage::Stage;

/// How many lines of the flow list are shown beside those of the held connection.
const FLOWS: usize = 4;

/// `sluice service list`.
pub(crate) fn services(stage: &Stage, screen: &Screen) -> Result<()> {
    let list = stage.inspect(&["service", "list"])?;
    for wanted in ["demo/web:http", "demo/dns:dns", "10.96.0.80:80", "[fd00:10:96::53]:53"] {
        ensure!(list.contains(wanted), "sluice service list does not name {wanted}:\n{list}");
    }
    screen.command("sluice service list")?;
    Ok(screen.lines(list.lines())?)
}

/// `sluice flow list`: both directions of the held connection, and some others.
pub(crate) fn flows(stage: &Stage, screen: &Screen, held: SocketAddr) -> Result<()> {
    let list = stage.inspect(&["flow", "list"])?;
    let held = held.to_string();
    let (own, others): (Vec<&str>, Vec<&str>) =
        list.lines().skip(1).partition(|line| line.split_whitespace().any(|word| word == held));
    ensure!(!own.is_empty(), "sluice flow list does not know the open connection of {held}");
    screen.command("sluice flow list")?;
    let step = (others.len() / FLOWS).max(1);
    let some = others.iter().step_by(step).take(FLOWS).copied();
    screen.lines(list.lines().take(1).chain(own.iter().copied()).chain(some))?;
    let left = others.len().saturating_sub(FLOWS);
    Ok(screen.line(&format!("... and {left} more"))?)
}

/// `bpftool map dump` of the entry of web's ClusterIP.
pub(crate) fn map(stage: &Stage, screen: &Screen) -> Result<()> {
    let path = Pins::new(stage.node()?.bpf_root()).map("FRONTENDS_V4");
    let command = format!("bpftool map dump pinned {}", path.display());
    let dump = stage.shell(&command)?;
    let entries: Vec<Value> = serde_json::from_str(&dump)
        .with_context(|| format!("{command}: the map's fields have no names"))?;
    let address = service(80).v4.octets();
    let is_web = |entry: &&Value| entry["key"]["addr"]["bytes"] == serde_json::json!(address);
    let web = entries.iter().find(is_web);
    let web = web.with_context(|| format!("{command}: no entry for {}", service(80).v4))?;
    screen.command(&command)?;
    screen.line(&web.to_string())?;
    Ok(())
}
