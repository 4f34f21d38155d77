//! What kube-proxy's rules serve and what Sluice's maps serve, to compare one with the other: whoever
//! takes over has to serve all that the other does.

use std::{
    collections::BTreeSet,
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use sluice_common::{
    frontend::flags::{CLUSTER_IP, ENDPOINT, NO_ENDPOINTS},
    net::{Addr, V4, V6, proto},
};

use crate::{
    dataplane::aya::Error,
    model::mirror::{FamilyMirror, Mirror},
    netfilter::{Family, legacy, nftables},
};

/// An address, port and protocol that a service is reached at; a NodePort at the unspecified address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frontend {
    address: IpAddr,
    port: u16,
    proto: u8,
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proto = match self.proto {
            proto::TCP => "TCP",
            proto::UDP => "UDP",
            _ => "SCTP",
        };
        match self.address.is_unspecified() {
            true => write!(f, "NodePort {}/{proto}", self.port),
            false => write!(f, "{}/{proto}", SocketAddr::new(self.address, self.port)),
        }
    }
}

/// What kube-proxy's rules serve, in nftables mode and in iptables mode with either kind of tables.
pub fn by_kube_proxy() -> Result<BTreeSet<Frontend>, Error> {
    let mut found = BTreeSet::new();
    for family in Family::BOTH {
        let failed = |e: io::Error| Error::os("reading what kube-proxy's rules serve", &e);
        for chain in ["KUBE-SERVICES", "KUBE-NODEPORTS"] {
            let mut rules = legacy::destinations(family, chain).map_err(failed)?;
            rules.extend(nftables::destinations(family, chain).map_err(failed)?);
            // KUBE-SERVICES jumps to KUBE-NODEPORTS without a port.
            found.extend(rules.into_iter().filter_map(|(bytes, proto, port)| {
                Some(Frontend { address: address(&bytes)?, port, proto })
            }));
        }
        for key in nftables::keys(family, "service-ips").map_err(failed)? {
            let length = address_length(family);
            found.extend(key.split_at_checked(length).and_then(|(bytes, rest)| {
                let (proto, port) = proto_and_port(rest)?;
                Some(Frontend { address: address(bytes)?, port, proto })
            }));
        }
        for key in nftables::keys(family, "service-nodeports").map_err(failed)? {
            let any = vec![0; address_length(family)];
            found.extend(
                proto_and_port(&key).and_then(|(proto, port)| {
                    Some(Frontend { address: address(&any)?, port, proto })
                }),
            );
        }
    }
    Ok(found)
}

const fn address_length(family: Family) -> usize {
    match family {
        Family::V4 => V4,
        Family::V6 => V6,
    }
}

/// In nftables' keys each part is filled up to four bytes.
fn proto_and_port(key: &[u8]) -> Option<(u8, u16)> {
    Some((*key.first()?, u16::from_be_bytes(*key.get(4..)?.first_chunk()?)))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; V4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).into());
    v4.or_else(|_| <[u8; V6]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).into())).ok()
}

/// What Sluice serves.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// All of it.
    pub all: BTreeSet<Frontend>,
    /// Of it: what has endpoints.
    pub with_endpoints: BTreeSet<Frontend>,
    /// Of that: what names a backend that is not in the maps.
    pub broken: BTreeSet<Frontend>,
}

impl Own {
    /// From the maps.
    pub fn of(mirror: &Mirror) -> Self {
        let mut own = Self::default();
        own.add(&mirror.v4, |addr: &Addr<V4>| Ipv4Addr::from(addr.bytes).into());
        own.add(&mirror.v6, |addr: &Addr<V6>| Ipv6Addr::from(addr.bytes).into());
        own
    }

    fn add<const N: usize>(&mut self, mirror: &FamilyMirror<N>, ip: impl Fn(&Addr<N>) -> IpAddr) {
        for (key, frontend) in &mirror.frontends {
            if frontend.flags & (ENDPOINT | CLUSTER_IP) != 0 {
                continue;
            }
            let at = Frontend { address: ip(&key.addr), port: key.port.number(), proto: key.proto };
            self.all.insert(at);
            if frontend.flags & NO_ENDPOINTS != 0 {
                continue;
            }
            self.with_endpoints.insert(at);
            let ranges = [frontend.cluster, frontend.local].into_iter();
            let mut slots = ranges.flat_map(|range| range.start..range.start + range.len);
            let is_there = |slot: u32| {
                let backend = mirror.slots.get(&slot).and_then(|id| mirror.backends.get(id));
                backend.is_some_and(|backend| backend.flags != 0)
            };
            if slots.any(|slot| !is_there(slot)) {
                self.broken.insert(at);
            }
        }
    }
}

/// The first few, in words.
pub fn some<'a>(frontends: impl Iterator<Item = &'a Frontend> + Clone) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = frontends.clone().take(SHOWN).map(ToString::to_string).collect();
    match frontends.count() {
        count if count > SHOWN => format!("{} and {} more", shown.join(", "), count - SHOWN),
        _ => shown.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_nftables_maps() {
        assert_eq!(proto_and_port(&[6, 0, 0, 0, 0, 80, 0, 0]), Some((6, 80)));
        assert_eq!(proto_and_port(&[6]), None);
        assert_eq!(address(&[10, 96, 0, 1]), Some("10.96.0.1".parse().expect("an address")));
        assert_eq!(address(&[1, 2]), None);
    }

    #[test]
    fn frontends_in_words() {
        let port =
            |port| Frontend { address: Ipv4Addr::UNSPECIFIED.into(), port, proto: proto::UDP };
        let ports: Vec<_> = (1..=7).map(port).collect();
        let text = some(ports.iter());
        assert!(text.starts_with("NodePort 1/UDP, ") && text.ends_with(" and 2 more"), "{text}");
    }
}
