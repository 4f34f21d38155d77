//! What `sluice explain` says of a packet, and what the programs do with it: the same, on random
//! services, endpoints, policies and settings.

mod packets;
mod worlds;

use std::cell::Cell;

use proptest::{
    prelude::*,
    test_runner::{Config, TestError, TestRunner},
};
use sluice::{
    explain::{Answer, Question, Verdict, View, explain},
    model::text,
};
use sluice_common::{net::proto, reason::Reason};
use testbed::packet::{
    DROP, Datagram,
    Hook::{Egress, Ingress},
    Lab, NEXT, REDIRECT, Seen,
};

use packets::Packet;
use worlds::World;

/// Worlds, and packets in each.
const WORLDS: u32 = 400;
const PACKETS: usize = 64;

#[test]
fn the_programs_do_what_explain_says() {
    let config = Config { cases: WORLDS, failure_persistence: None, ..Config::default() };
    let cases = worlds::world().prop_flat_map(|world| {
        (prop::collection::vec(packets::packet(&world), PACKETS), Just(world))
    });
    let counts = Cell::new([0; 4]);
    TestRunner::new(config)
        .run(&cases, |(packets, world)| {
            let counted = check(&world, &packets)?;
            let sum = counts.get();
            counts.set(std::array::from_fn(|verdict| sum[verdict] + counted[verdict]));
            Ok(())
        })
        .unwrap_or_else(|failure| match failure {
            TestError::Fail(reason, (_, world)) => {
                let View { maps, settings, .. } = world.view();
                panic!("{reason}\n{}{settings:?}", text::dump(&maps))
            }
            TestError::Abort(reason) => panic!("{reason}"),
        });
    let counts = counts.get();
    // A test that never sees one of them tests nothing.
    assert!(counts.iter().all(|count| *count > 1000), "{counts:?}");
    println!("forward, reject, drop, untouched: {counts:?}");
}

/// Holds every answer about the packets against the programs; counts the verdicts.
fn check(world: &World, packets: &[Packet]) -> Result<[usize; 4], TestCaseError> {
    let view = world.view();
    let mut lab = Lab::new();
    lab.hold(&view);
    let mut counts = [0; 4];
    for (port, packet) in (20_000..).zip(packets) {
        lab.iface(packet.question.input);
        let question = Question { source_port: Some(port), ..packet.question };
        let answer = explain(&view, &question);
        let sent = packet.datagram(port);
        let seen = lab.run(Ingress, &sent.bytes());
        let agrees = agrees(&mut lab, &answer, &sent, &seen);
        prop_assert!(agrees, "{sent:?}\n{answer:#?}\n{:?} {:?}", seen.action, seen.reasons);
        counts[answer.verdict as usize] += 1;
    }
    Ok(counts)
}

fn agrees(lab: &mut Lab, answer: &Answer, sent: &Datagram, seen: &Seen) -> bool {
    let did = (seen.action, seen.reasons.as_slice());
    match answer.verdict {
        Verdict::Forward => {
            if did != (NEXT, &[Reason::NewFlow]) {
                return false;
            }
            let there = Datagram::parse(&seen.frame);
            let hairpin = there.dst.ip() == sent.src.ip();
            let out = lab.run(Egress, &there.bytes());
            let masqueraded = out.reasons.contains(&Reason::Masquerade);
            answer.backends.contains(&there.dst) && masqueraded == (answer.masquerade || hairpin)
        }
        Verdict::Reject => {
            did == (REDIRECT, &[Reason::NoEndpoints]) && applied(answer, "A47")
                || did == (REDIRECT, &[Reason::UnknownPort]) && applied(answer, "A51")
        }
        Verdict::Drop => match seen.reasons.as_slice() {
            _ if seen.action != DROP => false,
            [Reason::NoLocalEndpoint] => applied(answer, "A48") || applied(answer, "A49"),
            [Reason::UnallocatedClusterIp] => applied(answer, "A52"),
            [Reason::SourceRange] => applied(answer, "A53"),
            _ => false,
        },
        Verdict::Untouched => {
            let quiet = matches!(seen.reasons.as_slice(), [] | [Reason::Claim]);
            seen.action == NEXT && quiet && seen.frame == sent.bytes()
        }
    }
}

fn applied(answer: &Answer, rule: &str) -> bool {
    answer.rules().contains(&rule)
}

/// IP protocol numbers of the packets.
const PROTOS: [u8; 2] = [proto::TCP, proto::UDP];
