//! The sweep on a real flow table.

use std::{collections::BTreeSet, net::Ipv4Addr};

use aya::maps::{HashMap, MapData};
use sluice::dataplane::{
    aya::{
        flows::FlowTables,
        load::{Options, Programs, load},
        maps::hash,
    },
    flows::Sweep,
};
use sluice_common::{
    age::State,
    flow::{
        EGRESS, Flow, FlowKey, INGRESS,
        flags::{ESTABLISHED, FIN, IDENTITY, MASQUERADE, RST},
    },
    net::{Addr, Port, V4, proto},
};

use crate::sandbox::Sandbox;

/// Seconds of `CLOCK_MONOTONIC` that the tests pretend it is.
const NOW: u32 = 1_000_000;

type Flows = HashMap<MapData, FlowKey<V4>, Flow<V4>>;

/// Both entries of client number `client`'s flow: flags and idle seconds of each direction.
fn pair(
    client: u16,
    proto: u8,
    ask: (u32, u32),
    answer: (u32, u32),
) -> [(FlowKey<V4>, Flow<V4>); 2] {
    let key = FlowKey {
        src: Addr::new(Ipv4Addr::new(10, 1, (client >> 8) as u8, client as u8).octets()),
        dst: Addr::new([10, 96, 0, 1]),
        src_port: Port::new(40_000),
        dst_port: Port::new(80),
        proto,
        direction: INGRESS,
        pad: [0; 2],
    };
    let flow = Flow {
        addr: Addr::new([10, 1, 255, 255]),
        port: Port::new(8080),
        client_port: key.src_port,
        service: 1,
        backend: 1,
        generation: 1,
        seen: NOW - ask.1,
        flags: ask.0,
    };
    let answers =
        Flow { addr: key.dst, port: key.dst_port, seen: NOW - answer.1, flags: answer.0, ..flow };
    [(key, flow), (key.opposite(&flow), answers)]
}

/// The outer pair of a masqueraded flow, given its answers' key.
fn masquerade(answers: &FlowKey<V4>, flags: u32, idle: u32) -> [(FlowKey<V4>, Flow<V4>); 2] {
    let key = answers.reversed(EGRESS);
    let onward = Flow {
        addr: Addr::new([192, 168, 0, 1]),
        port: Port::new(61_000),
        client_port: key.dst_port,
        service: 1,
        backend: 1,
        generation: 1,
        seen: NOW - idle,
        flags: flags | MASQUERADE,
    };
    let home = Flow { addr: key.src, port: key.src_port, client_port: key.dst_port, ..onward };
    [(key, onward), (key.opposite(&onward), home)]
}

fn put(flows: &mut Flows, entries: &[(FlowKey<V4>, Flow<V4>)]) {
    for (key, flow) in entries {
        flows.insert(key, flow, 0).expect("FLOWS_V4");
    }
}

fn open(sandbox: &Sandbox) -> (Programs, Flows, FlowTables) {
    let programs = load(&Options::new(&sandbox.bpf)).expect("loading");
    let flows = hash(&programs.pins, "FLOWS_V4", false).expect("FLOWS_V4");
    let tables = FlowTables::open(&programs.pins).expect("the flow tables");
    (programs, flows, tables)
}

fn clients(flows: &Flows) -> BTreeSet<u8> {
    let keys = flows.keys().map(|key| key.expect("a key"));
    keys.filter(|key| key.direction == INGRESS && key.dst.bytes[0] == 10)
        .map(|key| key.src.bytes[3])
        .collect()
}

fn sweep(round: u32) -> Sweep {
    Sweep { now: NOW, round }
}

#[test]
fn flows_that_are_over_go_and_the_others_stay() {
    Sandbox::run(|sandbox, _| {
        let (_programs, mut flows, tables) = open(sandbox);
        let (tcp, udp, est) = (proto::TCP, proto::UDP, ESTABLISHED);
        // Odd ones stay.
        let entries = [
            pair(1, tcp, (0, 61), (0, 61)),
            pair(2, tcp, (0, 62), (0, 62)),
            pair(3, tcp, (est, 86_401), (est, 86_401)),
            pair(4, tcp, (est, 86_402), (est, 86_402)),
            pair(5, tcp, (est | FIN, 3_601), (est, 90_000)),
            pair(6, tcp, (est | FIN, 3_602), (est, 90_000)),
            pair(7, tcp, (est | FIN, 121), (est | FIN, 200)),
            pair(8, tcp, (est | FIN, 122), (est | FIN, 200)),
            pair(9, tcp, (est | RST, 121), (est, 199)),
            pair(10, tcp, (est, 122), (est | RST, 199)),
            pair(11, udp, (est, 31), (0, 31)),
            pair(12, udp, (est, 32), (0, 32)),
            pair(13, udp, (est, 121), (est, 500)),
            pair(14, udp, (est, 122), (est, 500)),
            pair(15, tcp, (IDENTITY, 10), (IDENTITY, 99)),
            pair(16, tcp, (IDENTITY, 99), (IDENTITY, 99)),
            pair(17, tcp, (0, 11), (est | RST, 11)),
            pair(18, tcp, (0, 12), (est | RST, 12)),
        ];
        put(&mut flows, entries.as_flattened());
        let swept = tables.sweep(sweep(0)).expect("a sweep");
        // A flow that lives one second more is at its limit already, and within the margin.
        assert_eq!(clients(&flows), BTreeSet::from([1, 3, 5, 7, 9, 11, 13, 15, 17]));
        assert_eq!((swept.removed, swept.v4.entries), (18, 18));
        assert_eq!(flows.keys().count(), 18, "both entries of each");
        assert_eq!(swept.v4.services[State::Handshake as usize], 3);
        assert_eq!(swept.v6.entries, 0);
    });
}

#[test]
fn a_masquerade_goes_with_its_flow_and_not_before() {
    Sandbox::run(|sandbox, _| {
        let (_programs, mut flows, tables) = open(sandbox);
        let flow = pair(1, proto::UDP, (ESTABLISHED, 121), (ESTABLISHED, 121));
        let outer = masquerade(&flow[1].0, ESTABLISHED, 123);
        put(&mut flows, &[flow, outer].concat());
        assert_eq!(tables.sweep(sweep(0)).expect("a sweep").removed, 0);
        let later = Sweep { now: NOW + 1, round: 1 };
        let swept = tables.sweep(later).expect("a sweep");
        assert_eq!((swept.removed, swept.v4.entries, flows.keys().count()), (4, 0, 0));
        // The node's own: nobody else's end would end it.
        put(&mut flows, &outer);
        assert_eq!(tables.sweep(sweep(2)).expect("a sweep").removed, 2);
    });
}

#[test]
fn orphans_go_sooner() {
    Sandbox::run(|sandbox, _| {
        let (_programs, mut flows, tables) = open(sandbox);
        let entries = [
            pair(1, proto::TCP, (ESTABLISHED, 4_000), (0, 0))[0],
            pair(2, proto::TCP, (ESTABLISHED, 4_000), (0, 0))[1],
            pair(3, proto::TCP, (ESTABLISHED | FIN, 122), (0, 0))[0],
            pair(4, proto::UDP, (ESTABLISHED, 32), (0, 0))[0],
            pair(5, proto::TCP, (ESTABLISHED, 100), (0, 0))[0],
        ];
        put(&mut flows, &entries);
        let removed: u32 = (0..16).map(|n| tables.sweep(sweep(n)).expect("a sweep").removed).sum();
        // The second one's answer was just used.
        assert_eq!((removed, flows.keys().count()), (3, 2));
        assert_eq!(clients(&flows), BTreeSet::from([5]));
    });
}

#[test]
fn every_entry_of_a_large_table_is_seen_once() {
    Sandbox::run(|sandbox, _| {
        let (_programs, mut flows, tables) = open(sandbox);
        for client in 0..10_000 {
            put(&mut flows, &pair(client, proto::UDP, (0, 0), (0, 40 * u32::from(client % 2))));
        }
        let swept = tables.sweep(sweep(0)).expect("a sweep");
        assert_eq!((swept.removed, swept.v4.entries), (0, 20_000));
        assert_eq!(swept.v4.services[State::Unanswered as usize], 10_000);
        assert_eq!(swept.v4.capacity, sluice_common::limits::FLOWS);
        let later = Sweep { now: NOW + 32, round: 1 };
        let swept = tables.sweep(later).expect("a sweep");
        assert_eq!((swept.removed, swept.v4.entries, flows.keys().count()), (20_000, 0, 0));
    });
}

/// Packets come while their flow is judged: whatever they write stays.
#[test]
fn a_flow_that_begins_again_meanwhile_stays() {
    const FLOWS: u16 = 2_000;
    Sandbox::run(|sandbox, _| {
        let (programs, mut flows, tables) = open(sandbox);
        let all = |idle| (0..FLOWS).flat_map(move |n| pair(n, proto::UDP, (0, idle), (0, idle)));
        for round in 0..20 {
            put(&mut flows, &all(500).collect::<Vec<_>>());
            let pins = programs.pins.clone();
            let packets = std::thread::spawn(move || {
                let mut flows: Flows = hash(&pins, "FLOWS_V4", false).expect("FLOWS_V4");
                put(&mut flows, &all(0).collect::<Vec<_>>());
            });
            let mut removed = 0;
            while !packets.is_finished() {
                removed += tables.sweep(sweep(round)).expect("a sweep").removed;
            }
            packets.join().expect("the packets");
            let alive = flows.iter().filter(|entry| entry.as_ref().is_ok_and(|e| e.1.seen == NOW));
            assert_eq!(alive.count(), usize::from(FLOWS) * 2, "of {removed} removed, too many");
        }
    });
}
