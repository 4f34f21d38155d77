//! A27: other agents beside the programs: tc programs before and after them, netfilter's hooks, and
//! marks (A54).

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Result, ensure};
use aya_obj::generated::{bpf_attach_type, bpf_insn, bpf_prog_type};
use sluice::dataplane::aya::sys;
use testbed::{
    Node, Topology,
    address::{self, Family},
    wire::{Ask, Transport},
};

use crate::{
    cases::{Cases, answered, dropped},
    world::{World, is_nodes, on_node, vip},
};

/// Where an IPv4 packet behind an Ethernet header has its addresses.
const SOURCE: i32 = 26;
const DESTINATION: i32 = 30;
/// The client's end of its link, on node 1.
const DEVICE: &str = "vethpod2";

/// A tc program that drops what has an address, and leaves the rest to the next one.
fn firewall(field: i32, address: Ipv4Addr) -> OwnedFd {
    let insn = |code, dst, src, off, imm| bpf_insn {
        code,
        _bitfield_align_1: [],
        _bitfield_1: bpf_insn::new_bitfield_1(dst, src),
        off,
        imm,
    };
    let program = [
        insn(0xb7, 2, 0, 0, field),                                // r2 = field
        insn(0xbf, 3, 10, 0, 0),                                   // r3 = frame
        insn(0x07, 3, 0, 0, -4),                                   // r3 -= 4
        insn(0xb7, 4, 0, 0, 4),                                    // r4 = 4
        insn(0x85, 0, 0, 0, 26),  // bpf_skb_load_bytes(r1, r2, r3, r4)
        insn(0x61, 1, 10, -4, 0), // r1 = *(u32 *)(frame - 4)
        insn(0xb7, 0, 0, 0, -1),  // r0 = TCX_NEXT, which is TC_ACT_UNSPEC
        insn(0x56, 1, 0, 1, i32::from_ne_bytes(address.octets())), // if r1 != address, skip one
        insn(0xb7, 0, 0, 0, 2),   // r0 = TC_ACT_SHOT
        insn(0x95, 0, 0, 0, 0),   // return r0
    ];
    sys::load_program(bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS, &program)
        .expect("loading another agent's program")
}

/// Runs a check while a program stands before all others at the ingress of [`DEVICE`].
fn before(node: &Node, program: &OwnedFd, check: impl FnOnce() -> Result<()>) -> Result<()> {
    let index = index_of(node)?;
    let hook = bpf_attach_type::BPF_TCX_INGRESS;
    let link = node.run(|| sys::link_create(program.as_fd(), sys::Target::Tcx(index), hook))??;
    let result = check();
    drop(link);
    result
}

fn index_of(node: &Node) -> Result<u32> {
    let line = node.shell(&format!("ip -o link show dev {DEVICE}"))?;
    Ok(line.split(':').next().unwrap_or_default().trim().parse()?)
}

/// Runs a check while a classic filter, which tcx programs precede, is at a hook of [`DEVICE`].
fn after(
    node: &Node,
    hook: &str,
    program: &OwnedFd,
    check: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let pin = node.bpf_root().join("another-agent");
    sys::pin(program.as_fd(), &pin)?;
    let add =
        format!("tc filter add dev {DEVICE} {hook} protocol ip bpf da pinned {}", pin.display());
    node.shell(&format!("tc qdisc add dev {DEVICE} clsact && {add}"))?;
    let result = check();
    node.shell(&format!("tc qdisc del dev {DEVICE} clsact"))?;
    std::fs::remove_file(pin)?;
    result
}

/// Runs a check while `nft` has these rules in a table.
fn ruled(node: &Node, rules: &str, check: impl FnOnce() -> Result<()>) -> Result<()> {
    node.shell(&format!("nft 'table ip other {{\n{rules}\n}}'"))?;
    let result = check();
    node.shell("nft delete table ip other")?;
    result
}

#[test]
fn a27_other_agents_see_what_they_should() {
    let mut world = World::bare(Topology::Bridge);
    world.serve(1, &[1]);
    world.serve(2, &[3]);
    world.start();
    let mut cases = Cases::new("other agents");
    tc_programs(&world, &mut cases).unwrap();
    netfilter(&world, &mut cases).unwrap();
    marks(&world, &mut cases).unwrap();
    cases.finish();
}

fn tc_programs(world: &World, cases: &mut Cases) -> Result<()> {
    let (node, pod) = (world.cluster.node(1)?, world.cluster.pod(2)?);
    let (service, endpoint) = (address::service(1).v4, address::pod(1, 1).v4);
    let ask = Ask::new(Transport::Tcp, vip(1, Family::V4));
    let passes = || answered(ask, pod, "pod1").map(drop);
    let stops = || dropped(ask, pod);
    passes()?;
    cases.case("a program before sees the Service", || {
        before(node, &firewall(DESTINATION, service), stops)
    });
    cases.case("a program before does not see the endpoint", || {
        before(node, &firewall(DESTINATION, endpoint), passes)
    });
    cases.case("a filter after sees the endpoint", || {
        after(node, "ingress", &firewall(DESTINATION, endpoint), stops)
    });
    cases.case("a filter after does not see the Service", || {
        after(node, "ingress", &firewall(DESTINATION, service), passes)
    });
    cases.case("a filter at egress sees the Service answer", || {
        after(node, "egress", &firewall(SOURCE, service), stops)
    });
    cases.case("a filter at egress does not see the endpoint answer", || {
        after(node, "egress", &firewall(SOURCE, endpoint), passes)
    });
    cases.case("without them all is as before", passes);
    Ok(())
}

/// From the first hook to the last, netfilter sees the client and the endpoint, as a NetworkPolicy
/// wants it; of what is masqueraded, too.
fn netfilter(world: &World, cases: &mut Cases) -> Result<()> {
    let (node, pod, client) =
        (world.cluster.node(1)?, world.cluster.pod(2)?, world.cluster.client());
    let inside = Ask::new(Transport::Udp, vip(2, Family::V4));
    let outside = Ask::new(Transport::Udp, on_node(1, 2, Family::V4));
    let (service, endpoint) = (address::service(2).v4, address::pod(2, 3).v4);
    let own = [pod.address().v4, address::client().v4];
    for (hook, priority) in [("prerouting", -300), ("forward", 0), ("postrouting", 300)] {
        let chain = |rule: String| {
            format!("chain c {{ type filter hook {hook} priority {priority}; {rule} drop; }}")
        };
        for (from, ask, own) in [(&**pod, inside, own[0]), (client, outside, own[1])] {
            let seen = chain(format!("ip saddr {own} ip daddr {endpoint}"));
            cases.case(format!("{hook} sees {} and the endpoint", from.name()), || {
                ruled(node, &seen, || dropped(ask, from))
            });
            let gone = chain(format!("ip daddr {service}"));
            let known = chain(format!("udp dport {}", ask.target.port()));
            cases.case(format!("{hook} does not see what {} asked", from.name()), || {
                ruled(node, &gone, || answered(ask, from, "pod3").map(drop))?;
                ruled(node, &known, || answered(ask, from, "pod3").map(drop))
            });
        }
    }
    Ok(())
}

/// A54: packets get no mark, another agent's mark makes nothing of them, not even kube-proxy's, and
/// a masqueraded client keeps its port where that is free.
fn marks(world: &World, cases: &mut Cases) -> Result<()> {
    let (node, pod, client) =
        (world.cluster.node(1)?, world.cluster.pod(2)?, world.cluster.client());
    let free = 23_456;
    for transport in [Transport::Tcp, Transport::Udp] {
        let inside = Ask::new(transport, vip(2, Family::V4)).from_port(free);
        let outside = Ask::new(transport, on_node(1, 2, Family::V4)).from_port(free);
        let masqueraded = || {
            let reply = answered(outside, client, "pod3")?;
            let seen = reply.seen_source;
            ensure!(is_nodes(1, Family::V4, seen.ip()) && seen.port() == free, "seen as {seen}");
            Ok(())
        };
        let any = "chain c { type filter hook postrouting priority 300; meta mark != 0 drop; }";
        cases.case(format!("A54 no mark, {transport:?}"), || ruled(node, any, masqueraded));
        let bit = "chain c { type filter hook prerouting priority -300; meta mark set 0x4000; }";
        cases.case(format!("A54 kube-proxy's mark, {transport:?}"), || {
            ruled(node, bit, || {
                let seen = answered(inside, pod, "pod3")?.seen_source;
                let own = std::net::SocketAddr::from((pod.address().v4, free));
                ensure!(seen == own, "seen as {seen}");
                Ok(())
            })
        });
    }
    Ok(())
}
