//! Gives the connections that Sluice translates to netfilter's conntrack, so that they outlive
//! Sluice's programs.
//!
//! The order counts. While a connection changes hands nobody knows it, so its segments are dropped
//! ([`own::guard`]) and come again:
//!
//! 1. the guard;
//! 2. open TCP connections, one after the other: conntrack forgets how it saw them, learns how they
//!    are translated, and the programs forget them. What TCP has no entry for is netfilter's;
//! 3. the ingress programs go: nothing begins with Sluice any more, what is answered still is;
//! 4. what began meanwhile, and datagrams;
//! 5. all other programs, the maps, and the guard.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use sluice_common::{
    age::State,
    flow::{
        EGRESS, Flow, FlowKey, INGRESS,
        flags::{IDENTITY, MASQUERADE, PENDING},
    },
    net::{Addr, V4, V6, proto},
};

use crate::{
    dataplane::aya::{
        Error, flows::FlowTables, hand_back::detach_ingress, interfaces, pin::Pins, read,
    },
    netfilter::{
        Family,
        conntrack::{self, Connection},
        own,
    },
};

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handed {
    /// Connections that netfilter translates now.
    pub connections: usize,
    /// Connections that it knew otherwise: they end, or go to another endpoint.
    pub lost: usize,
}

/// Hands the connections over and removes everything of Sluice's. kube-proxy's rules are in place.
pub fn run(pins: &Pins, removed: &mut Vec<String>) -> Result<Handed, Error> {
    let guards = |e: io::Error| {
        Error::os("guarding open connections while they change hands", &e)
            .advise("nothing was changed")
    };
    for family in Family::BOTH {
        own::keep_translation(family).and_then(|()| own::guard(family)).map_err(guards)?;
    }
    let result = hand_over(pins, removed);
    for family in Family::BOTH {
        own::end_translation(family)
            .map_err(|e| Error::os("removing the nftables table `sluice`", &e))?;
    }
    result
}

fn hand_over(pins: &Pins, removed: &mut Vec<String>) -> Result<Handed, Error> {
    let mut handed = Handed::default();
    let tables = FlowTables::open(pins)?;
    let (v4, v6) = connections(pins)?;
    let open = |connection: &&Connection| {
        connection.proto == proto::TCP && connection.timeout == State::Established.limit()
    };
    for (key, connection) in v4.iter().filter(|(_, connection)| open(&connection)) {
        handed.note(give(connection)?);
        tables.forget_v4(key)?;
    }
    for (key, connection) in v6.iter().filter(|(_, connection)| open(&connection)) {
        handed.note(give(connection)?);
        tables.forget_v6(key)?;
    }
    detach_ingress(pins)?;
    let (v4, v6) = connections(pins)?;
    for connection in v4.iter().map(|(_, it)| it).chain(v6.iter().map(|(_, it)| it)) {
        handed.note(give(connection)?);
    }
    removed.extend(interfaces::cleanup(pins.bpf_root())?);
    Ok(handed)
}

impl Handed {
    fn note(&mut self, given: bool) {
        match given {
            true => self.connections += 1,
            false => self.lost += 1,
        }
    }
}

fn give(connection: &Connection) -> Result<bool, Error> {
    let failed = |e: io::Error| {
        let Connection { client, service, .. } = connection;
        Error::os(format!("handing {client} -> {service} to conntrack"), &e)
    };
    conntrack::forget(connection).map_err(failed)?;
    conntrack::insert(connection).map_err(failed)
}

type Found<const N: usize> = Vec<(FlowKey<N>, Connection)>;

/// The connections of both families that live.
fn connections(pins: &Pins) -> Result<(Found<V4>, Found<V6>), Error> {
    let ip4 = |addr: &Addr<V4>| Ipv4Addr::from(addr.bytes).into();
    let ip6 = |addr: &Addr<V6>| Ipv6Addr::from(addr.bytes).into();
    Ok((translated(&read::flows_v4(pins)?, ip4), translated(&read::flows_v6(pins)?, ip6)))
}

/// The connections to services among the entries.
fn translated<const N: usize>(
    entries: &[(FlowKey<N>, Flow<N>)],
    ip: impl Fn(&Addr<N>) -> IpAddr,
) -> Found<N> {
    let flows: BTreeMap<FlowKey<N>, &Flow<N>> =
        entries.iter().map(|(key, flow)| (*key, flow)).collect();
    let connection = |(key, flow): &(FlowKey<N>, Flow<N>)| {
        let begins = key.direction == INGRESS && flow.service != 0;
        if !begins || flow.flags & (IDENTITY | MASQUERADE) != 0 {
            return None;
        }
        let answers = key.opposite(flow);
        let other = flows.get(&answers).map_or(0, |answers| answers.flags);
        let state = State::of(key.proto, flow.flags | other, flow.flags & other);
        if matches!(state, State::Closed | State::Reset) {
            return None;
        }
        let at = |addr: &Addr<N>, port: sluice_common::net::Port| {
            SocketAddr::new(ip(addr), port.number())
        };
        let source = match flows.get(&answers.reversed(EGRESS)) {
            // It has not left yet, so nobody knows under which address it will.
            Some(onward) if onward.flags & PENDING != 0 => return None,
            Some(onward) if onward.flags & MASQUERADE != 0 => at(&onward.addr, onward.port),
            Some(_) | None => at(&key.src, flow.client_port),
        };
        let connection = Connection {
            proto: key.proto,
            client: at(&key.src, key.src_port),
            service: at(&key.dst, key.dst_port),
            source,
            backend: at(&flow.addr, flow.port),
            timeout: state.limit(),
        };
        Some((*key, connection))
    };
    entries.iter().filter_map(connection).collect()
}

#[cfg(test)]
mod tests {
    use sluice_common::{flow::flags::ESTABLISHED, net::Port};

    use super::*;

    const CLIENT: Addr<V4> = Addr::new([10, 0, 0, 1]);
    const SERVICE: Addr<V4> = Addr::new([10, 96, 0, 1]);
    const BACKEND: Addr<V4> = Addr::new([10, 0, 1, 1]);
    const NODE: Addr<V4> = Addr::new([192, 0, 2, 1]);

    fn key(src: Addr<V4>, sport: u16, dst: Addr<V4>, dport: u16, direction: u8) -> FlowKey<V4> {
        let (src_port, dst_port) = (Port::new(sport), Port::new(dport));
        FlowKey { src, dst, src_port, dst_port, proto: proto::TCP, direction, pad: [0; 2] }
    }

    fn flow(addr: Addr<V4>, port: u16, client_port: u16, flags: u32) -> Flow<V4> {
        let (port, client_port) = (Port::new(port), Port::new(client_port));
        Flow { addr, port, client_port, service: 1, backend: 1, generation: 1, seen: 0, flags }
    }

    fn entries(onward: u32) -> Vec<(FlowKey<V4>, Flow<V4>)> {
        vec![
            (key(CLIENT, 4000, SERVICE, 80, INGRESS), flow(BACKEND, 8080, 4001, ESTABLISHED)),
            (key(BACKEND, 8080, CLIENT, 4001, EGRESS), flow(SERVICE, 80, 4000, ESTABLISHED)),
            (key(CLIENT, 4001, BACKEND, 8080, EGRESS), flow(NODE, 5000, 8080, onward)),
        ]
    }

    fn found(entries: &[(FlowKey<V4>, Flow<V4>)]) -> Found<V4> {
        translated(entries, |addr| Ipv4Addr::from(addr.bytes).into())
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn c21_a_connection_is_handed_back_as_its_two_ends_see_it() {
        let all = found(&entries(MASQUERADE));
        assert_eq!(all.len(), 1);
        let (_, connection) = all[0];
        assert_eq!(connection.client, address("10.0.0.1:4000"));
        assert_eq!(connection.service, address("10.96.0.1:80"));
        assert_eq!(connection.source, address("192.0.2.1:5000"), "masqueraded");
        assert_eq!(connection.backend, address("10.0.1.1:8080"));
        assert_eq!(connection.timeout, State::Established.limit());
        let plain = found(&entries(MASQUERADE)[..2]);
        assert_eq!(plain[0].1.source, address("10.0.0.1:4001"), "another port for the client");
    }

    #[test]
    fn what_has_ended_or_not_left_stays() {
        assert!(found(&entries(MASQUERADE | PENDING)).is_empty());
        let mut ended = entries(MASQUERADE);
        ended[0].1.flags |= sluice_common::flow::flags::RST;
        assert!(found(&ended).is_empty());
        let mut direct = entries(MASQUERADE);
        direct[0].1.service = 0;
        assert!(found(&direct).is_empty());
    }
}
