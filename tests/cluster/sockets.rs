//! Connected UDP sockets of the node's own processes, which the connect hook translated once and
//! for all.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use testbed::address::Family;
use testbed::wire::{Ask, FailureKind, Transport};
use testbed::{Slice, Sluice, Source, Topology};

use crate::cases::{Cases, SLOW, answered, within};
use crate::world::{World, name, vip};

/// A73, A74, C1–C5: the socket is told once that its endpoint left; connected again, it reaches
/// another. Sockets to other services and to endpoints that stay notice nothing.
#[test]
fn connected_udp_sockets_learn_that_their_endpoint_left() {
    let mut world = World::bare(Topology::Bridge);
    world.serve(1, &[1]);
    world.serve(2, &[1]);
    world.start();
    let mut cases = Cases::new("A73, sockets of the host");
    for family in Family::BOTH {
        cases.case(format!("replaced, {family:?}"), || replaced(&world, family));
        cases.case(format!("all leave, {family:?}"), || emptied(&world, family));
    }
    cases.finish();
}

/// The same when the endpoint left while no controller ran.
#[test]
fn endpoints_that_left_unattended() {
    let mut world = World::bare(Topology::Bridge);
    world.serve(1, &[1]);
    world.start();
    let host = world.cluster.node(1).unwrap();
    let ask = |family| Ask::new(Transport::Udp, vip(1, family)).timeout_ms(500);
    let held = Family::BOTH.map(|family| host.open(ask(family)).unwrap());
    for socket in &held {
        assert_eq!(socket.echo().unwrap().who, "pod1");
    }
    let sluice = &mut world.sluices[0];
    sluice.kill().unwrap();
    let slice = Slice::new(&name(1)).pod(world.cluster.pod(3).unwrap());
    world.manifests.slice(&slice).unwrap();
    *sluice = Sluice::start(host, Source::Manifests(world.manifests.dir())).unwrap();
    sluice.wait_ready().unwrap();
    for socket in &held {
        aborted(socket).unwrap();
    }
    for family in Family::BOTH {
        answered(ask(family), host, "pod3").unwrap();
    }
}

fn replaced(world: &World, family: Family) -> Result<()> {
    world.endpoints(1, &[1])?;
    let host = world.cluster.node(1)?;
    let ask = Ask::new(Transport::Udp, vip(1, family)).timeout_ms(500);
    within(SLOW, || answered(ask, host, "pod1").map(drop))?;
    let (held, other) = (host.open(ask)?, host.open(Ask::new(Transport::Udp, vip(2, family)))?);
    let direct = host.open(Ask::new(
        Transport::Udp,
        world.cluster.pod(1)?.address().port(family, testbed::address::SERVER_PORT),
    ))?;
    for socket in [&held, &other, &direct] {
        ensure!(socket.echo()?.who == "pod1");
    }
    world.endpoints(1, &[3])?;
    aborted(&held)?;
    answered(ask, host, "pod3")?;
    let again = host.open(ask)?;
    // Also after the second look.
    std::thread::sleep(Duration::from_millis(2_500));
    ensure!(again.echo()?.who == "pod3", "connected again");
    for socket in [&other, &direct] {
        ensure!(socket.echo()?.who == "pod1", "not concerned");
    }
    Ok(())
}

fn emptied(world: &World, family: Family) -> Result<()> {
    world.endpoints(1, &[3])?;
    let host = world.cluster.node(1)?;
    let ask = Ask::new(Transport::Udp, vip(1, family)).timeout_ms(500);
    within(SLOW, || answered(ask, host, "pod3").map(drop))?;
    let held = host.open(ask)?;
    ensure!(held.echo()?.who == "pod3");
    world.endpoints(1, &[])?;
    aborted(&held)
}

/// The socket's owner hears of it.
fn aborted(held: &testbed::Held) -> Result<()> {
    within(Duration::from_secs(3), || match held.echo() {
        Err(failure) if failure.kind == FailureKind::Aborted => Ok(()),
        other => Err(anyhow!("not aborted: {other:?}")),
    })
}
