//! What kube-proxy left on the node, as a list to show, and its removal.

use std::{fs, io, path::Path, thread::sleep, time::Duration};

use serde::Serialize;

use crate::{
    dataplane::aya::Error,
    netfilter::{
        Family,
        chains::{Jump, Removal},
        legacy, nftables, own,
    },
};

/// How long it is watched whether what was removed comes back: kube-proxy notices within a sync
/// period, which is 30 s unless configured, but most changes of Services make it write at once.
const WATCH: Duration = Duration::from_secs(1);

/// One thing of kube-proxy's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Leftover {
    /// Where: `nftables`, `iptables-nft`, `iptables-legacy`, `ipvs`.
    pub system: &'static str,
    /// `ip` or `ip6`.
    pub family: &'static str,
    /// The table that it is in, or is.
    pub table: String,
    /// `table`, `chain`, `rule`; `device` or `servers` of IPVS.
    pub kind: &'static str,
    /// The chain; for a rule, `FROM -> TO`.
    pub name: String,
    /// Whether `apply` removes it.
    pub remove: bool,
    /// Why not.
    pub reason: String,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Leftovers {
    nftables: Vec<nftables::Leftovers>,
    legacy: Vec<legacy::Leftovers>,
}

impl Leftovers {
    /// Looks at the rulesets of this thread's network namespace, and changes nothing.
    pub fn find() -> Result<Self, Error> {
        let failed = |what: &str, e: &io::Error| Error::os(format!("reading the {what}"), e);
        let nftables = Family::BOTH.map(nftables::Leftovers::find).into_iter().collect();
        let legacy = Family::BOTH.map(legacy::Leftovers::find).into_iter().collect();
        Ok(Self {
            nftables: Result::map_err(nftables, |e| failed("nftables ruleset", &e))?,
            legacy: Result::map_err(legacy, |e| failed("legacy iptables tables", &e))?,
        })
    }

    /// As a list, in order.
    pub fn list(&self) -> Vec<Leftover> {
        let mut list = Vec::new();
        for found in &self.nftables {
            if found.table {
                list.push(Leftover {
                    system: "nftables",
                    kind: "table",
                    ..leftover(found.family, nftables::KUBE_PROXY, nftables::KUBE_PROXY)
                });
            }
            let of = |mut item: Leftover| {
                item.system = "iptables-nft";
                item
            };
            for (table, removal) in &found.iptables {
                list.extend(chains(found.family, table, removal).map(of));
            }
            list.extend(found.jumps().map(|(table, jump)| of(rule(found.family, table, jump))));
        }
        for found in &self.legacy {
            for (table, removal, jumps) in &found.tables {
                list.extend(chains(found.family, table, removal));
                list.extend(jumps.iter().map(|jump| rule(found.family, table, jump)));
            }
        }
        list.extend(ipvs(Path::new("/proc/thread-self/net")));
        list.sort();
        list
    }

    /// Whether there is something to remove.
    pub fn any(&self) -> bool {
        self.list().iter().any(|item| item.remove)
    }

    /// Whether some of it is in the rulesets of a family.
    fn concerns(&self, family: Family) -> bool {
        self.list().iter().any(|item| item.remove && item.family == family.nftables())
    }

    /// Removes it. What netfilter translated before goes on being translated.
    pub fn remove(&self) -> Result<(), Error> {
        for family in Family::BOTH.into_iter().filter(|family| self.concerns(*family)) {
            own::keep_translation(family).map_err(|e| {
                Error::os("keeping netfilter's address translation for open connections", &e)
                    .advise(
                        "nothing was removed; on a kernel without nftables drain the node, and run \
                     `kube-proxy --cleanup` of kube-proxy's own image",
                    )
            })?;
        }
        for found in &self.legacy {
            found.remove().map_err(|e| {
                let name = found.family.iptables();
                Error::os(format!("removing kube-proxy's chains from legacy {name}"), &e).advise(
                    "run `kube-proxy --cleanup` of kube-proxy's own image on this node, which has \
                     the tools, and then this again",
                )
            })?;
        }
        for found in &self.nftables {
            found.remove().map_err(|e| {
                let name = found.family.nftables();
                Error::os(format!("removing kube-proxy's nftables chains (family {name})"), &e)
                    .advise("nothing of it was removed; run it again, since somebody else may have changed the ruleset meanwhile")
            })?;
        }
        Ok(())
    }
}

/// Whether kube-proxy's chains come and go, or came back, while one looks: another process manages
/// them.
pub fn are_changing() -> Result<bool, Error> {
    let before = Leftovers::find()?.list();
    sleep(WATCH);
    Ok(Leftovers::find()?.list() != before)
}

/// What the ipvs mode leaves beside its chains. It stays: a connection through IPVS ends with its
/// virtual server, and Sluice translates before IPVS sees a packet.
fn ipvs(net: &Path) -> Vec<Leftover> {
    let read = |name: &str| fs::read_to_string(net.join(name)).unwrap_or_default();
    let devices = read("dev");
    let has_device = devices.lines().any(|line| line.trim_start().starts_with("kube-ipvs0:"));
    let servers = read("ip_vs");
    let is_server =
        |line: &&str| ["TCP ", "UDP ", "SCTP "].iter().any(|proto| line.starts_with(proto));
    let count = servers.lines().filter(is_server).count();
    let item = |kind, name: String| Leftover {
        system: "ipvs",
        family: "",
        table: String::new(),
        kind,
        name,
        remove: false,
        reason: "open connections would end: see docs/migration.md".to_owned(),
    };
    let mut found = Vec::new();
    found.extend(has_device.then(|| item("device", "kube-ipvs0".to_owned())));
    found.extend((has_device && count > 0).then(|| item("servers", format!("{count} of IPVS"))));
    found
}

fn leftover(family: Family, table: &str, name: &str) -> Leftover {
    Leftover {
        system: "iptables-legacy",
        family: family.nftables(),
        table: table.to_owned(),
        kind: "chain",
        name: name.to_owned(),
        remove: true,
        reason: String::new(),
    }
}

fn chains<'a>(
    family: Family,
    table: &'a str,
    removal: &'a Removal,
) -> impl Iterator<Item = Leftover> + 'a {
    let gone = removal.chains.iter().map(move |name| leftover(family, table, name));
    let kept = removal.kept.iter().map(move |(name, user)| Leftover {
        remove: false,
        reason: format!("{user} uses it"),
        ..leftover(family, table, name)
    });
    gone.chain(kept)
}

fn rule(family: Family, table: &str, jump: &Jump) -> Leftover {
    let name = format!("{} -> {}", jump.from, jump.to);
    Leftover { kind: "rule", ..leftover(family, table, &name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipvs_is_named_and_stays() {
        let net = tempfile::tempdir().expect("a folder");
        assert!(ipvs(net.path()).is_empty());
        fs::write(net.path().join("dev"), "  eth0: 0 0\nkube-ipvs0: 0 0\n").expect("a file");
        let servers = "IP Virtual Server\nTCP  0A600001:0050 rr\n  -> 0AF40101:1F90 Masq 1 0 0\n";
        fs::write(net.path().join("ip_vs"), servers).expect("a file");
        let found = ipvs(net.path());
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|item| !item.remove));
        assert_eq!(found[1].name, "1 of IPVS");
    }
}
