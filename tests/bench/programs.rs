//! What a program costs a packet, by `BPF_PROG_TEST_RUN`.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use sluice_common::{
    flow::{EGRESS, Flow, FlowKey, INGRESS, flags},
    net::{Addr, Port, V4, V6},
};
use testbed::packet::{Crossroads, Datagram, Hook, Lab, SENT, Service, tcp, udp};

use crate::report::Table;

/// Test runs of one measurement; the kernel gives their mean.
const REPEAT: u32 = 300_000;
/// Measurements, of which the median is reported.
const ROUNDS: usize = 9;
/// New flows, each of its own packet, so that each is a test run of one.
const NEW_FLOWS: u16 = 2_000;

/// The addresses of one family.
struct Ends {
    client: &'static str,
    service: &'static str,
    backend: &'static str,
    stranger: &'static str,
}

const FAMILIES: [Ends; 2] = [
    Ends {
        client: "10.244.1.3:40000",
        service: "10.96.0.10:80",
        backend: "10.244.1.2:8080",
        stranger: "198.51.100.7:443",
    },
    Ends {
        client: "[fd00:10:244:1::3]:40000",
        service: "[fd00:10:96::10]:80",
        backend: "[fd00:10:244:1::2]:8080",
        stranger: "[2001:db8::7]:443",
    },
];

/// Measures and reports.
pub(crate) fn run() -> Table {
    let mut table = Table::new(
        "Program cost per packet (BPF_PROG_TEST_RUN, ns: median and spread of 9)",
        &["case", "IPv4", "IPv6"],
    );
    for (name, measure) in CASES {
        let cells = FAMILIES.iter().map(|ends| {
            let mut lab = Lab::new();
            let mut rounds: Vec<Duration> = (0..ROUNDS).map(|_| measure(&mut lab, ends)).collect();
            rounds.sort();
            let (low, high) = (rounds[0].as_nanos(), rounds[ROUNDS - 1].as_nanos());
            format!("{} ({low}–{high})", rounds[ROUNDS / 2].as_nanos())
        });
        table.row(std::iter::once((*name).to_owned()).chain(cells).collect());
    }
    table
}

/// A frame that the programs look at no further than its EtherType.
const ARP: [u8; 60] = {
    let mut frame = [0; 60];
    (frame[12], frame[13]) = (8, 6);
    frame
};

type Measure = fn(&mut Lab, &Ends) -> Duration;

const CASES: &[(&str, Measure)] = &[
    ("not IP: the floor of a test run", |lab, _| lab.time(Hook::Ingress, &ARP, REPEAT)),
    ("ingress, established", |lab, e| established(lab, e, Hook::Ingress)),
    ("egress, established", |lab, e| established(lab, e, Hook::Egress)),
    ("ingress, new flow", new_flow),
    ("ingress, not ours, TCP", |lab, e| not_ours(lab, Hook::Ingress, &tcp(&e.stranger()).ack())),
    ("ingress, not ours, UDP", |lab, e| not_ours(lab, Hook::Ingress, &udp(&e.stranger()))),
    ("egress, not ours, TCP", |lab, e| not_ours(lab, Hook::Egress, &tcp(&e.stranger()).ack())),
    ("egress, not ours, UDP", |lab, e| not_ours(lab, Hook::Egress, &udp(&e.stranger()))),
    ("a bridge, what its port has handled", noted),
    ("XDP, forward: both rewrites and the route", |_, e| xdp(e, 0, flags::MASQUERADE)),
    ("XDP, reply: both rewrites and the route", |_, e| xdp(e, flags::MASQUERADE, 0)),
    ("XDP, not ours, TCP", |lab, e| not_ours(lab, Hook::Uplink, &tcp(&e.stranger()).ack())),
];

impl Ends {
    fn stranger(&self) -> String {
        format!("{} -> {}", self.client, self.stranger)
    }
}

/// What a bridge's program costs a packet that was handled at the port: all runs but the first.
fn noted(lab: &mut Lab, ends: &Ends) -> Duration {
    lab.time(Hook::IngressUpper, &tcp(&ends.stranger()).ack().bytes(), REPEAT)
}

fn not_ours(lab: &mut Lab, hook: Hook, packet: &Datagram) -> Duration {
    lab.put(&Service::tcp("10.96.0.10:80").backends(&["10.244.1.2:8080"]));
    lab.time(hook, &packet.bytes(), REPEAT)
}

/// Two entries that translate into one another, so that every run of the same packet is a full
/// translation of address and port.
fn established(lab: &mut Lab, ends: &Ends, hook: Hook) -> Duration {
    let parse = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let (client, a, b) = (parse(ends.client), parse(ends.service), parse(ends.backend));
    for (from, to) in [(a, b), (b, a)] {
        match hook {
            Hook::Ingress | Hook::IngressUpper => {
                entry(lab, (client, from), (to, client), INGRESS, 0);
            }
            Hook::Egress | Hook::EgressUpper | Hook::Uplink => {
                entry(lab, (from, client), (to, client), EGRESS, 0);
            }
        }
    }
    let packet = match hook {
        Hook::Ingress | Hook::IngressUpper => tcp(&format!("{client} -> {a}")).ack(),
        Hook::Egress | Hook::EgressUpper | Hook::Uplink => tcp(&format!("{a} -> {client}")).ack(),
    };
    lab.time(hook, &packet.bytes(), REPEAT)
}

/// Test runs of one packet that XDP forwards: each takes a hop of its 64.
const HOPS: u32 = 60;
/// Such test runs: for each, the kernel waits until no processor runs XDP's dispatcher any more.
const TEST_RUNS: u32 = 20;

/// A packet that both rewrites leave as it was, but for the hop limit, so that it can go again.
fn xdp(ends: &Ends, first: u32, second: u32) -> Duration {
    let parse = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let (client, service) = (parse(ends.client), parse(ends.service));
    let mut total = Duration::ZERO;
    Crossroads::visit(|crossroads| {
        crossroads.mirror();
        let lab = &mut crossroads.lab;
        entry(lab, (client, service), (service, client), INGRESS, first);
        entry(lab, (client, service), (client, service), EGRESS, second);
        let frame = tcp(&format!("{client} -> {service}")).ack().bytes();
        let seen = lab.pass(Hook::Uplink, &frame);
        assert_eq!(seen.action, SENT, "XDP forwards the packet that is timed");
        for _ in 0..TEST_RUNS {
            total += lab.time(Hook::Uplink, &frame, HOPS);
        }
    });
    total / TEST_RUNS
}

/// An entry for `(src, dst)` that rewrites one end to `to.0`, and the other's port to that of
/// `to.1`.
fn entry(
    lab: &mut Lab,
    (src, dst): (SocketAddr, SocketAddr),
    (to, client): (SocketAddr, SocketAddr),
    direction: u8,
    bits: u32,
) {
    match (src.ip(), dst.ip(), to.ip()) {
        (IpAddr::V4(s), IpAddr::V4(d), IpAddr::V4(t)) => {
            let [s, d, t] = [s, d, t].map(|a| Addr::<V4>::new(a.octets()));
            lab.flow(key(s, src, d, dst, direction), flow(t, to, client, bits));
        }
        (IpAddr::V6(s), IpAddr::V6(d), IpAddr::V6(t)) => {
            let [s, d, t] = [s, d, t].map(|a| Addr::<V6>::new(a.octets()));
            lab.flow(key(s, src, d, dst, direction), flow(t, to, client, bits));
        }
        mixed => panic!("two families: {mixed:?}"),
    }
}

fn key<const N: usize>(
    s: Addr<N>,
    src: SocketAddr,
    d: Addr<N>,
    dst: SocketAddr,
    direction: u8,
) -> FlowKey<N> {
    FlowKey {
        src: s,
        dst: d,
        src_port: Port::new(src.port()),
        dst_port: Port::new(dst.port()),
        proto: sluice_common::net::proto::TCP,
        direction,
        pad: [0; 2],
    }
}

fn flow<const N: usize>(addr: Addr<N>, to: SocketAddr, client: SocketAddr, bits: u32) -> Flow<N> {
    Flow {
        addr,
        port: Port::new(to.port()),
        client_port: Port::new(client.port()),
        service: 1,
        backend: 1,
        generation: 1,
        seen: 0,
        flags: flags::ESTABLISHED | bits,
    }
}

/// New flows cannot be repeated: each is timed alone, its own test run included.
fn new_flow(lab: &mut Lab, ends: &Ends) -> Duration {
    let service = Service::tcp(ends.service).backends(&[ends.backend]);
    lab.put(&service);
    let client: SocketAddr = ends.client.parse().expect("an address");
    let mut total = Duration::ZERO;
    for port in 0..NEW_FLOWS {
        let client = SocketAddr::new(client.ip(), 10_000 + port);
        let frame = tcp(&format!("{client} -> {}", ends.service)).syn().bytes();
        total += lab.time(Hook::Ingress, &frame, 1);
    }
    total / u32::from(NEW_FLOWS)
}
