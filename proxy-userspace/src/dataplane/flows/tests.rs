use proptest::prelude::*;
use sluice_common::{
    flow::flags::{IDENTITY, PENDING},
    net::{Addr, Port, V4},
};

use super::*;

const NOW: u32 = 1_000_000;

fn sweep(round: u32) -> Sweep {
    Sweep { now: NOW, round }
}

/// in 10.0.0.1:1000 → 10.96.0.1:80, becoming 10.0.0.1:1001 → 10.0.0.2:8080.
fn forward(proto: u8, flags: u32, idle: u32) -> (FlowKey<V4>, Flow<V4>) {
    let key = FlowKey {
        src: Addr::new([10, 0, 0, 1]),
        dst: Addr::new([10, 96, 0, 1]),
        src_port: Port::new(1000),
        dst_port: Port::new(80),
        proto,
        direction: INGRESS,
        pad: [0; 2],
    };
    let flow = Flow {
        addr: Addr::new([10, 0, 0, 2]),
        port: Port::new(8080),
        client_port: Port::new(1001),
        service: 3,
        backend: 4,
        generation: 1,
        seen: NOW - idle,
        flags,
    };
    (key, flow)
}

/// The entry for its answers.
fn answers(proto: u8, flags: u32, idle: u32) -> (FlowKey<V4>, Flow<V4>) {
    let (key, flow) = forward(proto, flags, idle);
    let answer = Flow { addr: key.dst, port: key.dst_port, client_port: key.src_port, ..flow };
    (key.opposite(&flow), answer)
}

/// conntrack's limits, written down once more, without the code under test; but for a RST in an open
/// connection.
fn reference(proto: u8, one: u32, other: u32) -> u32 {
    let has = |flags: u32, bit: u32| flags & bit != 0;
    if proto != proto::TCP {
        let both = has(one, ESTABLISHED) && has(other, ESTABLISHED);
        return match (both, proto == proto::SCTP) {
            (false, _) => 30,
            (true, false) => 120,
            (true, true) => 210,
        };
    }
    if has(one, RST) || has(other, RST) {
        let is_open = has(one, ESTABLISHED) && has(other, ESTABLISHED);
        if is_open { 120 } else { 10 }
    } else if has(one, FIN) && has(other, FIN) {
        120
    } else if has(one, FIN) || has(other, FIN) {
        3_600
    } else if has(one, ESTABLISHED) || has(other, ESTABLISHED) {
        86_400
    } else {
        60
    }
}

fn protocols() -> impl Strategy<Value = u8> {
    prop_oneof![Just(proto::TCP), Just(proto::UDP), Just(proto::SCTP)]
}

fn bits() -> impl Strategy<Value = u32> {
    (any::<[bool; 3]>(), prop_oneof![Just(0), Just(IDENTITY)]).prop_map(|(set, more)| {
        let bit = |i: usize, bit| if set[i] { bit } else { 0 };
        bit(0, FIN) | bit(1, RST) | bit(2, ESTABLISHED) | more
    })
}

fn idles() -> impl Strategy<Value = u32> {
    prop_oneof![0..20_u32, 0..200_u32, 3_500..3_700_u32, 86_300..86_500_u32, 0..200_000_u32]
}

proptest! {
    /// Both entries of a pair come to the same verdict: that of the limits, by the younger of them.
    #[test]
    fn a_flow_is_over_when_both_directions_are(
        proto in protocols(), a in bits(), b in bits(), x in idles(), y in idles(), round: u32,
    ) {
        let ((key, flow), (okey, other)) = (forward(proto, a, x), answers(proto, b, y));
        let over = x.min(y) >= reference(proto, a, b) + MARGIN;
        prop_assert_eq!(sweep(round).is_over(&key, &flow, Some(&other)), over);
        prop_assert_eq!(sweep(round).is_over(&okey, &other, Some(&flow)), over);
    }

    /// What is over is found: at least one of its entries is a suspect, in every round.
    #[test]
    fn what_is_over_is_suspected(
        proto in protocols(), a in bits(), b in bits(), x in idles(), y in idles(), round: u32,
    ) {
        let ((key, flow), (okey, other)) = (forward(proto, a, x), answers(proto, b, y));
        let sweep = sweep(round);
        if sweep.is_over(&key, &flow, Some(&other)) {
            prop_assert!(sweep.suspects(&key, &flow) || sweep.suspects(&okey, &other));
        }
    }

    /// An entry alone ends sooner, never later; and it is found within so many rounds.
    #[test]
    fn orphans_end(proto in protocols(), flags in bits(), idle in 0..100_000_u32, round: u32) {
        let (key, flow) = forward(proto, flags, idle);
        let over = sweep(round).is_over(&key, &flow, None);
        prop_assert_eq!(over, idle >= reference(proto, flags, 0).min(ORPHAN) + MARGIN);
        let found = (0..STRIDE).any(|i| sweep(round.wrapping_add(i)).suspects(&key, &flow));
        prop_assert!(!over || found || idle < State::HalfClosed.limit() + MARGIN);
    }

    /// Nothing that a packet has just used is over, whatever the other entry says.
    #[test]
    fn the_fresh_stay(proto in protocols(), a in bits(), b in bits(), y in idles(), round: u32) {
        let ((key, flow), (_, other)) = (forward(proto, a, 0), answers(proto, b, y));
        prop_assert!(sweep(round).is_fresh(&flow) && !sweep(round).suspects(&key, &flow));
        prop_assert!(!sweep(round).is_over(&key, &flow, Some(&other)));
        prop_assert!(!sweep(round).is_over(&key, &flow, None));
    }
}

#[test]
fn a_key_that_another_flow_took_is_not_the_opposite() {
    let (key, flow) = forward(proto::TCP, ESTABLISHED, 5_000);
    let (_, mut other) = answers(proto::TCP, ESTABLISHED, 0);
    assert!(!sweep(0).is_over(&key, &flow, Some(&other)));
    other.client_port = Port::new(4711);
    assert!(sweep(0).is_over(&key, &flow, Some(&other)), "an orphan");
}

#[test]
fn the_future_is_not_idle() {
    let (key, mut flow) = forward(proto::UDP, 0, 0);
    flow.seen = NOW + 5;
    assert!(!sweep(0).suspects(&key, &flow) && sweep(0).is_fresh(&flow));
}

#[test]
fn a_masquerade_belongs_to_its_flow() {
    let (key, flow) = forward(proto::TCP, 0, 0);
    let (akey, answer) = answers(proto::TCP, 0, 0);
    let onward = akey.reversed(EGRESS);
    let outer = Flow {
        addr: Addr::new([192, 168, 0, 1]),
        port: Port::new(61_000),
        client_port: akey.src_port,
        flags: MASQUERADE,
        ..flow
    };
    let home = onward.opposite(&outer);
    let home_flow =
        Flow { addr: onward.src, port: onward.src_port, client_port: onward.dst_port, ..outer };
    let inner = FlowKeys { pair: [key, akey], inner: None, onward: Some(onward) };
    assert_eq!(FlowKeys::of(&key, &flow), inner);
    assert_eq!(FlowKeys::of(&akey, &answer), inner);
    let outer_keys = FlowKeys { pair: [home, onward], inner: Some(akey), onward: None };
    assert_eq!(FlowKeys::of(&onward, &outer), outer_keys);
    assert_eq!(FlowKeys::of(&home, &home_flow), outer_keys);
    let pending = Flow { flags: MASQUERADE | PENDING, ..outer };
    assert_eq!(FlowKeys::of(&onward, &pending).inner, Some(akey));
}

#[test]
fn entries_are_counted_once_and_flows_by_their_client() {
    let mut occupancy = Occupancy { capacity: 100, ..Occupancy::default() };
    for (key, flow) in [
        forward(proto::TCP, ESTABLISHED, 0),
        answers(proto::TCP, ESTABLISHED, 0),
        forward(proto::UDP, ESTABLISHED, 0),
        forward(proto::TCP, ESTABLISHED | FIN, 0),
    ] {
        occupancy.count(&key, &flow);
    }
    let (key, direct) = forward(proto::TCP, IDENTITY, 0);
    occupancy.count(&key, &Flow { service: 0, ..direct });
    occupancy.count(&key, &Flow { flags: MASQUERADE, ..direct });
    assert_eq!((occupancy.entries, occupancy.masquerade, occupancy.direct), (6, 1, 1));
    assert_eq!(occupancy.services[State::Established as usize], 1);
    assert_eq!(occupancy.services[State::Answered as usize], 1);
    assert_eq!(occupancy.services[State::HalfClosed as usize], 1);
}

#[test]
fn the_alarm_is_raised_once_and_cleared_once() {
    let mut alarm = Alarm::default();
    let mut at =
        |entries| alarm.observe(&Occupancy { capacity: 100, entries, ..Occupancy::default() });
    assert_eq!([at(0), at(74), at(75), at(80)], [None, None, Some(Change::Raised), None]);
    assert_eq!([at(74), at(65), at(64), at(70)], [None, None, Some(Change::Cleared), None]);
}
