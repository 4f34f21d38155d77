//! Restart, crash and upgrade under load, fifty times: nobody notices (A90).

use std::{
    collections::BTreeMap,
    fs,
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sluice::dataplane::aya::{
    pin::{Pins, entries},
    read::reasons,
    sys,
};
use sluice_common::reason::{Outcome, Reason};
use testbed::{Held, Place, Sluice, Source, Topology, address::Family};

use crate::{
    streams::Streams,
    survive::services,
    upgrade::other_build,
    world::{World, on_node, vip},
};

const RESTARTS: u32 = 50;
/// The node whose controller it is.
const RESTARTED: &str = "node1";
/// Of so many restarts one runs until it is ready, the others are killed on their way.
const WHOLE: u32 = 5;
/// Between two exchanges of a stream.
const PAUSE_MS: u64 = 20;
/// Connections that are open all the time, from each place.
const HELD: u32 = 20;

#[test]
fn fifty_restarts_crashes_and_upgrades_are_not_noticed() {
    let mut world = World::bare(Topology::Bridge);
    world.serve(1, &[1, 3]);
    world.start();
    let folder = tempfile::tempdir().unwrap();
    let builds = [Sluice::build().unwrap(), other_build(folder.path()).unwrap()];
    let before = Datapath::look(&world);
    let mut sluice = world.sluices.remove(0);
    let cluster = &world.cluster;
    let held = hold(cluster);
    let streams = Streams::every(cluster, 1, PAUSE_MS);
    let began = Instant::now();
    let mut rounds = Rounds::new(world.manifests.dir(), builds, before.programs.clone());
    for round in 1..=RESTARTS {
        rounds.restart(&mut sluice, cluster.node(1).unwrap(), round).unwrap();
    }
    let took = began.elapsed();
    let answers = streams.spotless();
    for held in &held {
        held.echo_all().unwrap().into_iter().for_each(|answer| drop(answer.unwrap()));
    }
    drop(held);
    let after = Datapath::look(&world);
    assert_eq!(after.services, before.services, "ids and ranges stay");
    assert_eq!(after.resets, before.resets, "connections were reset");
    assert_eq!(after.refused, before.refused, "packets were dropped or rejected");
    println!("{RESTARTS} restarts in {took:?}, {answers} answers; ready after {:?}", rounds.ready);
}

/// Connections that live through everything.
fn hold(cluster: &testbed::Cluster) -> Vec<Held<'_>> {
    let hold = |family| {
        [
            cluster.pod(2).unwrap().hold(vip(1, family), HELD).unwrap(),
            cluster.node(1).unwrap().hold(vip(1, family), HELD).unwrap(),
            cluster.client().hold(on_node(1, 1, family), HELD).unwrap(),
        ]
    };
    Family::BOTH.into_iter().flat_map(hold).collect()
}

/// The order of what is done to a controller.
struct Rounds<'a> {
    manifests: &'a Path,
    builds: [PathBuf; 2],
    /// What the last start that got to its end attached.
    programs: BTreeMap<String, Attached>,
    /// How long a start last took.
    ready: Duration,
    random: u64,
}

impl<'a> Rounds<'a> {
    fn new(
        manifests: &'a Path,
        builds: [PathBuf; 2],
        programs: BTreeMap<String, Attached>,
    ) -> Self {
        let ready = Duration::from_secs(1);
        Self { manifests, builds, programs, ready, random: 0x9e37_79b9_7f4a_7c15 }
    }

    /// Ends the controller, by SIGTERM or SIGKILL in turn, and starts it again: the other build
    /// every time, until it is ready or to a random moment before.
    fn restart(&mut self, sluice: &mut Sluice, node: &testbed::Node, round: u32) -> Result<()> {
        let was_whole = (round - 1).is_multiple_of(WHOLE);
        if was_whole && round.is_multiple_of(2) {
            sluice.stop()?;
        } else {
            sluice.kill()?;
        }
        let build = round as usize % 2;
        let source = Source::Manifests(self.manifests);
        let began = Instant::now();
        *sluice = Sluice::start_build(node, source, &self.builds[build], &[])?;
        if !round.is_multiple_of(WHOLE) {
            std::thread::sleep(self.moment());
            return Ok(());
        }
        sluice.wait_ready()?;
        self.ready = began.elapsed();
        let programs = programs(node)?;
        ensure!(programs.len() == self.programs.len(), "{programs:?}, not {:?}", self.programs);
        for (name, at) in &programs {
            let was = self.programs.get(name).with_context(|| format!("{name} is new"))?;
            ensure!(at.link == was.link, "{name} is another link");
            ensure!(at.tag != was.tag, "{name} has its old program");
        }
        self.programs = programs;
        Ok(())
    }

    /// A random part of the time that a start takes; early ones are likelier, for the test to be
    /// short.
    fn moment(&mut self) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let part = (self.random >> 11) as f64 / (1_u64 << 53) as f64;
        self.ready.mul_f64(part * part)
    }
}

/// What hangs at a pinned link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attached {
    link: u32,
    tag: u64,
}

/// The links of a node by the names of their pins.
fn programs(node: &testbed::Node) -> Result<BTreeMap<String, Attached>> {
    let loaded = aya::programs::loaded_programs().filter_map(Result::ok);
    let tags: BTreeMap<u32, u64> = loaded.map(|program| (program.id(), program.tag())).collect();
    let look = |path: PathBuf| {
        let link = sys::open(&path, false)?;
        let info = sys::link_info(link.as_fd())?;
        let tag = *tags.get(&info.program).context("a program")?;
        let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
        Ok((name, Attached { link: info.id, tag }))
    };
    entries(&Pins::new(node.bpf_root()).links()).into_iter().map(look).collect()
}

/// What a restart must not change.
struct Datapath {
    services: String,
    programs: BTreeMap<String, Attached>,
    /// Packets that found no way, by reason.
    refused: Vec<(Reason, u64)>,
    /// Connections reset, and resets sent, by place.
    resets: Vec<(String, u64, u64)>,
}

impl Datapath {
    fn look(world: &World) -> Self {
        let cluster = &world.cluster;
        let node = cluster.node(1).unwrap();
        let places = cluster.pods().iter().map(|pod| &**pod);
        let nodes = cluster.nodes().iter().map(|node| &**node);
        let places: Vec<&Place> = places.chain(nodes).chain([cluster.client()]).collect();
        let refused = reasons(&Pins::new(node.bpf_root())).unwrap().into_iter();
        // Redirects are dropped always, and come while client and backend share a link.
        let harms =
            |reason: Reason| reason.outcome() != Outcome::Pass && reason != Reason::IcmpRedirect;
        Self {
            services: services(world),
            programs: programs(node).unwrap(),
            refused: refused.filter(|(reason, _)| harms(*reason)).collect(),
            resets: places.into_iter().map(|place| resets(place).unwrap()).collect(),
        }
    }
}

/// EstabResets and OutRsts of a place.
fn resets(place: &Place) -> Result<(String, u64, u64)> {
    let text = place.run(|| fs::read_to_string("/proc/thread-self/net/snmp"))??;
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (rows.next().context("names")?, rows.next().context("values")?);
    let table: BTreeMap<_, _> = names.split(' ').zip(values.split(' ')).collect();
    let value = |name| -> Result<u64> { Ok(table.get(name).context("a counter")?.parse()?) };
    // A starting controller asks whether a kube-proxy listens on the node's loopback, and the node
    // refuses it. That the node resets no client, its client's exchanges and EstabResets tell.
    let sent = if place.name() == RESTARTED { 0 } else { value("OutRsts")? };
    Ok((place.name().to_owned(), value("EstabResets")?, sent))
}
