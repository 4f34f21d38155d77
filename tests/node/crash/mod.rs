//! SIGKILL between any two map writes: what packets find meanwhile, and that the next controller
//! makes of the maps what a start from nothing makes.

mod questions;
mod worlds;

use std::time::Duration;

use sluice::{
    dataplane::{
        Maps, WriteError, apply,
        aya::{
            load::{Options, load},
            maps::KernelMaps,
            pin::Pins,
            read::read_mirror,
        },
    },
    explain::Question,
    model::{
        Model, ModelConfig,
        limits::Limits,
        mirror::{FamilyMirror, Mirror},
        op::{MapOp, Op},
        plan::Build,
        quarantine::GRACE,
        spec::Algorithm,
        text,
    },
};
use sluice_common::{
    backend::Backend,
    net::{Addr, Port, Prefix, V4},
    settings::{Settings, detector, flags},
};

use crate::sandbox::Sandbox;
use questions::{fates, faults, questions};
use worlds::{HERE, World, changes};

/// Small maps: they are read whole after every write.
const LIMITS: Limits =
    Limits { frontends: 256, slots: 128, backends: 64, services: 32, prefixes: 64 };

/// Maps whose writer dies after so many writes.
struct Mortal<'a> {
    maps: &'a mut KernelMaps,
    left: usize,
}

impl Maps for Mortal<'_> {
    fn write(&mut self, op: &Op) -> Result<(), WriteError> {
        let dead = || WriteError::Failed { map: "ALL", cause: "the controller is dead".into() };
        self.left = self.left.checked_sub(1).ok_or_else(dead)?;
        self.maps.write(op)
    }

    fn holds(&self, op: &Op) -> Result<bool, WriteError> {
        self.maps.holds(op)
    }

    fn build(&mut self, build: &Build) -> Option<Result<u64, WriteError>> {
        self.maps.build(build)
    }
}

/// The maps of a sandbox.
struct Bench {
    pins: Pins,
    maps: KernelMaps,
    questions: Vec<Question>,
}

#[test]
fn a_controller_that_dies_between_any_two_writes_leaves_maps_that_the_next_completes() {
    Sandbox::run(|sandbox, _| {
        let mut options = Options::new(&sandbox.bpf);
        let sizes = [
            ("FRONTENDS", LIMITS.frontends),
            ("SLOTS", LIMITS.slots),
            ("BACKENDS", LIMITS.backends),
            ("SERVICES", LIMITS.services),
            ("PREFIXES", LIMITS.prefixes),
        ];
        options.map_sizes = sizes.map(|(name, size)| (name.to_owned(), size)).into();
        let programs = load(&options).expect("loading");
        let pins = programs.pins.clone();
        let maps = KernelMaps::open(&pins).expect("opening");
        let mut bench = Bench { pins, maps, questions: questions() };
        for (change, before, after) in changes() {
            let deaths = bench.try_every_death(change, &before, &after);
            println!("{change}: died after each of {deaths} writes");
        }
    });
}

impl Bench {
    /// Lets a controller on its way from one world to the next die after every write, and the one
    /// that follows it, after every fifth of its own, too. Returns the number of writes.
    fn try_every_death(&mut self, change: &str, before: &World, after: &World) -> usize {
        let old = self.written_from_nothing(before);
        let new = self.written_from_nothing(after);
        let fates = [&old, &new].map(|maps| fates(maps, settings(), &self.questions));
        for deaths in 1.. {
            self.put(&old);
            if self.run(before, after, deaths) {
                return deaths;
            }
            let half = self.look(&format!("{change}, {deaths} writes"), &fates);
            for more in (deaths % 5..).step_by(5) {
                self.put(&half);
                let done = self.run(after, after, more);
                let place = format!("{change}, {deaths} writes, then {more}");
                let maps = self.look(&place, &fates);
                if done {
                    assert_eq!(essence(&maps), essence(&new), "{place}");
                    break;
                }
            }
        }
        unreachable!("a plan has an end")
    }

    /// What maps hold after a start from nothing.
    fn written_from_nothing(&mut self, world: &World) -> Mirror {
        self.put(&Mirror::default());
        assert!(self.run(world, world, usize::MAX));
        let mirror = read_mirror(&self.pins).expect("reading");
        assert_eq!(faults(&mirror), [""; 0]);
        mirror
    }

    /// A controller that starts on the maps as they are, and may write so often. It knows one world,
    /// which the maps need not hold, and then hears of the next. Returns whether it came to its end.
    fn run(&mut self, known: &World, next: &World, writes: usize) -> bool {
        let mirror = read_mirror(&self.pins).expect("reading");
        let config = ModelConfig {
            node_name: HERE.to_owned(),
            limits: LIMITS,
            algorithm: Algorithm::Random,
        };
        let mut model = Model::adopt(config, mirror);
        model.set_settings(settings());
        known.list(&mut model);
        let mut maps = Mortal { maps: &mut self.maps, left: writes };
        apply(&model.plan().0, &mut maps, &mut model);
        next.list(&mut model);
        // What is retired may be reused when its time is over.
        for round in 0..6 {
            let (plan, problems) = model.plan();
            assert_eq!(problems, []);
            if !apply(&plan, &mut maps, &mut model).is_complete() && maps.left == 0 {
                return false;
            }
            model.tick(GRACE * round + Duration::from_millis(1));
        }
        assert!(model.is_settled());
        true
    }

    /// Reads the maps: nothing in them is wrong, and every packet has its old or its new fate.
    fn look(&self, place: &str, [old, new]: &[Vec<questions::Fate>; 2]) -> Mirror {
        let mirror = read_mirror(&self.pins).expect("reading");
        assert_eq!(faults(&mirror), [""; 0], "{place}");
        let now = fates(&mirror, settings(), &self.questions);
        for (at, question) in self.questions.iter().enumerate() {
            let (now, old, new) = (&now[at], &old[at], &new[at]);
            assert!(
                now.is_between(old, new),
                "{place}: {question:?} was {old:?}, is to be {new:?}, is {now:?}\n{}",
                text::dump(&mirror)
            );
        }
        mirror
    }

    /// Makes the maps hold just this.
    fn put(&mut self, wanted: &Mirror) {
        let found = read_mirror(&self.pins).expect("reading");
        let names = found.services.keys().map(|id| Op::ForgetService(*id));
        let named = wanted.services.iter().map(|(id, name)| Op::NameService(*id, *name));
        let ops = names
            .chain(named)
            .chain(wanted.settings.map(Op::Settings))
            .chain(replace(&found.v4, &wanted.v4).map(Op::V4))
            .chain(replace(&found.v6, &wanted.v6).map(Op::V6));
        ops.for_each(|op| self.maps.write(&op).expect("writing"));
    }
}

fn replace<const N: usize>(
    found: &FamilyMirror<N>,
    wanted: &FamilyMirror<N>,
) -> impl Iterator<Item = MapOp<N>> {
    let frontends = found.frontends.keys().map(|key| MapOp::Frontend(*key, None));
    let backends = found.backends.keys().map(|id| MapOp::Backend(*id, unused()));
    let prefixes = found.prefixes.iter().map(|prefix| MapOp::RemovePrefix(*prefix));
    let new_slots = wanted.slots.iter().map(|(slot, id)| MapOp::Slot(*slot, *id));
    let new_backends = wanted.backends.iter().map(|(id, backend)| MapOp::Backend(*id, *backend));
    let new_prefixes = wanted.prefixes.iter().map(|prefix| MapOp::AddPrefix(*prefix));
    let new_frontends =
        wanted.frontends.iter().map(|(key, value)| MapOp::Frontend(*key, Some(*value)));
    let old = frontends.chain(backends).chain(prefixes);
    old.chain(new_slots).chain(new_backends).chain(new_prefixes).chain(new_frontends)
}

fn unused<const N: usize>() -> Backend<N> {
    let (addr, port) = (Addr::UNSPECIFIED, Port::new(0));
    Backend { addr, port, proto: 0, flags: 0, service: 0, generation: 0 }
}

/// What two equal states of the maps have in common, whatever the numbers in them: all but ids,
/// and the generations of ids that are free.
fn essence(maps: &Mirror) -> (String, Vec<String>, Option<Settings>) {
    let mut names: Vec<_> = maps.services.values().map(|name| format!("{name:?}")).collect();
    names.sort();
    (text::dump(maps), names, maps.settings)
}

fn settings() -> Settings {
    Settings {
        netns_cookie: 7,
        flags: flags::CLUSTER_IPS_V4 | flags::CLUSTER_IPS_V6,
        node_port_min: 1,
        node_port_max: 0,
        masquerade_min: 61_000,
        masquerade_max: 65_535,
        detector_v4: detector::PREFIX,
        detector_v6: detector::PREFIX,
        pad: [0; 2],
        pods_v4: Prefix { addr: Addr::<V4>::new([10, 0, 0, 0]), mask: Addr::new([255, 0, 0, 0]) },
        pods_v6: Prefix::ANY,
        services_v4: Prefix::ANY,
        services_v6: Prefix::ANY,
    }
}
