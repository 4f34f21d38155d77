//! Services as one writes them down, and as the maps hold them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sluice_common::{
    backend::{Backend, flags as backend_flags},
    frontend::{Frontend, FrontendKey, Range, flags},
    net::{Addr, Port, V4, V6, proto},
};

use super::lab::Lab;

/// A service to be put into the maps.
#[derive(Clone, Debug)]
pub struct Service {
    frontends: Vec<(SocketAddr, u32)>,
    proto: u8,
    backends: Vec<SocketAddr>,
    local: Vec<SocketAddr>,
}

impl Service {
    /// A service with a ClusterIP.
    pub fn tcp(address: &str) -> Self {
        Self::new(address, proto::TCP)
    }

    /// A service with a ClusterIP.
    pub fn udp(address: &str) -> Self {
        Self::new(address, proto::UDP)
    }

    /// A service with a ClusterIP.
    pub fn new(address: &str, proto: u8) -> Self {
        let frontends = vec![(address.parse().expect("an address"), 0)];
        Self { frontends, proto, backends: Vec::new(), local: Vec::new() }
    }

    /// Its endpoints.
    pub fn backends(mut self, addresses: &[&str]) -> Self {
        self.backends = addresses.iter().map(|a| a.parse().expect("an address")).collect();
        self
    }

    /// Those on this node.
    pub fn local(mut self, addresses: &[&str]) -> Self {
        self.local = addresses.iter().map(|a| a.parse().expect("an address")).collect();
        self
    }

    /// Another, external address; with externalTrafficPolicy=Local if `local`.
    pub fn external(mut self, address: &str, local: bool) -> Self {
        let policy = if local { flags::LOCAL_POLICY } else { 0 };
        self.frontends.push((address.parse().expect("an address"), flags::EXTERNAL | policy));
        self
    }

    /// A NodePort.
    pub fn node_port(self, port: u16, local: bool) -> Self {
        let any = match self.frontends[0].0.ip() {
            IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        self.external(&SocketAddr::new(any, port).to_string(), local)
    }
}

impl Lab {
    /// Puts a service into the maps, over an earlier one at the same addresses.
    pub fn put(&mut self, service: &Service) {
        let id = self.next_service;
        self.next_service += 1;
        let cluster = self.range(&service.backends, service.proto, id, backend_flags::CLUSTER);
        let local = self.range(&service.local, service.proto, id, backend_flags::LOCAL);
        for (address, bits) in &service.frontends {
            let none = if service.backends.is_empty() { flags::NO_ENDPOINTS } else { 0 };
            let frontend = Frontend {
                service: id,
                flags: bits | none,
                cluster,
                local: if bits & flags::EXTERNAL == 0 { Range::default() } else { local },
                affinity_timeout: 0,
            };
            self.frontend(*address, service.proto, frontend);
        }
    }

    fn range(&mut self, backends: &[SocketAddr], proto: u8, service: u32, list: u8) -> Range {
        let range = Range { start: self.next_slot, len: backends.len() as u32 };
        for address in backends {
            let id = self.next_backend;
            self.next_backend += 1;
            self.backends.push((*address, id));
            self.backend(id, *address, proto, service, backend_flags::SERVING | list);
            let slots = if address.is_ipv4() { "SLOTS_V4" } else { "SLOTS_V6" };
            let slot = self.next_slot;
            self.array(slots).set(slot, id, 0).expect("SLOTS");
            self.next_slot += 1;
            let mark = Frontend { flags: flags::ENDPOINT, ..Frontend::default() };
            self.frontend(*address, proto, mark);
        }
        range
    }

    fn frontend(&mut self, address: SocketAddr, proto: u8, frontend: Frontend) {
        let port = Port::new(address.port());
        match address.ip() {
            IpAddr::V4(a) => {
                let key = FrontendKey::new(Addr::<V4>::new(a.octets()), port, proto);
                self.hash("FRONTENDS_V4").insert(key, frontend, 0)
            }
            IpAddr::V6(a) => {
                let key = FrontendKey::new(Addr::<V6>::new(a.octets()), port, proto);
                self.hash("FRONTENDS_V6").insert(key, frontend, 0)
            }
        }
        .expect("FRONTENDS");
    }

    fn backend(&mut self, id: u32, address: SocketAddr, proto: u8, service: u32, flags: u8) {
        let port = Port::new(address.port());
        match address.ip() {
            IpAddr::V4(a) => {
                let addr = Addr::<V4>::new(a.octets());
                let backend = Backend { addr, port, proto, flags, service, generation: 1 };
                self.array("BACKENDS_V4").set(id, backend, 0)
            }
            IpAddr::V6(a) => {
                let addr = Addr::<V6>::new(a.octets());
                let backend = Backend { addr, port, proto, flags, service, generation: 1 };
                self.array("BACKENDS_V6").set(id, backend, 0)
            }
        }
        .expect("BACKENDS");
    }

    /// Retires every backend with this address.
    pub fn retire(&mut self, address: &str, proto: u8) {
        let address: SocketAddr = address.parse().expect("an address");
        for (known, id) in self.backends.clone() {
            if known == address {
                self.backend(id, address, proto, 0, 0);
            }
        }
    }
}
