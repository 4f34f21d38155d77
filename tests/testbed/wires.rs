//! Cables that are like real ones.
//!
//! What sockets send over a veth keeps an incomplete checksum to the end of its way, and what XDP
//! sends by one end is lost unless the other end has a program, too (veth_xdp_flush).

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result};
use aya_obj::generated::{XDP_FLAGS_DRV_MODE, bpf_attach_type, bpf_insn, bpf_prog_type};
use nix::net::if_::if_nametoindex;
use sluice::dataplane::aya::sys::{self, Target};

use crate::cluster::Cluster;
use crate::fabric::SWITCH;
use crate::netns;

/// The switch's ports behave like a wire's end.
#[derive(Debug)]
pub struct Wires {
    _links: Vec<OwnedFd>,
}

impl Wires {
    /// Changes the switch's ports to the nodes, for as long as the result lives.
    pub fn lay(cluster: &Cluster) -> Result<Self> {
        let switch = cluster.scope.netns(SWITCH);
        let port = |n| {
            let name = format!("node{n}");
            netns::offloads(&switch, &name, &["tx", "off"])?;
            netns::within(&switch, || let_pass(&name))?
        };
        Ok(Self { _links: (1..=cluster.nodes().len()).map(port).collect::<Result<_>>()? })
    }
}

/// Attaches a program that lets everything pass.
fn let_pass(device: &str) -> Result<OwnedFd> {
    let program = sys::load_program(bpf_prog_type::BPF_PROG_TYPE_XDP, &pass())
        .context("loading a small program")?;
    let target = Target::Xdp(if_nametoindex(device)?, XDP_FLAGS_DRV_MODE);
    sys::link_create(program.as_fd(), target, bpf_attach_type::BPF_XDP)
        .with_context(|| format!("attaching a small program to the switch's port {device}"))
}

/// `return XDP_PASS`.
fn pass() -> [bpf_insn; 2] {
    const MOV_IMMEDIATE: u8 = 0xb7;
    const EXIT: u8 = 0x95;
    const XDP_PASS: i32 = 2;
    let instruction = |code, imm| bpf_insn {
        code,
        _bitfield_align_1: [],
        _bitfield_1: bpf_insn::new_bitfield_1(0, 0),
        off: 0,
        imm,
    };
    [instruction(MOV_IMMEDIATE, XDP_PASS), instruction(EXIT, 0)]
}
