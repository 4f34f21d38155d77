//! Pods and interfaces that come while Sluice runs, or while it does not.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use sluice::dataplane::aya::pin::{Direction, Pins};
use testbed::{
    Node, Place, Sluice, Source, Topology,
    address::Family,
    wire::{Ask, Transport},
};

use crate::{
    cases::{Cases, answered, within},
    world::{World, on_node, vip},
};

/// How long the first exchange of a new pod may take on a loaded machine; it is a few
/// milliseconds on an idle one.
const FIRST: Duration = Duration::from_secs(2);

/// How long a retry may take; there is one every second.
const RETRY: Duration = Duration::from_secs(10);

#[test]
fn a_new_pod_has_its_services() {
    for topology in [Topology::Bridge, Topology::Routed] {
        let mut world = served(topology);
        let mut cases = Cases::new(format!("new pods, {topology:?}"));
        let new = world.cluster.add_pod(1).unwrap();
        let began = Instant::now();
        within(FIRST, || new.tcp(vip(1, Family::V4)).map(drop).map_err(Into::into)).unwrap();
        println!("{topology:?}: a new pod's first answer {:?} after it could ask", began.elapsed());
        reaches(&mut cases, "new pod", new);
        println!(
            "{topology:?}: attached {:?} after `ip link add`",
            attached(world.cluster.node(1).unwrap())
        );
        world.endpoints(1, &[5]).unwrap();
        let pod = world.cluster.pod(2).unwrap();
        let ask = Ask::new(Transport::Tcp, vip(1, Family::V6));
        within(FIRST, || answered(ask, pod, "pod5").map(drop)).expect("a new pod as endpoint");
        what_could_not_be_attached_is_tried_again(&world);
        cases.finish();
    }
}

/// On a bridge CNI the bridge itself carries the programs.
#[test]
fn a_pod_that_starts_without_the_controller_has_its_services() {
    let mut world = served(Topology::Bridge);
    let mut cases = Cases::new("new pods without a controller");
    world.sluices[0].stop().unwrap();
    world.cluster.add_pod(1).unwrap();
    let new = world.cluster.pod(5).unwrap();
    reaches(&mut cases, "without the controller", new);
    let held = [1, 2].map(|number| new.hold(vip(number, Family::V4), 10).unwrap());
    world.sluices[0] =
        Sluice::start(world.cluster.node(1).unwrap(), Source::Manifests(world.manifests.dir()))
            .unwrap();
    world.sluices[0].wait_ready().unwrap();
    for held in held {
        cases.case("connections that began without it", || {
            held.echo_all()?.into_iter().try_for_each(|answer| Ok(answer.map(drop)?))
        });
    }
    reaches(&mut cases, "with the controller again", new);
    cases.finish();
}

/// Something in the place of its pin keeps an interface from being attached.
fn what_could_not_be_attached_is_tried_again(world: &World) {
    let node = world.cluster.node(1).unwrap();
    let (pins, index) = (Pins::new(node.bpf_root()), 2_000);
    let obstacle = pins.tc_link(index, Direction::Ingress);
    fs::create_dir(&obstacle).unwrap();
    node.shell(&format!("ip link add late index {index} type bridge")).unwrap();
    within(FIRST, || {
        ensure!(world.sluices[0].log().contains("interface late: "), "not reported");
        Ok(())
    })
    .unwrap();
    assert!(is_pinned(&pins, index).is_err(), "{}", obstacle.display());
    assert!(world.cluster.pod(1).unwrap().tcp(vip(2, Family::V4)).is_ok(), "the others go on");
    fs::remove_dir(&obstacle).unwrap();
    within(RETRY, || is_pinned(&pins, index)).unwrap();
}

/// Service 1 is pod1, on the same node as new pods; Service 2 is pod3, on the other.
fn served(topology: Topology) -> World {
    let mut world = World::bare(topology);
    world.serve(1, &[1]);
    world.serve(2, &[3]);
    world.start();
    world
}

fn reaches(cases: &mut Cases, name: &str, from: &Place) {
    for (number, who) in [(1, "pod1"), (2, "pod3")] {
        cases.each(format!("{name}, ClusterIP of {who}"), |family, transport| {
            answered(Ask::new(transport, vip(number, family)), from, who).map(drop)
        });
        cases.each(format!("{name}, NodePort of {who}"), |family, transport| {
            answered(Ask::new(transport, on_node(1, number, family)), from, who).map(drop)
        });
    }
}

/// How long an interface waits for its programs, the longest of a few.
fn attached(node: &Node) -> Duration {
    let pins = Pins::new(node.bpf_root());
    let one = |n: u32| {
        let index = 1_000 + n;
        node.shell(&format!("ip link add new{n} index {index} type bridge")).unwrap();
        let began = Instant::now();
        while is_pinned(&pins, index).is_err() && began.elapsed() < FIRST {
            std::thread::sleep(Duration::from_millis(1));
        }
        is_pinned(&pins, index).unwrap();
        began.elapsed()
    };
    (0..5).map(one).max().unwrap_or_default()
}

fn is_pinned(pins: &Pins, index: u32) -> Result<()> {
    for direction in Direction::ALL {
        ensure!(pins.tc_link(index, direction).is_file(), "{} of {index}", direction.name());
    }
    Ok(())
}
