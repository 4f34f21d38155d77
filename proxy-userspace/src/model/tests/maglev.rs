//! Services with Maglev tables.

use sluice_common::{frontend::flags, hash, net::Addr, net::Port, net::proto, settings};

use super::super::{
    Model, ModelConfig,
    limits::Limits,
    mirror::{FamilyMirror, Mirror},
    op::{MapOp, Op},
    spec::{Algorithm, Event, NodeSpec, ServiceSpec, TrafficPolicy},
};
use super::build::{World, config, ip, service, settings as base_settings};
use crate::dataplane::{apply, fake::FakeMaps};

fn hashed(cluster_ip: &str) -> ServiceSpec {
    ServiceSpec { algorithm: Some(Algorithm::Maglev), ..service(cluster_ip) }
}

const PODS: [&str; 4] = ["10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4"];

/// Where the only service's flows from a hundred ports go: the last byte of each backend's address.
fn choices(mirror: &Mirror) -> Vec<u8> {
    let FamilyMirror { frontends, slots, backends, .. } = &mirror.v4;
    let mut all = frontends.values().filter(|f| f.flags & flags::HASHED != 0);
    let frontend = all.next().expect("a hashed frontend");
    let to = |port: u16| {
        let client = Addr::new([10, 9, 9, 9]);
        let point = hash::of_flow(&client, Port::new(port), Port::new(80), proto::TCP);
        backends[&slots[&frontend.cluster.slot(point)]].addr.bytes[3]
    };
    (40_000..40_100).map(to).collect()
}

fn flag(mirror: &Mirror) -> bool {
    mirror.settings.is_some_and(|s| s.flags & settings::flags::HASHED_FRONTENDS != 0)
}

#[test]
fn a_leaver_moves_only_its_own_flows() {
    let mut world = World::new();
    world.add("web", hashed("10.96.0.10"));
    world.slice("web", &PODS);
    let all = "10.96.0.10:80/tcp default/web cluster -> 10.1.0.1:8080, 10.1.0.2:8080, \
               10.1.0.3:8080, 10.1.0.4:8080; maglev";
    assert_eq!(world.frontends(), [all]);
    assert!(flag(world.maps.content()));
    let before = choices(world.maps.content());
    world.slice("web", &[PODS[0], PODS[1], PODS[3]]);
    world.step();
    let after = choices(world.maps.content());
    assert!(before.contains(&3) && !after.contains(&3));
    assert!(std::iter::zip(before, after).all(|(was, is)| was == 3 || was == is));
}

#[test]
fn every_node_has_the_same_table_whatever_its_ids() {
    let mut here = World::new();
    here.add("web", hashed("10.96.0.10"));
    here.slice("web", &PODS);
    here.step();
    let mut there = World::new();
    there.add("other", service("10.96.0.11"));
    there.slice("other", &["10.1.0.9"]);
    there.slice("web", &[PODS[3], PODS[1]]);
    there.add("web", hashed("10.96.0.10"));
    there.step();
    there.slice("web", &[PODS[3], PODS[2], PODS[0], PODS[1]]);
    there.step();
    assert_eq!(choices(here.maps.content()), choices(there.maps.content()));
}

#[test]
fn the_algorithm_changes_at_any_time() {
    let mut world = World::new();
    world.add("web", service("10.96.0.10"));
    world.slice("web", &PODS);
    let id = |world: &World| world.maps.content().services.keys().next().copied();
    world.step();
    let before = id(&world);
    for round in 0..3 {
        world.add("web", hashed("10.96.0.10"));
        assert!(world.frontends()[0].ends_with("; maglev"), "round {round}");
        world.add("web", service("10.96.0.10"));
        assert!(world.frontends()[0].ends_with("10.1.0.4:8080"), "round {round}");
        assert!(!flag(world.maps.content()));
        assert_eq!(id(&world), before);
        world.wait();
    }
    // What tables left behind is not taken for what lists wrote.
    world.slice("web", &PODS[..3]);
    assert!(world.frontends()[0].ends_with("10.1.0.2:8080, 10.1.0.3:8080"));
}

#[test]
fn the_flag_decides_for_services_that_do_not_say() {
    let config = ModelConfig { algorithm: Algorithm::Maglev, ..config(Limits::default()) };
    let mut model = Model::new(config);
    model.set_settings(base_settings());
    let mut world = World { model, maps: FakeMaps::default() };
    super::build::list(&mut world.model, Default::default(), Default::default());
    world.add("a", service("10.96.0.10"));
    let random = ServiceSpec { algorithm: Some(Algorithm::Random), ..service("10.96.0.11") };
    world.add("b", random);
    world.slice("a", &PODS[..1]);
    let expected = [
        "10.96.0.10:80/tcp default/a cluster -> 10.1.0.1:8080; maglev",
        "10.96.0.11:80/tcp default/b cluster -> none; reject",
    ];
    assert_eq!(world.frontends(), expected);
}

#[test]
fn policies_have_tables_of_their_own() {
    let mut world = World::new();
    let spec = ServiceSpec {
        external_ips: vec![ip("192.0.2.1")],
        external_policy: TrafficPolicy::Local,
        ..hashed("10.96.0.10")
    };
    world.add("web", spec);
    world.slice("web", &["10.1.0.1 here", "10.1.0.2 here", "10.1.0.3"]);
    let expected = [
        "10.96.0.10:80/tcp default/web cluster -> 10.1.0.1:8080, 10.1.0.2:8080, 10.1.0.3:8080; maglev",
        "192.0.2.1:80/tcp default/web external -> 10.1.0.1:8080, 10.1.0.2:8080, 10.1.0.3:8080; \
         local -> 10.1.0.1:8080, 10.1.0.2:8080; maglev",
    ];
    assert_eq!(world.frontends(), expected);
}

#[test]
fn without_room_for_a_table_the_hash_points_into_the_list() {
    let mut world = World::with(Limits { slots: 5000, ..Limits::default() });
    world.add("a", hashed("10.96.0.10"));
    world.slice("a", &PODS);
    let (_, problems) = world.step();
    assert!(problems.is_empty());
    world.add("b", hashed("10.96.0.11"));
    world.slice("b", &PODS);
    let (_, problems) = world.step();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].text.contains("Maglev table of default/b's IPv4 endpoints"));
    assert!(problems[0].text.ends_with("raise --max-slots"));
    assert!(world.frontends()[1].contains("10.1.0.4:8080; maglev"));
    world.delete("a");
    world.step();
    world.wait();
    world.step();
    assert_eq!(world.model.problems().count(), 0, "b has its table now");
    assert!(world.frontends()[0].ends_with("10.1.0.4:8080; maglev"));
}

#[test]
fn a90_a_restart_keeps_tables_and_writes_them_once_more() {
    let mut world = World::with(Limits { slots: 5000, ..Limits::default() });
    world.add("web", hashed("10.96.0.10"));
    world.slice("web", &PODS);
    world.step();
    let content = world.maps.content().clone();
    let mut after = World {
        model: super::build::model(Limits { slots: 5000, ..Limits::default() }, content.clone()),
        maps: FakeMaps::holding(content.clone()),
    };
    after.add("web", hashed("10.96.0.10"));
    after.slice("web", &PODS);
    let lists = [
        Event::Services(super::super::spec::Change::Replace(
            [(super::build::name("web"), hashed("10.96.0.10"))].into(),
        )),
        Event::Slices(super::super::spec::Change::Replace(
            [(super::build::name("web"), super::build::slice("web", &PODS))].into(),
        )),
        Event::Node(NodeSpec::default()),
    ];
    lists.into_iter().for_each(|event| after.model.handle(event));
    assert_eq!(after.step().0, 1, "the table, where it is");
    assert_eq!(*after.maps.content(), content);
}

#[test]
fn other_writes_do_not_wait_for_a_table() {
    let mut world = World::new();
    world.step();
    world.add("a", hashed("10.96.0.10"));
    world.slice("a", &PODS);
    world.add("b", service("10.96.0.11"));
    world.slice("b", &PODS);
    let mut maps = Slow(std::mem::take(&mut world.maps), Vec::new());
    let (plan, _) = world.model.plan();
    apply(&plan, &mut maps, &mut world.model);
    assert_eq!(maps.1.len(), 1, "one table is being written");
    let hosts: Vec<u8> =
        maps.0.content().v4.frontends.keys().map(|key| key.addr.bytes[3]).collect();
    assert!(hosts.contains(&11) && !hosts.contains(&10));
    // It changes while it is being written: the range stays its writer's until that is done.
    world.slice("a", &PODS[..3]);
    let (plan, _) = world.model.plan();
    apply(&plan, &mut maps, &mut world.model);
    let [first, second] = [&maps.1[0], &maps.1[1]];
    assert!(first.range.start + first.range.len <= second.range.start);
    assert!(world.model.is_building());
    for build in std::mem::take(&mut maps.1) {
        let outcome = crate::dataplane::Maps::build(&mut maps.0, &build).expect("at once");
        world.model.built(&build, outcome.ok());
    }
    world.maps = maps.0;
    assert!(
        world.frontends()[0].ends_with("-> 10.1.0.1:8080, 10.1.0.2:8080, 10.1.0.3:8080; maglev")
    );
    assert!(!world.model.is_building());
}

/// Maps whose tables take a while.
struct Slow(FakeMaps, Vec<super::super::plan::Build>);

impl crate::dataplane::Maps for Slow {
    fn write(&mut self, op: &Op) -> Result<(), crate::dataplane::WriteError> {
        self.0.write(op)
    }

    fn holds(&self, op: &Op) -> Result<bool, crate::dataplane::WriteError> {
        self.0.holds(op)
    }

    fn build(
        &mut self,
        build: &super::super::plan::Build,
    ) -> Option<Result<u64, crate::dataplane::WriteError>> {
        self.1.push(build.clone());
        None
    }
}

#[test]
fn a_table_that_fails_is_tried_again_and_a_spoiled_one_repaired() {
    let mut world = World::new();
    world.add("web", hashed("10.96.0.10"));
    world.slice("web", &PODS);
    world.maps.fault = Some(|write| write == 1);
    let (plan, _) = world.model.plan();
    let report = apply(&plan, &mut world.maps, &mut world.model);
    assert_eq!(
        report.failures,
        ["writing 1 of 1 Maglev tables failed: map FAKE: injected at write 1"]
    );
    world.maps.fault = None;
    world.step();
    let sound = world.maps.content().clone();
    assert_eq!(world.model.distrust_tables(&sound), 0);
    world.maps.damage(|maps| maps.v4.slots.extend([(17, 99)]));
    let found = world.maps.content().clone();
    assert_eq!(world.model.distrust_tables(&found), 1);
    let (plan, _) = world.model.plan();
    let [build] = plan.tables.as_slice() else { panic!("{plan:?}") };
    assert_eq!(build.members.len(), 4);
    apply(&plan, &mut world.maps, &mut world.model);
    assert_eq!(*world.maps.content(), sound);
    let is_slot = |op: &Op| matches!(op, Op::V4(MapOp::Slot(..)));
    assert_eq!(plan.ops().filter(is_slot).count(), 0);
}
