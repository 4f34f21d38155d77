//! The programs on real interfaces of a network namespace of the test's own: load, pin, attach,
//! restart, churn, clean-up.

mod crash;
mod explain;
mod flows;
mod guest;
mod maps;
mod repair;
mod sandbox;
mod service;
mod sockets;
mod stale;
mod uplinks;

use std::{collections::BTreeSet, os::fd::AsFd, time::Duration};

use sandbox::{Sandbox, ip};
use sluice::{
    dataplane::aya::{
        attach::{Device, links_at},
        cgroup,
        interfaces::{Interfaces, cleanup},
        load::{Options, load},
        pin::{Direction, Pins, entries},
        probe, sys,
    },
    node::{Config, NodeState, watch},
};

fn start(sandbox: &Sandbox) -> Interfaces {
    let programs = load(&Options::new(&sandbox.bpf)).expect("loading");
    cgroup::attach(&programs, &sandbox.cgroup).expect("attaching the socket hooks");
    Interfaces::new(programs, probe::features().expect("probing")).expect("opening maps")
}

fn link_ids(sandbox: &Sandbox) -> Vec<(String, u32, u32)> {
    let links = entries(&Pins::new(&sandbox.bpf).links());
    let id = |path: &std::path::PathBuf| {
        let link = sys::open(path, false).expect("opening a link");
        let info = sys::link_info(link.as_fd()).expect("link info");
        (path.file_name().unwrap().to_string_lossy().into_owned(), info.id, info.program)
    };
    links.iter().map(id).collect()
}

fn names(interfaces: &Interfaces) -> BTreeSet<String> {
    interfaces.attached().map(|device: &Device| device.name.clone()).collect()
}

async fn state() -> NodeState {
    let (_config, receiver) = tokio::sync::watch::channel(Config::default());
    watch(receiver).await.expect("netlink").borrow().clone()
}

#[test]
fn every_kind_of_interface_is_attached_and_a_restart_keeps_the_links() {
    Sandbox::run(|sandbox, runtime| {
        ip("link add veth0 type veth peer name veth1");
        ip("link add br0 type bridge");
        ip("link set veth1 master br0");
        ip("link add mac0 link veth0 type macvlan");
        ip("tuntap add tun0 mode tun");
        ip("addr add 10.9.0.1/24 dev br0");
        let state = runtime.block_on(state());
        let l3: Vec<_> = state.ifaces.iter().filter(|p| p.l3).map(|p| p.name.as_str()).collect();
        assert_eq!(l3, ["tun0"]);

        let mut interfaces = start(sandbox);
        assert_eq!(interfaces.reconcile(&state), []);
        let all = ["br0", "mac0", "tun0", "veth0", "veth1"].map(str::to_owned);
        assert!(names(&interfaces).is_superset(&BTreeSet::from(all)));
        let before = link_ids(sandbox);
        assert_eq!(before.len(), state.ifaces.len() * 2 + 8);
        drop(interfaces);

        let mut interfaces = start(sandbox);
        assert_eq!(interfaces.reconcile(&state), []);
        let after = link_ids(sandbox);
        for (old, new) in before.iter().zip(&after) {
            assert_eq!((&old.0, old.1), (&new.0, new.1), "the link stays");
            assert_ne!(old.2, new.2, "{}: the program is the new one", old.0);
        }
        assert_eq!(before.len(), after.len());
    });
}

#[test]
fn interfaces_come_and_go() {
    Sandbox::run(|sandbox, runtime| {
        let mut interfaces = start(sandbox);
        runtime.block_on(async {
            let (_config, config) = tokio::sync::watch::channel(Config::default());
            let mut states = watch(config).await.expect("netlink");
            let base = states.borrow_and_update().ifaces.len();
            for i in 0..50 {
                ip(&format!("link add v{i} type veth peer name p{i}"));
            }
            follow(&mut states, &mut interfaces, base + 100).await;
            assert_eq!(link_ids(sandbox).len(), (base + 100) * 2 + 8);
            for i in 0..50 {
                ip(&format!("link del v{i}"));
            }
            follow(&mut states, &mut interfaces, base).await;
            assert_eq!(link_ids(sandbox).len(), base * 2 + 8);
        });
    });
}

async fn follow(
    states: &mut tokio::sync::watch::Receiver<NodeState>,
    interfaces: &mut Interfaces,
    wanted: usize,
) {
    let done = async {
        loop {
            let state = states.borrow_and_update().clone();
            interfaces.reconcile(&state);
            if state.ifaces.len() == wanted {
                assert_eq!(interfaces.reconcile(&state), []);
                return;
            }
            states.changed().await.expect("the watch goes on");
        }
    };
    tokio::time::timeout(Duration::from_secs(10), done).await.expect("following");
}

#[test]
fn a_pin_of_a_vanished_interface_is_not_taken_for_the_next() {
    Sandbox::run(|sandbox, runtime| {
        ip("link add veth0 index 77 type veth peer name veth1");
        let mut interfaces = start(sandbox);
        assert_eq!(interfaces.reconcile(&runtime.block_on(state())), []);
        drop(interfaces);
        ip("link del veth0");
        ip("link add other0 index 77 type veth peer name other1");
        let mut interfaces = start(sandbox);
        assert_eq!(interfaces.reconcile(&runtime.block_on(state())), []);
        assert_eq!(links_at(77, Direction::Ingress).expect("query").len(), 1);
    });
}

#[test]
fn a_map_of_another_size_is_refused_in_plain_words() {
    Sandbox::run(|sandbox, _| {
        drop(start(sandbox));
        let mut options = Options::new(&sandbox.bpf);
        options.map_sizes.insert("BACKENDS".into(), 1024);
        let error = load(&options).expect_err("sizes differ").to_string();
        assert!(error.contains("BACKENDS_V") && error.contains("1024"), "{error}");
    });
}

#[test]
fn cleanup_leaves_nothing() {
    Sandbox::run(|sandbox, runtime| {
        ip("link add veth0 type veth peer name veth1");
        let state = runtime.block_on(state());
        let mut interfaces = start(sandbox);
        assert_eq!(interfaces.reconcile(&state), []);
        drop(interfaces);
        let removed = cleanup(&sandbox.bpf).expect("cleaning up");
        assert!(removed.len() > 20, "{removed:?}");
        assert!(!Pins::new(&sandbox.bpf).all_versions().exists());
        for plan in &state.ifaces {
            assert!(links_at(plan.ifindex, Direction::Ingress).expect("query").is_empty());
        }
    });
}

/// Filters at an interface's hook, as `tc` lists them.
fn filters(name: &str, hook: &str) -> String {
    let output =
        std::process::Command::new("tc").args(["filter", "show", "dev", name, hook]).output();
    String::from_utf8(output.expect("tc").stdout).expect("text")
}

#[test]
fn without_tcx_a_filter_is_added_replaced_and_removed() {
    Sandbox::run(|sandbox, runtime| {
        ip("link add veth0 type veth peer name veth1");
        let state = runtime.block_on(state());
        let features = probe::Features { tcx: false, ..probe::features().expect("probing") };
        for _ in 0..2 {
            let programs = load(&Options::new(&sandbox.bpf)).expect("loading");
            let mut interfaces = Interfaces::new(programs, features).expect("opening maps");
            assert_eq!(interfaces.reconcile(&state), []);
            for hook in ["ingress", "egress"] {
                let text = filters("veth0", hook);
                assert_eq!(text.matches("handle").count(), 1, "{text}");
                assert!(text.contains("direct-action"), "{text}");
            }
        }
        cleanup(&sandbox.bpf).expect("cleaning up");
        assert_eq!(filters("veth0", "ingress"), "");
        assert_eq!(filters("veth0", "egress"), "");
    });
}
