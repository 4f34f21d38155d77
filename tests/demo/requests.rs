//! Requests from everywhere to everything, and who answered them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, anyhow, ensure};
use testbed::Place;
use testbed::address::{Family, Pair, service};
use testbed::wire::{Ask, Transport};

use crate::screen::Screen;
use crate::stage::{PODS, Stage};

/// Requests a line stands for.
const REQUESTS: u32 = 60;
/// Requests a character of a bar stands for.
const PER_CHARACTER: u32 = 2;
const TIMEOUT_MS: u64 = 1_000;

/// A way in, as the manifests in deploy/demo define it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    service: &'static str,
    kind: &'static str,
    transport: Transport,
    port: u16,
}

/// web inside the cluster.
pub(crate) const WEB: Way = way("web", "ClusterIP", Transport::Tcp, 80);
/// web from outside.
pub(crate) const WEB_NODEPORT: Way = way("web", "NodePort", Transport::Tcp, 30080);
const DNS: Way = way("dns", "ClusterIP", Transport::Udp, 53);
const DNS_NODEPORT: Way = way("dns", "NodePort", Transport::Udp, 30053);

const fn way(service: &'static str, kind: &'static str, transport: Transport, port: u16) -> Way {
    Way { service, kind, transport, port }
}

impl Way {
    /// Where it begins, on the stage's node.
    pub(crate) fn target(self, stage: &Stage, family: Family) -> Result<SocketAddr> {
        let address: Pair = match (self.kind, self.service) {
            ("NodePort", _any) => stage.node()?.address(),
            (_cluster_ip, "web") => service(80),
            (_cluster_ip, _dns) => service(53),
        };
        Ok(address.port(family, self.port))
    }
}

/// Everyone asks everything, and every pod has to have answered.
pub(crate) fn everyone(stage: &Stage, screen: &Screen) -> Result<()> {
    let (pod, node, client) = (stage.pod()?, stage.node()?, stage.client());
    let all: &[Way] = &[WEB, WEB_NODEPORT, DNS, DNS_NODEPORT];
    let outside: &[Way] = &[WEB_NODEPORT, DNS_NODEPORT];
    heading(screen)?;
    for (who, ways) in [(pod, all), (node, all), (client, outside)] {
        for way in ways {
            for family in Family::BOTH {
                let tally = ask(stage, screen, who, *way, family)?;
                ensure!(
                    tally.iter().all(|answers| *answers > 0),
                    "{} to {}: a pod never answered; run it again with `sluice flow list` at hand",
                    who.name(),
                    way.target(stage, family)?
                );
            }
        }
    }
    Ok(())
}

/// Some ways again, and only the last pod may answer.
pub(crate) fn last_pod_only(stage: &Stage, screen: &Screen) -> Result<()> {
    heading(screen)?;
    let ways = [(stage.pod()?, WEB), (stage.node()?, WEB), (stage.client(), WEB_NODEPORT)];
    for (who, way) in ways {
        for family in Family::BOTH {
            let [others @ .., _last] = ask(stage, screen, who, way, family)?;
            let target = way.target(stage, family)?;
            ensure!(others == [0; PODS - 1], "a pod that left web still answers at {target}");
        }
    }
    Ok(())
}

fn heading(screen: &Screen) -> Result<()> {
    let pods: Vec<String> = (0..PODS).map(|i| screen.pod(i, &format!("pod{}", i + 1))).collect();
    let text = format!("{REQUESTS} requests a line, a character for {PER_CHARACTER}");
    Ok(screen.line(&format!("{:<50} {:<32} {}", "", text, pods.join(" ")))?)
}

/// Asks, counts by pod, and shows the line.
fn ask(
    stage: &Stage,
    screen: &Screen,
    who: &Place,
    way: Way,
    family: Family,
) -> Result<[u32; PODS]> {
    let target = way.target(stage, family)?;
    let asking = || format!("{} asked {} at {target}", who.name(), way.service);
    let ask = Ask::new(way.transport, target).times(REQUESTS).timeout_ms(TIMEOUT_MS);
    let mut by_name: BTreeMap<String, u32> = BTreeMap::new();
    for reply in who.many(ask).with_context(asking)? {
        let reply = reply.with_context(asking)?;
        ensure!(reply.from == target, "{}: the answer came from {}", asking(), reply.from);
        *by_name.entry(reply.who).or_default() += 1;
    }
    let tally = std::array::from_fn(|i| by_name.remove(&format!("pod{}", i + 1)).unwrap_or(0));
    if let Some(stranger) = by_name.keys().next() {
        return Err(anyhow!("{}: {stranger} answered, which is no pod of it", asking()));
    }
    screen.line(&row(screen, who.name(), way, target, tally))?;
    Ok(tally)
}

fn row(screen: &Screen, who: &str, way: Way, target: SocketAddr, tally: [u32; PODS]) -> String {
    let mut width = 0;
    let mut bar = String::new();
    let mut before = 0;
    for (i, answers) in tally.into_iter().enumerate() {
        // Where a part ends is rounded, not how long it is: all bars are of one length.
        let end = (before + answers).div_ceil(PER_CHARACTER);
        let part = (i + 1).to_string().repeat((end - width) as usize);
        bar += &screen.pod(i, &part);
        (width, before) = (end, before + answers);
    }
    let counts: Vec<String> = tally.iter().map(|answers| format!("{answers:>4}")).collect();
    format!(
        "{who:<6} -> {} {:<9} {:<25} |{bar}| {}",
        way.service,
        way.kind,
        target.to_string(),
        counts.join(" ")
    )
}
