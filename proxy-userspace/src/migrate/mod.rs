//! Taking over from kube-proxy on a node, and giving the node back (C20–C22).
//!
//! Everything here runs in the node's network namespace, beside the controller: it reads the pinned
//! maps, asks the controller's port, and changes netfilter's rulesets.

pub mod hand_back;
pub mod kube_proxy;
pub mod leftovers;
pub mod served;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    dataplane::aya::{Error, pin::Pins, read},
    netfilter::{Family, own},
};
use hand_back::Handed;
use leftovers::{Leftover, Leftovers};
use served::Own;

/// What the commands have to know.
#[derive(Clone, Debug)]
pub struct Node {
    /// Folder of the pins.
    pub bpf_root: PathBuf,
    /// The metrics port of whoever runs: kube-proxy's or Sluice's.
    pub metrics: SocketAddr,
}

impl Node {
    fn kube_proxy(&self) -> Vec<String> {
        kube_proxy::signs(Path::new("/proc"), self.metrics)
    }

    /// Why the running Sluice cannot be trusted with the node's services yet; empty if it can.
    fn objections(&self, ignore_missing: bool) -> Vec<String> {
        let mut objections = Vec::new();
        match kube_proxy::get(self.metrics, "/metrics") {
            Some(page) if page.lines().any(|line| line == "sluice_ready 1") => {}
            Some(_) => objections.push(format!(
                "whoever answers at {} is not Sluice, or Sluice is not ready: wait for the metric \
                 sluice_ready, and look into its log",
                self.metrics
            )),
            None => objections.push(format!(
                "Sluice does not answer at {}: start it first, or name its port with \
                 --metrics-bind-address",
                self.metrics
            )),
        }
        match self.missing() {
            Ok(missing) if !ignore_missing || missing.is_broken => objections.extend(missing.text),
            Ok(_) => {}
            Err(e) => objections.push(e.to_string()),
        }
        objections
    }

    fn missing(&self) -> Result<Missing, Error> {
        let own = Own::of(&read::read_mirror(&Pins::new(&self.bpf_root))?);
        if !own.broken.is_empty() {
            let text = format!(
                "in Sluice's maps backends are missing for {}: restart Sluice, which repairs them",
                served::some(own.broken.iter())
            );
            return Ok(Missing { is_broken: true, text: Some(text) });
        }
        let theirs = served::by_kube_proxy()?;
        let missing = theirs.difference(&own.all);
        let text = missing.clone().next().is_some().then(|| {
            format!(
                "kube-proxy's rules serve what Sluice does not: {}; if these Services were deleted \
                 since kube-proxy ended, add --ignore-missing",
                served::some(missing)
            )
        });
        Ok(Missing { is_broken: false, text })
    }
}

struct Missing {
    is_broken: bool,
    text: Option<String>,
}

/// What a command found that it could not go on with.
#[derive(Debug)]
pub enum Stop {
    /// Nothing was changed: the operator has to do something first.
    Refused(Vec<String>),
    /// Something failed.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What a starting Sluice says of kube-proxy: that it runs, that its rules are there.
pub fn notices(metrics: SocketAddr) -> Vec<String> {
    let loopback = match metrics.ip().is_unspecified() {
        true => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), metrics.port()),
        false => metrics,
    };
    let signs = kube_proxy::signs(Path::new("/proc"), loopback);
    let mut notices: Vec<String> = signs
        .into_iter()
        .map(|sign| {
            format!("kube-proxy runs on this node ({sign}): Sluice translates before it; end it")
        })
        .collect();
    match Leftovers::find() {
        Ok(leftovers) => notices.extend(leftovers.any().then(|| {
            let count = leftovers.list().iter().filter(|item| item.remove).count();
            format!(
                "kube-proxy left {count} chains, rules and tables on this node; when it has ended, \
                 `sluice migrate apply` removes them, and open connections go on"
            )
        })),
        Err(e) => tracing::info!("looking for kube-proxy's rules failed: {e}"),
    }
    notices
}

/// What `plan` says.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Signs of a running kube-proxy.
    pub kube_proxy: Vec<String>,
    /// What else `apply` would refuse for.
    pub objections: Vec<String>,
    /// What `apply` would remove, and what of kube-proxy's it would leave.
    pub leftovers: Vec<Leftover>,
}

/// Looks at everything and changes nothing.
pub fn plan(node: &Node) -> Result<Plan, Error> {
    let mut kube_proxy = node.kube_proxy();
    let changing = leftovers::are_changing()?;
    kube_proxy.extend(changing.then(|| "its rules are changing".to_owned()));
    Ok(Plan {
        kube_proxy,
        objections: node.objections(false),
        leftovers: Leftovers::find()?.list(),
    })
}

/// What the operator insists on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Insist {
    /// Although a kube-proxy runs.
    pub while_kube_proxy_runs: bool,
    /// Although kube-proxy's rules serve what Sluice does not.
    pub ignore_missing: bool,
}

/// Verifies that Sluice serves what kube-proxy's rules do, then removes these. Returns what was there.
pub fn apply(node: &Node, insist: Insist) -> Result<Vec<Leftover>, Stop> {
    let mut reasons = Vec::new();
    if !insist.while_kube_proxy_runs {
        reasons.extend(node.kube_proxy().into_iter().map(|sign| {
            format!(
                "kube-proxy runs ({sign}) and would write its rules again: end it first, or add \
                 --while-kube-proxy-runs"
            )
        }));
    }
    reasons.extend(node.objections(insist.ignore_missing));
    if !reasons.is_empty() {
        return Err(Stop::Refused(reasons));
    }
    let leftovers = Leftovers::find()?;
    leftovers.remove()?;
    let again = leftovers::are_changing()? || Leftovers::find()?.any();
    if again && !insist.while_kube_proxy_runs {
        let error = Error::new("removing kube-proxy's rules", "they came back within seconds");
        return Err(error
            .advise(
                "a kube-proxy runs where this command cannot see it: end it, and run this again",
            )
            .into());
    }
    Ok(leftovers.list())
}

/// What `rollback` did.
#[derive(Clone, Debug, Default)]
pub struct RolledBack {
    /// Connections that netfilter translates now, and those that it could not take.
    pub handed: Handed,
    /// Pins that were removed.
    pub removed: Vec<String>,
}

/// Gives the node back to kube-proxy, whose rules have to serve all that Sluice does, and removes
/// everything of Sluice's.
pub fn rollback(node: &Node, insist: Insist) -> Result<RolledBack, Stop> {
    let mut reasons = Vec::new();
    if kube_proxy::proxy_mode(node.metrics).as_deref() == Some(kube_proxy::OWN_MODE) {
        reasons.push(format!(
            "Sluice runs (port {}) and would attach its programs again: end it, and start kube-proxy",
            node.metrics.port()
        ));
    }
    let pins = Pins::new(&node.bpf_root);
    let own = Own::of(&read::read_mirror(&pins)?);
    let theirs = served::by_kube_proxy()?;
    let missing = own.with_endpoints.difference(&theirs);
    if !insist.ignore_missing && missing.clone().next().is_some() {
        reasons.push(format!(
            "kube-proxy's rules do not serve what Sluice does: {}; start kube-proxy, wait until it is \
             ready, and run this again, or add --ignore-missing",
            served::some(missing)
        ));
    }
    if !reasons.is_empty() {
        return Err(Stop::Refused(reasons));
    }
    let mut removed = Vec::new();
    let handed = hand_back::run(&pins, &mut removed)?;
    Ok(RolledBack { handed, removed })
}

/// Removes the table that kept netfilter translating after `apply`; tells what it removed.
pub fn end_translation() -> Result<Vec<String>, Error> {
    let mut removed = Vec::new();
    for family in Family::BOTH {
        let was_there = own::end_translation(family)
            .map_err(|e| Error::os("removing the nftables table `sluice`", &e))?;
        removed.extend(was_there.then(|| format!("nftables table {} sluice", family.nftables())));
    }
    Ok(removed)
}
