//! What happens to the first packet of a flow, and why: the programs' decisions, taken once more
//! over a copy of the maps, with the rule of each.
//!
//! Pure: what the maps hold comes in as a [`View`], from a running node or from objects alone, and
//! the answer to a [`Question`] goes out. It follows `proxy-ebpf/src/lb/` line by line; a test holds
//! the two against each other.

mod candidates;
mod decide;
mod lookup;
mod side;
mod steps;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::Serialize;
use sluice_common::{
    net::{Port, V4, V6},
    settings::Settings,
};

pub use steps::Step;

use crate::{
    model::{
        family,
        mirror::Mirror,
        spec::{Protocol, Unserved},
        why::Why,
    },
    node::addresses::NodeAddrs,
};
use side::{Packet, Side};

/// What the programs know when a packet comes.
#[derive(Clone, Debug)]
pub struct View {
    /// The maps that the model governs.
    pub maps: Mirror,
    /// SETTINGS.
    pub settings: Settings,
    /// NODE_ADDRS.
    pub addresses: NodeAddrs,
    /// Which rule the detectors follow.
    pub detection: Detection,
    /// How the lists of service ports came about, by id, IPv4 and IPv6: objects tell, maps do not.
    pub why: Option<BTreeMap<u32, [Why; 2]>>,
    /// Addresses that Services have without rules: objects tell, maps do not.
    pub unserved: Vec<Unserved>,
}

/// The rule that tells local pods; SETTINGS do not say which, only whether it goes by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    /// A60.
    ClusterCidr,
    /// A61.
    NodeCidr,
    /// A62.
    BridgeInterface,
    /// A63.
    InterfaceNamePrefix,
}

/// The first packet of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Where it is from.
    pub source: IpAddr,
    /// Its source port, if known: a Maglev table leads each to one backend.
    pub source_port: Option<u16>,
    /// What IFACES says of the interface it enters by; 0 when it enters by none.
    pub input: u32,
    /// Where it wants to go; of the source's family.
    pub destination: SocketAddr,
    /// Its protocol.
    pub protocol: Protocol,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It goes to a backend.
    Forward,
    /// It is answered with an ICMP error (A50).
    Reject,
    /// It is gone.
    Drop,
    /// It goes on as it came: it is not for a service.
    Untouched,
}

/// What becomes of a packet, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What becomes of it.
    pub verdict: Verdict,
    /// The backends it may go to, each once, in order.
    pub backends: Vec<SocketAddr>,
    /// Whether its source becomes an address of the node, whichever backend is chosen.
    pub masquerade: bool,
    /// `namespace/name:port` of the service that decided; empty if none did.
    pub service: String,
    /// The decisions, in order.
    pub steps: Vec<Step>,
}

impl Answer {
    /// The numbers of the rules applied, in order, each once.
    pub fn rules(&self) -> Vec<&'static str> {
        let mut rules = Vec::new();
        for rule in self.steps.iter().filter_map(|step| step.rule) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        rules
    }
}

/// Answers a question. A destination of another family than the source's is nobody's.
pub fn explain(view: &View, question: &Question) -> Answer {
    match question.destination {
        SocketAddr::V4(_) => ask::<V4>(Side::v4(view), question),
        SocketAddr::V6(_) => ask::<V6>(Side::v6(view), question),
    }
}

fn ask<const N: usize>(side: Side<'_, N>, question: &Question) -> Answer {
    let source = family::addr::<N>(question.source);
    let destination = family::addr::<N>(question.destination.ip());
    let (Some(src), Some(dst)) = (source, destination) else { return decide::nobodys() };
    let packet = Packet {
        src,
        dst,
        src_port: question.source_port.map(Port::new),
        port: Port::new(question.destination.port()),
        proto: family::number(question.protocol),
        input: question.input,
    };
    decide::decide(&side, &packet)
}
