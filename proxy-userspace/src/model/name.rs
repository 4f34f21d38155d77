//! The identity of a service port (A4), and its id and name in SERVICES.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use sluice_common::{
    net::proto,
    service::{NAME_LEN, ServiceName},
};

use super::{
    delta::Delta,
    ids::Ids,
    spec::{ObjectName, Protocol},
};

/// Namespace, name, port name and protocol (A4). Orders who wins a disputed address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortKey {
    /// The Service.
    pub object: ObjectName,
    /// Name of the port; empty for an only port.
    pub port: String,
    /// Protocol.
    pub protocol: Protocol,
}

impl PortKey {
    /// The identity that a name of SERVICES stands for, if it is one.
    pub fn parse(name: &ServiceName) -> Option<Self> {
        let protocol = match name.proto {
            proto::TCP => Protocol::Tcp,
            proto::UDP => Protocol::Udp,
            proto::SCTP => Protocol::Sctp,
            _ => return None,
        };
        let object = ObjectName { namespace: text(&name.namespace)?, name: text(&name.name)? };
        Some(Self { object, port: text(&name.port_name)?, protocol })
    }
}

fn text(padded: &[u8; NAME_LEN + 1]) -> Option<String> {
    let len = padded.iter().position(|byte| *byte == 0)?;
    String::from_utf8(padded[..len].to_vec()).ok()
}

impl fmt::Display for PortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.object)?;
        if self.port.is_empty() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// SERVICES: ids of service ports, shared by both families.
#[derive(Debug)]
pub(super) struct Services {
    pub(super) delta: Delta<u32, ServiceName>,
    ids: Ids,
    id_of: BTreeMap<Arc<PortKey>, u32>,
}

impl Services {
    pub(super) fn new(limit: u32) -> Self {
        Self { delta: Delta::default(), ids: Ids::new(limit), id_of: BTreeMap::new() }
    }

    /// Takes over names, and keeps away from ids that are in use without a name.
    pub(super) fn adopt(&mut self, names: BTreeMap<u32, ServiceName>, used: &[u32]) {
        for id in names.keys().chain(used).filter(|id| **id != 0) {
            self.ids.adopt(*id);
        }
        for (id, name) in &names {
            if let Some(key) = PortKey::parse(name) {
                self.id_of.entry(Arc::new(key)).or_insert(*id);
            }
        }
        self.delta.adopt(names);
    }

    /// The id of a service port; `None` when every id is in use.
    pub(super) fn want(&mut self, key: &Arc<PortKey>, name: ServiceName) -> Option<u32> {
        let known = self.id_of.get(key).copied();
        let id = known.or_else(|| self.ids.take())?;
        self.id_of.entry(Arc::clone(key)).or_insert(id);
        self.delta.want(id, name);
        Some(id)
    }

    /// No longer wants a service port. It keeps its id until its name is deleted.
    pub(super) fn unwant(&mut self, key: &PortKey, id: u32) {
        self.delta.unwant(&id);
        if !self.delta.written().contains_key(&id) {
            self.id_of.remove(key);
            self.ids.give_back(id);
        }
    }

    pub(super) fn forgot(&mut self, id: u32) {
        let name = self.delta.written().get(&id).copied();
        self.delta.wrote(id, None);
        if self.delta.wanted().contains_key(&id) {
            return;
        }
        if let Some(key) = name.as_ref().and_then(PortKey::parse)
            && self.id_of.get(&key) == Some(&id)
        {
            self.id_of.remove(&key);
        }
        if name.is_some() {
            self.ids.give_back(id);
        }
    }

    pub(super) fn tick(&mut self, now: Duration) -> bool {
        self.ids.tick(now)
    }
}
