//! What the programs of this node know, from the pinned maps.

use anyhow::anyhow;
use nix::net::if_::if_nametoindex;
use sluice_common::settings::detector;

use super::{Explain, Refusal};
use crate::{
    dataplane::aya::{pin::Pins, read},
    explain::{Detection, View},
};

/// The view, and the flags of the interface that the packet enters by.
pub(super) fn view(explain: &Explain) -> Result<(View, u32), Refusal> {
    let pins = Pins::new(&explain.flags.bpf_root);
    let maps = read::read_mirror(&pins)?;
    let settings = maps.settings.ok_or_else(|| anyhow!("map SETTINGS holds nothing"))?;
    let addresses = read::node_addresses(&pins)?;
    // SETTINGS do not tell A60 from A61, nor A62 from A63.
    let modes = [settings.detector_v4, settings.detector_v6];
    let detection = match modes.contains(&detector::IFACE) {
        true => Detection::BridgeInterface,
        false => Detection::ClusterCidr,
    };
    let input = match &explain.from.iface {
        Some(name) => input(&pins, name)?,
        None => 0,
    };
    Ok((View { maps, settings, addresses, detection, why: None, unserved: Vec::new() }, input))
}

fn input(pins: &Pins, name: &str) -> Result<u32, Refusal> {
    let index = if_nametoindex(name).map_err(|error| {
        Refusal::usage(format!("--from: this node has no interface {name:?} ({error})"))
    })?;
    match read::iface(pins, index)? {
        Some(iface) => Ok(iface.flags),
        None => Err(Refusal::usage(format!(
            "--from: the programs are not attached to {name}; name the interface below or above it"
        ))),
    }
}
