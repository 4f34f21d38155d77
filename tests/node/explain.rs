//! `sluice explain` on a running node: from the pinned maps, with its interfaces.

use std::ffi::OsString;

use sluice::{
    cli::explain::{Explain, Refusal},
    dataplane::{
        apply,
        aya::{interfaces::Interfaces, load, maps::KernelMaps, probe, read::read_mirror},
    },
    model::{
        Model, ModelConfig,
        spec::{
            Change, Endpoint, Event, ObjectName, Protocol, ServicePort, ServiceSpec, SlicePort,
            SliceSpec, TrafficPolicy,
        },
    },
    node::{Config, NodeState, PodInterfaces, watch},
};
use sluice_common::settings::{detector, flags};

use crate::sandbox::{Sandbox, ip};

/// A Service with a NodePort and the Local policy, and its endpoint on this node.
fn objects() -> [Event; 3] {
    let web = ObjectName { namespace: "shop".into(), name: "web".into() };
    let protocol = Protocol::Tcp;
    let service = ServiceSpec {
        cluster_ips: vec!["10.96.0.10".parse().unwrap()],
        ports: vec![ServicePort { name: "http".into(), protocol, port: 80, node_port: 30080 }],
        external_policy: TrafficPolicy::Local,
        ..ServiceSpec::default()
    };
    let endpoint = Endpoint {
        address: "10.244.2.5".parse().unwrap(),
        ready: true,
        serving: true,
        terminating: false,
        node: "n2".into(),
        zone_hints: Vec::new(),
        node_hints: Vec::new(),
    };
    let slice = SliceSpec {
        service: web.clone(),
        ports: vec![SlicePort { name: "http".into(), protocol, port: 8080 }],
        endpoints: vec![endpoint],
        trigger: None,
    };
    [
        Event::Services(Change::Replace([(web.clone(), service)].into())),
        Event::Slices(Change::Replace([(web, slice)].into())),
        Event::ServiceCidrs(vec!["10.96.0.0/16".parse().unwrap()]),
    ]
}

async fn node_state() -> NodeState {
    let pods = PodInterfaces::Prefix("cali".to_owned());
    let config = Config { pods, ..Config::default() };
    let (_config, receiver) = tokio::sync::watch::channel(config);
    watch(receiver).await.expect("netlink").borrow().clone()
}

fn run(sandbox: &Sandbox, from: &str, to: &str) -> Result<String, Refusal> {
    let bpf = format!("--bpf-root={}", sandbox.bpf.display());
    let args = ["sluice explain", "--from", from, "--to", to, "-o", "json", &bpf];
    Explain::parse_args(args.map(OsString::from)).expect("arguments").run()
}

#[test]
fn explain_answers_from_the_pinned_maps() {
    Sandbox::run(|sandbox, runtime| {
        ip("link add cali1 type veth peer name up1");
        ip("addr add 192.0.2.1/24 dev up1");
        let state = runtime.block_on(node_state());
        let programs = load::load(&load::Options::new(&sandbox.bpf)).expect("loading");
        let mut maps = KernelMaps::open(&programs.pins).expect("opening");
        let mut settings =
            read_mirror(&programs.pins).expect("reading").settings.expect("settings");
        (settings.detector_v4, settings.flags) = (detector::IFACE, flags::CLUSTER_IPS_V4);
        let mut model = Model::new(ModelConfig { node_name: "n1".into(), ..Default::default() });
        model.set_settings(settings);
        for event in objects() {
            model.handle(event);
        }
        let (plan, _) = model.plan();
        assert!(apply(&plan, &mut maps, &mut model).is_complete());
        let features = probe::features().expect("probing");
        let mut interfaces = Interfaces::new(programs, features).expect("opening maps");
        assert_eq!(interfaces.reconcile(&state), []);

        let forwards = r#"{"verdict":"forward","backends":["10.244.2.5:8080"],"masquerade":"#;
        for (from, to, expected) in [
            ("10.244.1.7@cali1", "192.0.2.1:30080/TCP", format!("{forwards}false,")),
            ("192.0.2.1", "192.0.2.1:30080/TCP", format!("{forwards}true,")),
            ("10.244.1.7@up1", "192.0.2.1:30080/TCP", r#"{"verdict":"drop","#.to_owned()),
            ("10.244.1.7@cali1", "10.96.0.10:81/TCP", r#"{"verdict":"reject","#.to_owned()),
            ("10.244.1.7@cali1", "10.96.0.11:80/TCP", r#"{"verdict":"drop","#.to_owned()),
            ("10.244.1.7@cali1", "192.0.2.9:30080/TCP", r#"{"verdict":"untouched","#.to_owned()),
        ] {
            let answer = run(sandbox, from, to).expect("an answer");
            assert!(answer.starts_with(&expected), "{from} -> {to}: {answer}");
        }
        let nowhere = run(sandbox, "10.244.1.7@cali9", "10.96.0.10:80/TCP");
        assert!(matches!(&nowhere, Err(Refusal::Usage(line)) if line.contains("cali9")));
    });
}
