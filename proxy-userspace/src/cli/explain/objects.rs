//! What the programs of a node would know, from objects alone: the controller's own way from
//! manifests to maps, with maps in memory at its end.

use std::{net::IpAddr, path::Path};

use anyhow::anyhow;
use sluice_common::iface::flags::POD;

use super::{Explain, Refusal};
use crate::{
    config::{Config, DetectLocal},
    controller::settings,
    explain::{Detection, View},
    model::{
        Model,
        spec::{Event, NodeSpec},
    },
    node::{Address, NodeState, Snapshot},
    source::manifest,
};

/// The addresses that every node has.
const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];

/// The view, and the flags of the interface that the packet enters by.
pub(super) fn view(explain: Explain, folder: &Path) -> Result<(View, u32), Refusal> {
    let Explain { from, node, node_ip, local_address, service_cidr, mut flags, .. } = explain;
    flags.hostname_override =
        node.or(flags.hostname_override).filter(|name| !name.trim().is_empty());
    if flags.hostname_override.is_none() {
        return Err(Refusal::usage("--manifests needs --node, the name of the node to answer for"));
    }
    let config = Config::from_flags(flags).map_err(|e| Refusal::usage(e.to_string()))?;
    for warning in &config.warnings {
        eprintln!("sluice: {warning}");
    }
    let (mut events, unserved) =
        manifest::read(folder, &config.node_name).map_err(Refusal::usage)?;
    let mut node = NodeSpec::default();
    for event in &mut events {
        match event {
            Event::Node(found) => {
                if !node_ip.is_empty() {
                    found.addresses = node_ip.to_vec();
                }
                node = found.clone();
            }
            Event::ServiceCidrs(networks) => networks.extend(service_cidr.iter()),
            Event::Services(_) | Event::Slices(_) | Event::Problem(_) | Event::Cleared(_) => {}
        }
    }
    let state = node_state(&config, &node, &local_address);
    let model = model(&config, &node, events, &state);
    let maps = model.wanted();
    let settings = maps.settings.ok_or_else(|| anyhow!("the model has no settings"))?;
    let why = maps.services.keys().filter_map(|id| Some((*id, model.why(*id)?))).collect();
    let input = if enters_as_pod(&config.detect_local, from.iface.as_deref()) { POD } else { 0 };
    let addresses = (state.addrs_v4, state.addrs_v6);
    let detection = detection(&config.detect_local);
    Ok((View { maps, settings, addresses, detection, why: Some(why), unserved }, input))
}

/// The node's addresses, as if netlink had told them.
fn node_state(config: &Config, node: &NodeSpec, local: &[IpAddr]) -> NodeState {
    let loopback = LOOPBACK.iter().filter_map(|ip| ip.parse().ok());
    let all = loopback.chain(node.addresses.iter().copied()).chain(local.iter().copied());
    let address =
        |ip: IpAddr| Address { ifindex: 1, ip, global: true, usable: true, secondary: false };
    let snapshot = Snapshot { addresses: all.map(address).collect(), ..Snapshot::default() };
    NodeState::new(&snapshot, &settings::node_config(config, node))
}

/// The model as the controller would have it, with all that is in the way told on standard error.
fn model(config: &Config, node: &NodeSpec, events: Vec<Event>, state: &NodeState) -> Model {
    let mut model = Model::new(settings::model_config(config));
    model.set_settings(settings::settings(config, node, 0, false));
    model.set_primary_addresses(settings::primary_addresses(config, node));
    model.set_local_addresses(state.local_addresses());
    for event in events {
        model.handle(event);
    }
    let (_, problems) = model.plan();
    for problem in problems {
        eprintln!("sluice: {problem}");
    }
    model
}

/// A62, A63.
fn enters_as_pod(detect: &DetectLocal, iface: Option<&str>) -> bool {
    let Some(iface) = iface else { return false };
    match detect {
        DetectLocal::BridgeInterface(name) => iface == name,
        DetectLocal::InterfaceNamePrefix(prefix) => iface.starts_with(prefix),
        DetectLocal::ClusterCidr(_) | DetectLocal::NodeCidr => false,
    }
}

fn detection(detect: &DetectLocal) -> Detection {
    match detect {
        DetectLocal::ClusterCidr(_) => Detection::ClusterCidr,
        DetectLocal::NodeCidr => Detection::NodeCidr,
        DetectLocal::BridgeInterface(_) => Detection::BridgeInterface,
        DetectLocal::InterfaceNamePrefix(_) => Detection::InterfaceNamePrefix,
    }
}
