//! Objects that cannot be used: each is named in the log, and everything else goes on.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{
    Service, Slice, Topology,
    address::{self, Family, Pair},
    wire::{Ask, Transport},
};

use crate::{
    cases::{Cases, answered, within},
    world::{PORT, World, name, node_port, on_node, service, slice, vip},
};

/// The Service whose address, port and NodePort another one wants as well.
const ROBBED: u8 = 1;
/// The one that does. Of two that come together, the first by name keeps the address.
const THIEF: u8 = 9;
/// A Service that nothing is wrong with.
const GOOD: u8 = 2;
/// A Service whose other ports make no sense.
const HALF: u8 = 3;
/// A Service with garbage among its endpoints.
const MIXED: u8 = 4;
/// A Service whose slices have a hundred thousand endpoints.
const HUGE: u8 = 5;
const HUGE_ENDPOINTS: u32 = 100_000;

#[test]
fn bad_objects_are_named_and_the_rest_goes_on() {
    let mut world = World::bare(Topology::Bridge);
    world.serve(ROBBED, &[1]);
    world.serve(GOOD, &[3]);
    write_bad(&world);
    let began = Instant::now();
    world.start();
    println!("{HUGE_ENDPOINTS} endpoints among others: ready after {:?}", began.elapsed());
    let mut cases = Cases::new("bad objects");
    for (object, words) in NAMED {
        cases.case(format!("{object} is named"), || named(&world, object, words));
    }
    works(&world, &mut cases);
    // What was wrong is put right, one by one.
    world.manifests.delete(&name(ROBBED)).unwrap();
    cases.each("the address is free", |family, transport| {
        within(SLOW, || reached(&world, vip(ROBBED, family), transport, "pod2"))
    });
    fs::remove_file(world.manifests.dir().join("huge.json")).unwrap();
    world.endpoints(HUGE, &[1]).unwrap();
    world.endpoints(GOOD, &[1]).unwrap();
    cases.case("a later change", || {
        let target = vip(GOOD, Family::V4);
        within(SLOW, || reached(&world, target, Transport::Tcp, "pod1"))?;
        let target = vip(HUGE, Family::V4);
        within(SLOW, || reached(&world, target, Transport::Tcp, "pod1"))
    });
    cases.finish();
}

/// How long a change may take beside an absurd object, on a loaded machine.
const SLOW: Duration = Duration::from_secs(30);

/// Objects, and words of what is said about them.
const NAMED: [(&str, &str); 10] = [
    ("Service default/s9", "10.96.0.1:80"),
    ("Service default/s9", "already belongs to default/s1"),
    ("Service default/s9", "30001"),
    ("Service default/garbage", "is not an IP address"),
    ("Service default/s3", "port: 0 is not a port from 1 to 65535"),
    ("Service default/s3", "protocol \"QUIC\" is unknown"),
    ("EndpointSlice default/s4-garbage", "3 of 4 endpoints have an address that is not IPv4"),
    ("EndpointSlice default/s4-garbage", "not one host's routable address"),
    ("Service default/s5", "34464 IPv4 endpoints of default/s5:tcp get no traffic"),
    ("nonsense.yaml", "line 1"),
];

fn named(world: &World, object: &str, words: &str) -> Result<()> {
    for sluice in &world.sluices {
        let log = sluice.log();
        let is_it = |line: &str| line.contains(&format!("{object}: ")) && line.contains(words);
        ensure!(log.lines().any(is_it), "no line with {words:?}");
    }
    Ok(())
}

/// Writes everything that is bad, and what is good about it.
fn write_bad(world: &World) {
    let cluster = &world.cluster;
    let manifests = &world.manifests;
    let thief = Service::new(&name(THIEF), address::service(ROBBED))
        .tcp(PORT, Some(node_port(ROBBED)))
        .udp(PORT, Some(node_port(ROBBED)));
    manifests.service(&thief).unwrap();
    world.endpoints(THIEF, &[2]).unwrap();
    let garbage = service(THIEF)
        .to_value()
        .to_string()
        .replace("\"s9\"", "\"garbage\"")
        .replace("10.96.0.9", "10.96.0.999")
        .replace("fd00:10:96::9", "garbage");
    write(world, "garbage.json", &garbage);
    let port = |name: &str, protocol: &str, number: u16| json!({ "name": name, "protocol": protocol, "port": number });
    let (zero, quic) = (port("zero", "TCP", 0), port("quic", "QUIC", 443));
    let ports = [port("tcp", "TCP", PORT), port("udp", "UDP", PORT), zero, quic];
    manifests.service(&service(HALF).with("ports", Value::from(ports.to_vec()))).unwrap();
    world.endpoints(HALF, &[1]).unwrap();
    world.serve(MIXED, &[1]);
    let odd = slice(cluster, MIXED, &[]).unwrap().named("s4").to_values()[0].to_string();
    let endpoints: Vec<Value> = ["10.244.1.999", "garbage", "::1", "127.0.0.1"]
        .map(|text| json!({ "addresses": [text] }))
        .to_vec();
    let odd = odd
        .replace("\"endpoints\":[]", &format!("\"endpoints\":{}", Value::from(endpoints)))
        .replace("s4-ipv4", "s4-garbage");
    write(world, "odd.json", &odd);
    let huge = Service::new(&name(HUGE), address::service(HUGE)).tcp(PORT, None);
    manifests.service(&huge).unwrap();
    write(world, "huge.json", &huge_slice());
    write(world, "nonsense.yaml", "}{");
}

fn write(world: &World, file: &str, text: &str) {
    fs::write(world.manifests.dir().join(file), text).unwrap();
}

/// Addresses that nobody has, in a range that nodes do not route to pods.
fn huge_slice() -> String {
    let address = |n: u32| Pair {
        v4: std::net::Ipv4Addr::from(0x0b00_0001 + n),
        v6: std::net::Ipv6Addr::LOCALHOST,
    };
    let slice = (0..HUGE_ENDPOINTS).fold(Slice::new(&name(HUGE)).named("huge"), |slice, n| {
        slice.endpoint(address(n), "node1")
    });
    slice.to_values()[0].to_string()
}

/// Everything that can work does, the good parts of bad objects included.
fn works(world: &World, cases: &mut Cases) {
    for (number, who) in [(ROBBED, "pod1"), (GOOD, "pod3"), (HALF, "pod1"), (MIXED, "pod1")] {
        cases.each(format!("ClusterIP {number}"), |family, transport| {
            reached(world, vip(number, family), transport, who)
        });
    }
    for (number, who) in [(ROBBED, "pod1"), (GOOD, "pod3"), (MIXED, "pod1")] {
        cases.each(format!("NodePort {number}"), |family, transport| {
            let ask = Ask::new(transport, on_node(2, number, family));
            answered(ask, world.cluster.client(), who).map(drop)
        });
    }
}

fn reached(
    world: &World,
    target: std::net::SocketAddr,
    transport: Transport,
    who: &str,
) -> Result<()> {
    answered(Ask::new(transport, target), world.cluster.pod(2)?, who)?;
    answered(Ask::new(transport, target), world.cluster.node(1)?, who).map(drop)
}
