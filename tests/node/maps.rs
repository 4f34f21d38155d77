//! What is written to the kernel's maps is read back by a restart and by the command line.

use std::time::Instant;

use sluice::{
    cli::{self, Output},
    dataplane::{
        Maps, WriteError,
        aya::{
            load::{Options, load},
            maps::KernelMaps,
            read::{read_mirror, reasons},
        },
    },
    model::{
        built::checksum,
        maglev::{self, Member},
        op::{MapOp, Op},
        plan::Build,
    },
};
use sluice_common::{
    backend::{Backend, flags::SERVING},
    frontend::{Frontend, FrontendKey, Range},
    net::{Addr, Port, Prefix, V4, V6, proto},
    prefix::{PrefixKey, SCOPE_BITS, SERVICE_CIDRS},
    service::ServiceName,
    settings::{Settings, flags},
};

use crate::sandbox::Sandbox;

fn ops() -> Vec<Op> {
    let mut name = ServiceName {
        namespace: [0; 64],
        name: [0; 64],
        port_name: [0; 64],
        proto: 6,
        pad: [0; 3],
    };
    name.namespace[..2].copy_from_slice(b"ns");
    name.name[..3].copy_from_slice(b"web");
    let backend = Backend::<V4> {
        addr: Addr::new([10, 1, 0, 1]),
        port: Port::new(8080),
        proto: proto::TCP,
        flags: SERVING,
        service: 3,
        generation: 1,
    };
    let key = FrontendKey::new(Addr::new([10, 96, 0, 9]), Port::new(80), proto::TCP);
    let cluster = Range { start: 5, len: 1 };
    let frontend = Frontend { service: 3, cluster, ..Frontend::default() };
    vec![
        Op::NameService(3, name),
        Op::Settings(settings()),
        Op::V4(MapOp::Backend(1, backend)),
        Op::V4(MapOp::Slot(5, 1)),
        Op::V4(MapOp::Frontend(key, Some(frontend))),
        Op::V4(MapOp::AddPrefix(v4_prefix(8))),
        Op::V4(MapOp::AddPrefix(v4_prefix(9))),
        Op::V4(MapOp::RemovePrefix(v4_prefix(9))),
        Op::V6(MapOp::AddPrefix(v6_prefix())),
    ]
}

fn settings() -> Settings {
    Settings {
        netns_cookie: 7,
        flags: flags::CLUSTER_IPS_V4,
        node_port_min: 30_000,
        node_port_max: 32_767,
        masquerade_min: 61_000,
        masquerade_max: 65_535,
        detector_v4: 0,
        detector_v6: 0,
        pad: [0; 2],
        pods_v4: Prefix::ANY,
        pods_v6: Prefix::ANY,
        services_v4: Prefix::ANY,
        services_v6: Prefix::ANY,
    }
}

/// Networks that begin alike, so that the trie has to tell them apart.
fn v4_prefix(len: u32) -> PrefixKey<V4> {
    PrefixKey { bits: SCOPE_BITS + len, scope: 3, addr: Addr::new([10, 0, 0, 0]) }
}

fn v6_prefix() -> PrefixKey<V6> {
    let addr = Addr::new([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    PrefixKey { bits: SCOPE_BITS + 128, scope: SERVICE_CIDRS, addr }
}

#[test]
fn what_is_written_is_read_back() {
    Sandbox::run(|sandbox, _| {
        let programs = load(&Options::new(&sandbox.bpf)).expect("loading");
        let mut maps = KernelMaps::open(&programs.pins).expect("opening");
        for op in ops() {
            maps.write(&op).expect("writing");
        }
        drop((maps, programs));
        let programs = load(&Options::new(&sandbox.bpf)).expect("loading again");
        let mirror = read_mirror(&programs.pins).expect("reading");
        assert_eq!((mirror.services.len(), mirror.v4.frontends.len()), (1, 1));
        assert_eq!(mirror.v4.slots, [(5, 1)].into());
        assert_eq!(mirror.v4.backends.len(), 1);
        assert_eq!(mirror.settings, Some(settings()));
        assert_eq!(mirror.v4.prefixes, [v4_prefix(8)].into());
        assert_eq!(mirror.v6.prefixes, [v6_prefix()].into());
        assert!(reasons(&programs.pins).expect("counters").iter().all(|(_, count)| *count == 0));

        let rows = cli::service::rows(&sandbox.bpf).expect("listing");
        assert_eq!(rows[0].service, "ns/web");
        assert_eq!(rows[0].backends, ["10.1.0.1:8080"]);
        let table = cli::service::list(&sandbox.bpf, Output::Table).expect("listing");
        assert!(table.contains("10.96.0.9:80"), "{table}");
        assert_eq!(cli::flow::list(&sandbox.bpf, Output::Json).expect("listing"), "[]");
    });
}

#[test]
fn a_full_map_says_what_to_raise_and_deleting_twice_is_fine() {
    Sandbox::run(|sandbox, _| {
        let mut options = Options::new(&sandbox.bpf);
        options.map_sizes.insert("FRONTENDS".into(), 1);
        options.map_sizes.insert("PREFIXES".into(), 1);
        let programs = load(&options).expect("loading");
        let mut maps = KernelMaps::open(&programs.pins).expect("opening");
        let key = |last| FrontendKey::new(Addr::new([10, 96, 0, last]), Port::new(80), proto::TCP);
        let write = |last| Op::V4(MapOp::Frontend(key(last), Some(Frontend::default())));
        // Per-CPU free lists may let a few more in.
        let refused = (1..=100).find_map(|last| maps.write(&write(last)).err());
        let full = WriteError::Full { map: "FRONTENDS_V4", capacity: 1, flag: "--max-frontends" };
        assert_eq!(refused, Some(full));
        let slot = maps.write(&Op::V4(MapOp::Slot(u32::MAX, 1)));
        assert!(matches!(slot, Err(WriteError::Full { map: "SLOTS_V4", .. })), "{slot:?}");
        assert_eq!(maps.write(&Op::V4(MapOp::AddPrefix(v4_prefix(8)))), Ok(()));
        let refused = maps.write(&Op::V4(MapOp::AddPrefix(v4_prefix(9)))).err();
        let full = WriteError::Full { map: "PREFIXES_V4", capacity: 1, flag: "--max-prefixes" };
        assert_eq!(refused, Some(full));
        for _ in 0..2 {
            assert_eq!(maps.write(&Op::V4(MapOp::Frontend(key(1), None))), Ok(()));
            assert_eq!(maps.write(&Op::V4(MapOp::RemovePrefix(v4_prefix(8)))), Ok(()));
            assert_eq!(maps.write(&Op::ForgetService(77)), Ok(()));
        }
    });
}

#[test]
fn a_maglev_table_is_written_whole() {
    Sandbox::run(|sandbox, _| {
        let programs = load(&Options::new(&sandbox.bpf)).expect("loading");
        let mut maps = KernelMaps::open(&programs.pins).expect("opening");
        let ids = 1..=1000;
        let members: Vec<_> = ids.map(|id| Member { id, key: u64::from(id) }).collect();
        let range = Range { start: 70_000, len: maglev::slots(members.len()).expect("a table") };
        let build = Build { v6: true, range, members };
        let began = Instant::now();
        let sum = maps.build(&build).expect("at once").expect("writing");
        println!("{} slots of 1000 backends in {:?}", range.len, began.elapsed());
        let key = FrontendKey::new(Addr::new([1; 16]), Port::new(80), proto::TCP);
        let frontend = Frontend { service: 3, cluster: range, ..Frontend::default() };
        maps.write(&Op::V6(MapOp::Frontend(key, Some(frontend)))).expect("writing");
        let slots = read_mirror(&programs.pins).expect("reading").v6.slots;
        assert_eq!(slots.len(), 65_536);
        assert_eq!(checksum(slots.values().copied()), sum);
        assert_eq!(slots.values().copied().collect::<Vec<_>>(), maglev::table(&build.members));

        let beyond = Range { start: u32::MAX - 10, ..range };
        let refused = maps.build(&Build { range: beyond, ..build }).expect("at once");
        assert!(matches!(refused, Err(WriteError::Failed { map: "SLOTS_V6", .. })), "{refused:?}");
    });
}
