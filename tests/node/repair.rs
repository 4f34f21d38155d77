//! A93 and the audit: what something else did to maps, programs and pins is noticed and undone.

use std::{fs, os::fd::AsFd, process::Command};

use sluice::{
    dataplane::{
        apply,
        audit::{Findings, audit},
        aya::{
            attach::links_at,
            cgroup,
            interfaces::Interfaces,
            load::{Options, load},
            maps::{KernelMaps, array, hash},
            pin::{Direction, Pins, entries},
            probe,
            read::read_mirror,
            sys,
        },
    },
    model::{
        Model, ModelConfig,
        spec::{
            Change, Endpoint, Event, ObjectName, Protocol, ServicePort, ServiceSpec, SlicePort,
            SliceSpec,
        },
    },
    node::NodeState,
};
use sluice_common::{
    backend::Backend,
    frontend::{Frontend, FrontendKey},
    net::{Addr, Port, V4, proto},
};

use crate::sandbox::{Sandbox, ip};

/// A model with one Service, written to the sandbox's maps.
fn written(pins: &Pins) -> (Model, KernelMaps) {
    let name = |name: &str| ObjectName { namespace: "ns".into(), name: name.into() };
    let service = ServiceSpec {
        cluster_ips: vec!["10.96.0.9".parse().unwrap()],
        ports: vec![ServicePort {
            name: String::new(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: 30_080,
        }],
        ..ServiceSpec::default()
    };
    let endpoint = |address: &str| Endpoint {
        address: address.parse().unwrap(),
        ready: true,
        serving: true,
        terminating: false,
        node: String::new(),
        zone_hints: vec![],
        node_hints: vec![],
    };
    let slice = SliceSpec {
        service: name("web"),
        ports: vec![SlicePort { name: String::new(), protocol: Protocol::Tcp, port: 8080 }],
        endpoints: vec![endpoint("10.1.0.1"), endpoint("10.1.0.2")],
        trigger: None,
    };
    let mut model = Model::new(ModelConfig::default());
    model.handle(Event::Services(Change::Replace([(name("web"), service)].into())));
    model.handle(Event::Slices(Change::Replace([(name("web"), slice)].into())));
    let mut maps = KernelMaps::open(pins).expect("opening");
    let (plan, problems) = model.plan();
    assert_eq!(problems, []);
    assert!(apply(&plan, &mut maps, &mut model).is_complete());
    (model, maps)
}

fn look(pins: &Pins, maps: &mut KernelMaps, model: &Model) -> Findings {
    audit(&read_mirror(pins).expect("reading"), maps, model)
}

#[test]
fn what_was_done_to_the_maps_is_undone() {
    Sandbox::run(|sandbox, _| {
        let programs = load(&Options::new(&sandbox.bpf)).expect("loading");
        let pins = &programs.pins;
        let (model, mut maps) = written(pins);
        let whole = read_mirror(pins).expect("reading");
        assert_eq!(look(pins, &mut maps, &model), Findings::default());

        let vip = FrontendKey::<V4>::new(Addr::new([10, 96, 0, 9]), Port::new(80), proto::TCP);
        let strange = FrontendKey::<V4>::new(Addr::new([10, 96, 9, 9]), Port::new(9), proto::TCP);
        let node_port = FrontendKey::new(Addr::UNSPECIFIED, Port::new(30_080), proto::TCP);
        let mut frontends = hash::<FrontendKey<V4>, Frontend>(pins, "FRONTENDS_V4", false).unwrap();
        let value = frontends.get(&vip, 0).expect("the ClusterIP");
        frontends.remove(&vip).unwrap();
        frontends.insert(node_port, Frontend { flags: 0, ..value }, 0).unwrap();
        frontends.insert(strange, value, 0).unwrap();
        let mut slots = array::<u32>(pins, "SLOTS_V4", false).unwrap();
        slots.set(value.cluster.start, 4711, 0).unwrap();
        let mut backends = array::<Backend<V4>>(pins, "BACKENDS_V4", false).unwrap();
        let (id, backend) = whole.v4.backends.first_key_value().expect("a backend");
        backends.set(*id, Backend { flags: 0, ..*backend }, 0).unwrap();
        backends.set(500, *backend, 0).unwrap();

        let findings = look(pins, &mut maps, &model);
        let repaired =
            [("backends", 2), ("deletions of frontends", 1), ("frontends", 2), ("slots", 1)];
        assert_eq!(findings.repaired, repaired.into());
        assert_eq!(findings.failures, Vec::<String>::new());
        assert_eq!(read_mirror(pins).expect("reading"), whole);
        assert_eq!(look(pins, &mut maps, &model), Findings::default());
    });
}

fn start(sandbox: &Sandbox, tcx: bool) -> Interfaces {
    let programs = load(&Options::new(&sandbox.bpf)).expect("loading");
    cgroup::attach(&programs, &sandbox.cgroup).expect("attaching the socket hooks");
    let features = probe::Features { tcx, ..probe::features().expect("probing") };
    Interfaces::new(programs, features).expect("opening maps")
}

/// Looks, expects that to be lost, reconciles, and expects all to be well again.
fn restored(sandbox: &Sandbox, interfaces: &mut Interfaces, state: &NodeState, lost: &[&str]) {
    assert_eq!(
        interfaces.verify(&sandbox.cgroup),
        (lost.iter().map(ToString::to_string).collect(), vec![])
    );
    reconciled(interfaces, state);
    assert_eq!(interfaces.verify(&sandbox.cgroup), (vec![], vec![]));
}

/// Reconciles as often as the controller would: a link whose pin was deleted lingers for a moment,
/// and a hook takes no program twice.
fn reconciled(interfaces: &mut Interfaces, state: &NodeState) {
    for _ in 0..100 {
        if interfaces.reconcile(state).is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(interfaces.reconcile(state), []);
}

#[test]
fn a93_detached_links_and_deleted_pins_come_back() {
    Sandbox::run(|sandbox, runtime| {
        ip("link add veth0 index 70 type veth peer name veth1 index 71");
        let state = runtime.block_on(super::state());
        let mut interfaces = start(sandbox, true);
        assert_eq!(interfaces.reconcile(&state), []);
        restored(sandbox, &mut interfaces, &state, &[]);

        let pins = Pins::new(&sandbox.bpf);
        let detach = |path: &std::path::Path| {
            let link = sys::open(path, false).expect("a link");
            sys::link_detach(link.as_fd()).expect("detaching");
        };
        detach(&pins.tc_link(70, Direction::Ingress));
        assert!(links_at(70, Direction::Ingress).unwrap().is_empty());
        restored(sandbox, &mut interfaces, &state, &["the programs of veth0"]);
        assert_eq!(links_at(70, Direction::Ingress).unwrap().len(), 1);

        fs::remove_file(pins.tc_link(71, Direction::Egress)).unwrap();
        restored(sandbox, &mut interfaces, &state, &["the programs of veth1"]);
        assert_eq!(links_at(71, Direction::Egress).unwrap().len(), 1);

        detach(&pins.cgroup_link("connect4"));
        fs::remove_file(pins.cgroup_link("sendmsg6")).unwrap();
        let hooks = ["the socket hook connect4", "the socket hook sendmsg6"];
        restored(sandbox, &mut interfaces, &state, &hooks);

        let before = sys::open(&pins.map("FLOWS_V4"), true).unwrap();
        fs::remove_file(pins.map("FLOWS_V4")).unwrap();
        restored(sandbox, &mut interfaces, &state, &["the pin of map FLOWS_V4"]);
        let after = sys::open(&pins.map("FLOWS_V4"), true).unwrap();
        let id = |fd: &std::os::fd::OwnedFd| sys::map_id(fd.as_fd()).unwrap();
        assert_eq!(id(&before), id(&after), "the same map");

        let links = entries(&pins.links()).len();
        fs::remove_dir_all(pins.all_versions()).unwrap();
        let (lost, problems) = interfaces.verify(&sandbox.cgroup);
        assert_eq!((lost.len() > links / 2, problems), (true, vec![]));
        reconciled(&mut interfaces, &state);
        restored(sandbox, &mut interfaces, &state, &[]);
        assert_eq!(entries(&pins.links()).len(), links);
    });
}

#[test]
fn a93_a_flushed_qdisc_comes_back() {
    Sandbox::run(|sandbox, runtime| {
        ip("link add veth0 type veth peer name veth1");
        let state = runtime.block_on(super::state());
        let mut interfaces = start(sandbox, false);
        assert_eq!(interfaces.reconcile(&state), []);
        restored(sandbox, &mut interfaces, &state, &[]);
        tc("qdisc del dev veth0 clsact");
        restored(sandbox, &mut interfaces, &state, &["the programs of veth0"]);
        tc("filter del dev veth1 egress");
        restored(sandbox, &mut interfaces, &state, &["the programs of veth1"]);
        for name in ["veth0", "veth1"] {
            for hook in ["ingress", "egress"] {
                assert_eq!(super::filters(name, hook).matches("handle").count(), 1);
            }
        }
        ip("link del veth0");
        assert_eq!(interfaces.verify(&sandbox.cgroup), (vec![], vec![]), "netlink's business");
    });
}

#[test]
fn a93_a_program_that_pushed_in_is_named() {
    Sandbox::run(|sandbox, runtime| {
        ip("link add veth0 index 70 type veth peer name veth1");
        let state = runtime.block_on(super::state());
        let mut interfaces = start(sandbox, true);
        assert_eq!(interfaces.reconcile(&state), []);
        let programs = load(&Options::new(sandbox.bpf.join("other"))).expect("loading");
        let program = programs.fd("ingress").expect("a program");
        let hook = aya_obj::generated::bpf_attach_type::BPF_TCX_INGRESS;
        let link = sys::link_create(program, sys::Target::Tcx(70), hook).expect("attaching");
        let (lost, problems) = interfaces.verify(&sandbox.cgroup);
        assert_eq!((lost, problems.len()), (vec![], 1));
        let text = problems[0].to_string();
        assert!(text.starts_with("interface veth0: another program now runs before"), "{text}");
        drop(link);
    });
}

#[test]
fn interface_and_address_maps_are_audited_too() {
    Sandbox::run(|sandbox, runtime| {
        ip("link add veth0 type veth peer name veth1");
        ip("addr add 10.9.0.1/24 dev veth0");
        let state = runtime.block_on(super::state());
        let mut interfaces = start(sandbox, true);
        assert_eq!(interfaces.reconcile(&state), []);
        assert_eq!(interfaces.audit(), (0, vec![]));
        let pins = Pins::new(&sandbox.bpf);
        let mut addresses = hash::<Addr<V4>, u32>(&pins, "NODE_ADDRS_V4", false).unwrap();
        addresses.remove(&Addr::new([10, 9, 0, 1])).unwrap();
        addresses.insert(Addr::new([9, 9, 9, 9]), 1, 0).unwrap();
        assert_eq!(interfaces.audit(), (2, vec![]));
        assert_eq!(interfaces.reconcile(&state), []);
        assert_eq!(interfaces.audit(), (0, vec![]));
        assert!(addresses.get(&Addr::new([10, 9, 0, 1]), 0).is_ok());
        assert!(addresses.get(&Addr::new([9, 9, 9, 9]), 0).is_err());
    });
}

/// Runs `tc`, in this thread's namespace.
fn tc(arguments: &str) {
    let output = Command::new("tc").args(arguments.split(' ')).output().expect("tc");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
