//! What the node's addresses are for: NodePorts, masquerading, and knowing what is local.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use sluice_common::{
    iface::addr_flags::{LOOPBACK, NODE_PORTS},
    net::{Addr, V4, V6},
};

use super::{Address, Config, Link, NodePortAddresses, Snapshot};

/// Holds the addresses of all services where kube-proxy ran in ipvs mode; none is the node's.
const IPVS: &str = "kube-ipvs0";

/// NODE_ADDRS of both families.
pub type NodeAddrs = (BTreeMap<Addr<V4>, u32>, BTreeMap<Addr<V6>, u32>);

/// Every address of the node, with what it is good for.
pub fn node_addresses(snapshot: &Snapshot, config: &Config) -> NodeAddrs {
    let (mut v4, mut v6) = NodeAddrs::default();
    for ip in own(snapshot).map(|address| address.ip) {
        let flags = address_flags(ip, config);
        match ip {
            IpAddr::V4(ip) => *v4.entry(Addr::new(ip.octets())).or_insert(0) |= flags,
            IpAddr::V6(ip) => *v6.entry(Addr::new(ip.octets())).or_insert(0) |= flags,
        }
    }
    (v4, v6)
}

fn own(snapshot: &Snapshot) -> impl Iterator<Item = &Address> {
    let ipvs: BTreeSet<u32> =
        snapshot.links.iter().filter(|l| l.name == IPVS).map(|l| l.ifindex).collect();
    snapshot.addresses.iter().filter(move |address| !ipvs.contains(&address.ifindex))
}

fn address_flags(ip: IpAddr, config: &Config) -> u32 {
    let node_ports = match &config.node_ports {
        // Link-local addresses mean something else on every link.
        _ if is_link_local_v6(ip) => false,
        _ if config.without_loopback && ip.is_loopback() => false,
        NodePortAddresses::All => true,
        NodePortAddresses::Primary { localhost } => {
            config.node_addresses.contains(&ip) || *localhost && ip.is_loopback()
        }
        NodePortAddresses::Within(nets) => {
            let mut family =
                nets.iter().filter(|net| net.addr().is_ipv4() == ip.is_ipv4()).peekable();
            family.peek().is_none() || family.any(|net| net.contains(&ip))
        }
    };
    let loopback = if ip.is_loopback() { LOOPBACK } else { 0 };
    if node_ports { loopback | NODE_PORTS } else { loopback }
}

fn is_link_local_v6(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// The addresses that masqueraded packets leave with.
#[derive(Debug)]
pub struct Masquerade {
    by_iface_v4: BTreeMap<u32, Ipv4Addr>,
    by_iface_v6: BTreeMap<u32, Ipv6Addr>,
    primary_v4: Ipv4Addr,
    primary_v6: Ipv6Addr,
}

impl Masquerade {
    /// Looks at the node's addresses once, for all interfaces.
    pub fn new(snapshot: &Snapshot, config: &Config) -> Self {
        let usable = || own(snapshot).filter(|address| is_source(address));
        let v4 = |address: &Address| match address.ip {
            IpAddr::V4(ip) => Some((address.ifindex, ip)),
            IpAddr::V6(_) => None,
        };
        let v6 = |address: &Address| match address.ip {
            IpAddr::V6(ip) => Some((address.ifindex, ip)),
            IpAddr::V4(_) => None,
        };
        let by_iface_v4 = firsts(usable().filter_map(v4));
        let by_iface_v6 = firsts(usable().filter_map(v6));
        let is_own = |ip: &IpAddr| usable().any(|address| address.ip == *ip);
        let told = |is_v4: bool| {
            config.node_addresses.iter().copied().find(|ip| ip.is_ipv4() == is_v4 && is_own(ip))
        };
        let first_v4 = usable().filter_map(v4).map(|(_, ip)| ip).next();
        let first_v6 = usable().filter_map(v6).map(|(_, ip)| ip).next();
        let routed_v4 = snapshot.default_v4.and_then(|i| by_iface_v4.get(&i)).copied();
        let routed_v6 = snapshot.default_v6.and_then(|i| by_iface_v6.get(&i)).copied();
        let told_v4 =
            told(true).and_then(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None });
        let told_v6 =
            told(false).and_then(|ip| if let IpAddr::V6(ip) = ip { Some(ip) } else { None });
        Self {
            primary_v4: told_v4.or(routed_v4).or(first_v4).unwrap_or(Ipv4Addr::UNSPECIFIED),
            primary_v6: told_v6.or(routed_v6).or(first_v6).unwrap_or(Ipv6Addr::UNSPECIFIED),
            by_iface_v4,
            by_iface_v6,
        }
    }

    /// What MASQUERADE would take: the interface's own address, else its master's, else the
    /// node's; unspecified when there is none.
    pub fn v4(&self, link: &Link) -> Ipv4Addr {
        let map = &self.by_iface_v4;
        let own = map.get(&link.ifindex).or_else(|| map.get(&link.master));
        own.copied().unwrap_or(self.primary_v4)
    }

    /// The same for IPv6.
    pub fn v6(&self, link: &Link) -> Ipv6Addr {
        let map = &self.by_iface_v6;
        let own = map.get(&link.ifindex).or_else(|| map.get(&link.master));
        own.copied().unwrap_or(self.primary_v6)
    }
}

fn is_source(address: &Address) -> bool {
    let link_local = match address.ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    address.global
        && address.usable
        && !address.secondary
        && !link_local
        && !address.ip.is_loopback()
}

fn firsts<T>(pairs: impl Iterator<Item = (u32, T)>) -> BTreeMap<u32, T> {
    let mut map = BTreeMap::new();
    for (ifindex, ip) in pairs {
        map.entry(ifindex).or_insert(ip);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(ifindex: u32, ip: &str) -> Address {
        let ip = ip.parse().unwrap();
        Address { ifindex, ip, global: true, usable: true, secondary: false }
    }

    fn link(ifindex: u32, name: &str) -> Link {
        Link { ifindex, name: name.into(), ..Link::default() }
    }

    fn node() -> Snapshot {
        Snapshot {
            links: vec![link(1, "lo"), link(2, "eth0"), link(3, "cni0"), link(9, "kube-ipvs0")],
            addresses: vec![
                address(1, "127.0.0.1"),
                address(1, "::1"),
                address(9, "10.96.0.1"),
                address(3, "10.244.0.1"),
                Address { usable: false, ..address(2, "192.0.2.7") },
                address(2, "192.0.2.8"),
                Address { global: false, ..address(2, "fe80::1") },
                address(2, "2001:db8::8"),
            ],
            default_v4: Some(2),
            default_v6: None,
        }
    }

    #[test]
    fn a101_loopback_addresses_can_be_left_out() {
        let config = Config { without_loopback: true, ..Config::default() };
        let served = with_node_ports(&config);
        assert!(
            !served.is_empty() && !served.iter().any(|ip| ip.starts_with("127.") || ip == "::1")
        );
        // They are the node's own all the same.
        let (v4, _) = node_addresses(&node(), &config);
        assert!(v4.contains_key(&Addr::new([127, 0, 0, 1])));
    }

    fn with_node_ports(config: &Config) -> Vec<String> {
        let (v4, v6) = node_addresses(&node(), config);
        let v4 = v4.iter().map(|(a, f)| (IpAddr::from(a.bytes), *f));
        let v6 = v6.iter().map(|(a, f)| (IpAddr::from(a.bytes), *f));
        v4.chain(v6).filter(|(_, f)| f & NODE_PORTS != 0).map(|(a, _)| a.to_string()).collect()
    }

    fn within(nets: &[&str]) -> Config {
        let nets = nets.iter().map(|net| net.parse().unwrap()).collect();
        Config { node_ports: NodePortAddresses::Within(nets), ..Config::default() }
    }

    #[test]
    fn a100_unset_means_every_local_address() {
        let all = ["10.244.0.1", "127.0.0.1", "192.0.2.7", "192.0.2.8", "::1", "2001:db8::8"];
        assert_eq!(with_node_ports(&Config::default()), all);
    }

    #[test]
    fn a23_a_family_without_a_cidr_is_not_restricted() {
        let expected = ["192.0.2.7", "192.0.2.8", "::1", "2001:db8::8"];
        assert_eq!(with_node_ports(&within(&["192.0.2.0/24"])), expected);
    }

    #[test]
    fn a23_the_zero_cidr_wins() {
        let config = within(&["0.0.0.0/0", "192.0.2.8/32", "2001:db8::/32"]);
        let expected = ["10.244.0.1", "127.0.0.1", "192.0.2.7", "192.0.2.8", "2001:db8::8"];
        assert_eq!(with_node_ports(&config), expected);
    }

    #[test]
    fn a23_primary_means_the_nodes_addresses() {
        let config = |localhost| Config {
            node_ports: NodePortAddresses::Primary { localhost },
            node_addresses: vec!["192.0.2.8".parse().unwrap()],
            ..Config::default()
        };
        assert_eq!(with_node_ports(&config(false)), ["192.0.2.8"]);
        assert_eq!(with_node_ports(&config(true)), ["127.0.0.1", "192.0.2.8", "::1"]);
    }

    #[test]
    fn loopback_is_marked_and_ipvs_addresses_are_nobodys() {
        let (v4, v6) = node_addresses(&node(), &Config::default());
        assert_eq!(v4[&Addr::new([127, 0, 0, 1])] & LOOPBACK, LOOPBACK);
        assert_eq!(v6[&Addr::new(Ipv6Addr::LOCALHOST.octets())] & LOOPBACK, LOOPBACK);
        assert!(!v4.contains_key(&Addr::new([10, 96, 0, 1])));
        let link_local = "fe80::1".parse::<Ipv6Addr>().unwrap();
        assert_eq!(v6[&Addr::new(link_local.octets())], 0);
    }

    #[test]
    fn masquerading_takes_the_own_the_masters_or_the_nodes_address() {
        let masquerade = Masquerade::new(&node(), &Config::default());
        let v4 = |link: Link| masquerade.v4(&link).to_string();
        assert_eq!(v4(link(3, "cni0")), "10.244.0.1");
        assert_eq!(v4(Link { master: 3, ..link(7, "veth1") }), "10.244.0.1");
        assert_eq!(v4(link(8, "cali1")), "192.0.2.8", "the first usable one of the uplink");
        assert_eq!(masquerade.v6(&link(8, "cali1")).to_string(), "2001:db8::8");
        let empty = Masquerade::new(&Snapshot::default(), &Config::default());
        assert!(empty.v4(&link(2, "eth0")).is_unspecified());
    }

    #[test]
    fn the_told_address_is_preferred_where_the_node_has_it() {
        let told =
            |ip: &str| Config { node_addresses: vec![ip.parse().unwrap()], ..Config::default() };
        let primary = |config| Masquerade::new(&node(), &config).v4(&link(8, "x")).to_string();
        assert_eq!(primary(told("10.244.0.1")), "10.244.0.1");
        assert_eq!(primary(told("198.51.100.1")), "192.0.2.8");
    }
}
