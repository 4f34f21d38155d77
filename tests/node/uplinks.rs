//! XDP on an uplink: attached, kept by a restart, taken away.

use std::{os::fd::AsFd, path::PathBuf};

use sluice::{
    config::Xdp,
    dataplane::aya::{
        interfaces::Interfaces,
        pin::{Pins, unpin},
        read,
        sys::{self, LinkInfo, Place},
    },
};
use sluice_common::uplink::{Uplink, UplinkKey, modes};

use crate::{
    link_ids,
    sandbox::{Sandbox, ip},
    start, state,
};

/// A node whose default route leads over `up0`.
fn wire() {
    ip("link add up0 type veth peer name far0");
    ip("link set up0 up");
    ip("link set far0 up");
    ip("addr add 192.0.2.7/24 dev up0");
    ip("route add default via 192.0.2.1");
}

fn links(sandbox: &Sandbox) -> Vec<PathBuf> {
    Pins::new(&sandbox.bpf).xdp_links()
}

fn only_link(sandbox: &Sandbox) -> (String, LinkInfo) {
    let [path] = links(sandbox).try_into().expect("one link");
    let link = sys::open(&path, false).expect("opening a link");
    let info = sys::link_info(link.as_fd()).expect("link info");
    (path.file_name().unwrap().to_string_lossy().into_owned(), info)
}

fn entries(sandbox: &Sandbox) -> Vec<(UplinkKey, Uplink)> {
    read::pairs(&Pins::new(&sandbox.bpf), "UPLINKS").expect("UPLINKS")
}

fn with(sandbox: &Sandbox, xdp: Xdp) -> Interfaces {
    start(sandbox).with_xdp(xdp)
}

#[test]
fn an_uplink_carries_xdp_for_as_long_as_it_is_wanted() {
    Sandbox::run(|sandbox, runtime| {
        wire();
        let state = runtime.block_on(state());
        let up0 = state.uplinks[0].ifindex;
        assert_eq!(with(sandbox, Xdp::Off).reconcile(&state), []);
        assert_eq!(links(sandbox), [] as [PathBuf; 0]);

        assert_eq!(with(sandbox, Xdp::Native).reconcile(&state), []);
        let (name, before) = only_link(sandbox);
        assert_eq!((name, before.place), (format!("xdp-{up0}-native"), Place::Xdp(up0)));
        assert_eq!(entries(sandbox).len(), 2);

        assert_eq!(with(sandbox, Xdp::Native).reconcile(&state), []);
        let (_, after) = only_link(sandbox);
        assert_eq!(before.id, after.id, "the link stays");
        assert_ne!(before.program, after.program, "the program is the new one");

        assert_eq!(with(sandbox, Xdp::Generic).reconcile(&state), []);
        assert_eq!(only_link(sandbox).0, format!("xdp-{up0}-generic"));
        assert!(entries(sandbox).iter().all(|(_, uplink)| uplink.mode == modes::GENERIC));

        // What XDP sends by a veth is lost, unless its other end is prepared.
        assert_eq!(with(sandbox, Xdp::Auto).reconcile(&state), []);
        assert_eq!((links(sandbox).len(), entries(sandbox).len()), (0, 0));
    });
}

#[test]
fn a93_xdp_that_something_took_away_is_put_back() {
    Sandbox::run(|sandbox, runtime| {
        wire();
        let state = runtime.block_on(state());
        let mut interfaces = with(sandbox, Xdp::Native);
        assert_eq!(interfaces.reconcile(&state), []);
        let (_, before) = only_link(sandbox);
        unpin(&links(sandbox)[0]).expect("unpinning");
        let (lost, problems) = interfaces.verify(&sandbox.cgroup);
        assert_eq!(lost, ["the XDP program of up0"]);
        assert_eq!(problems, []);
        // The kernel lets go of an unpinned link a moment later; then nothing is in the way.
        while !interfaces.reconcile(&state).is_empty() {
            std::thread::yield_now();
        }
        let (_, after) = only_link(sandbox);
        assert_eq!((after.place, after.id == before.id), (before.place, false));
    });
}

#[test]
fn an_uplink_that_is_gone_leaves_nothing() {
    Sandbox::run(|sandbox, runtime| {
        wire();
        let before = runtime.block_on(state());
        let mut interfaces = with(sandbox, Xdp::Native);
        assert_eq!(interfaces.reconcile(&before), []);
        ip("link del up0");
        let after = runtime.block_on(state());
        assert_eq!(interfaces.reconcile(&after), []);
        assert_eq!((links(sandbox).len(), entries(sandbox).len()), (0, 0));
        assert!(
            link_ids(sandbox)
                .iter()
                .all(|(name, ..)| name.starts_with("cgroup-") || name.starts_with("tc-"))
        );
    });
}
