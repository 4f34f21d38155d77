//! From an address and port to a frontend, as in `proxy-ebpf/src/lb/lookup.rs`.

use sluice_common::{
    frontend::{
        Frontend,
        flags::{CLUSTER_IP, ENDPOINT, EXTERNAL},
    },
    iface::addr_flags::{LOOPBACK, NODE_PORTS},
    net::{Addr, proto},
};

use super::{
    side::{Packet, Side, ip},
    steps::Steps,
};

/// The service that a packet is for: a service's own address first (A20, A21), then a NodePort at
/// one of this node's accepted addresses (A22–A24).
pub(super) fn frontend<'a, const N: usize>(
    side: &Side<'a, N>,
    packet: &Packet<N>,
    steps: &mut Steps,
) -> Option<&'a Frontend> {
    let exact = side.frontend(packet.dst, packet.port, packet.proto);
    if let Some(frontend) = exact.filter(|f| f.flags & (ENDPOINT | CLUSTER_IP) == 0) {
        let name = side.name(frontend.service);
        match frontend.flags & EXTERNAL != 0 {
            false => steps.rule("A20", format!("the destination is a cluster IP of {name}")),
            true => steps.rule(
                "A21",
                format!("the destination is a load-balancer address or external IP of {name}"),
            ),
        }
        return Some(frontend);
    }
    let frontend = node_port(side, packet, steps)?;
    let name = side.name(frontend.service);
    let text = format!("{} is the node's own, and the port a NodePort of {name}", ip(&packet.dst));
    steps.rule("A22", text);
    Some(frontend)
}

/// The NodePort, if its number is one and the destination serves it.
fn node_port<'a, const N: usize>(
    side: &Side<'a, N>,
    packet: &Packet<N>,
    steps: &mut Steps,
) -> Option<&'a Frontend> {
    let settings = side.settings;
    if !(settings.node_port_min..=settings.node_port_max).contains(&packet.port.number()) {
        return None;
    }
    let frontend = side.frontend(Addr::UNSPECIFIED, packet.port, packet.proto)?;
    let name = side.name(frontend.service);
    let at = ip(&packet.dst);
    let Some(flags) = side.own(&packet.dst) else {
        let text = format!(
            "the port is a NodePort of {name}, but {at} is not this node's: whoever has it decides"
        );
        steps.rule("A22", text);
        return None;
    };
    if flags & NODE_PORTS == 0 {
        let by = match flags & LOOPBACK {
            0 => "--nodeport-addresses",
            _ => "--nodeport-addresses and --iptables-localhost-nodeports",
        };
        steps.rule("A23", format!("{at} does not serve NodePorts, such as {name}'s; see {by}"));
        return None;
    }
    if flags & LOOPBACK != 0 {
        return on_loopback(side, packet, steps).then_some(frontend);
    }
    Some(frontend)
}

/// NodePorts on loopback are the socket hooks' (A101): TCP and UDP of the node's own processes.
fn on_loopback<const N: usize>(side: &Side<'_, N>, packet: &Packet<N>, steps: &mut Steps) -> bool {
    let hooked = matches!(packet.proto, proto::TCP | proto::UDP);
    if side.own(&packet.src).is_some() && hooked {
        steps
            .rule("A101", "NodePorts on loopback are served to the node's own TCP and UDP sockets");
        return true;
    }
    let text = "a packet to a loopback address never matches a NodePort; only the node's own TCP \
                and UDP sockets reach it there (A101)";
    steps.rule("A22", text);
    false
}
