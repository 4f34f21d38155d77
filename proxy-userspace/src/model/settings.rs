//! SETTINGS: what the controller decided, and what follows from the objects.

use sluice_common::{
    net::{Addr, Prefix},
    prefix::SERVICE_CIDRS,
    settings::{Settings, flags},
};

use super::{Model, tables::Tables};

/// The ports of no NodePort at all.
const NO_PORTS: (u16, u16) = (1, 0);

impl Model {
    /// What the controller decided. The ranges of NodePorts and of cluster IPs in it do not count:
    /// they follow from the objects. With [`flags::CLUSTER_IPS_V4`] and its twin the controller asks
    /// for A51 and A52, wherever the family has cluster IPs.
    pub fn set_settings(&mut self, base: Settings) {
        self.base = Some(base);
    }

    /// What the map should hold, as far as it is known.
    pub(super) fn wanted_settings(&self) -> Option<Settings> {
        let mut settings = self.base?;
        if !self.is_listed() {
            return Some(self.before_listing(settings));
        }
        (settings.node_port_min, settings.node_port_max) =
            match (self.v4.frontends.node_ports(), self.v6.frontends.node_ports()) {
                (Some(a), Some(b)) => (a.0.min(b.0), a.1.max(b.1)),
                (Some(ports), None) | (None, Some(ports)) => ports,
                (None, None) => NO_PORTS,
            };
        if self.v4.frontends.has_hashed() || self.v6.frontends.has_hashed() {
            settings.flags |= flags::HASHED_FRONTENDS;
        }
        settings.services_v4 = hold(&mut settings.flags, flags::CLUSTER_IPS_V4, &self.v4);
        settings.services_v6 = hold(&mut settings.flags, flags::CLUSTER_IPS_V6, &self.v6);
        Some(settings)
    }

    /// What the objects and the Node say is not known yet. So what the map holds stays, pods' networks
    /// included (A61, A90), but for what tells the node's own sockets.
    fn before_listing(&self, base: Settings) -> Settings {
        let netns_cookie = base.netns_cookie;
        let ours = flags::CLUSTER_IPS_V4 | flags::CLUSTER_IPS_V6;
        let (node_port_min, node_port_max) = NO_PORTS;
        let empty = Settings { flags: base.flags & !ours, node_port_min, node_port_max, ..base };
        self.settings.map_or(empty, |written| Settings { netns_cookie, ..written })
    }

    /// The same, if it is not what the map holds.
    pub(super) fn pending_settings(&self) -> Option<Settings> {
        self.wanted_settings().filter(|wanted| self.settings.as_ref() != Some(wanted))
    }
}

/// The shortest prefix that holds every cluster IP and ServiceCIDR of a family; clears the family's
/// flag if there is none, or nobody asks.
fn hold<const N: usize>(settings: &mut u32, flag: u32, tables: &Tables<N>) -> Prefix<N> {
    let cidrs = tables.prefixes.bounds(SERVICE_CIDRS);
    let ips = tables.frontends.cluster_ip_bounds();
    let bounds = cidrs.into_iter().chain(ips).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    match bounds {
        Some((low, high)) if *settings & flag != 0 => shared_prefix(&low, &high),
        Some(_) | None => {
            *settings &= !flag;
            Prefix::ANY
        }
    }
}

/// The longest prefix that both addresses begin with, and so every one between them.
fn shared_prefix<const N: usize>(low: &Addr<N>, high: &Addr<N>) -> Prefix<N> {
    let mut prefix = Prefix::ANY;
    for (at, (a, b)) in low.bytes.iter().zip(&high.bytes).enumerate() {
        let shared = (a ^ b).leading_zeros();
        let mask = !u8::MAX.checked_shr(shared).unwrap_or(0);
        prefix.mask.bytes[at] = mask;
        prefix.addr.bytes[at] = a & mask;
        if a != b {
            break;
        }
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a52_the_shared_prefix_is_the_longest() {
        let rows = [
            ([10, 96, 0, 1], [10, 96, 0, 1], [10, 96, 0, 1], [255; 4]),
            ([10, 96, 0, 0], [10, 111, 255, 255], [10, 96, 0, 0], [255, 240, 0, 0]),
            ([10, 96, 0, 1], [10, 96, 0, 2], [10, 96, 0, 0], [255, 255, 255, 252]),
            ([10, 96, 0, 1], [172, 16, 0, 1], [0; 4], [0; 4]),
        ];
        for (low, high, addr, mask) in rows {
            let prefix = shared_prefix(&Addr::new(low), &Addr::new(high));
            assert_eq!((prefix.addr.bytes, prefix.mask.bytes), (addr, mask), "{low:?} {high:?}");
            assert!(prefix.contains(&Addr::new(low)) && prefix.contains(&Addr::new(high)));
        }
    }
}
