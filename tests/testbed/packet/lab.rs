//! The programs, loaded but attached to nothing, and maps to put services in.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use aya::{
    Pod,
    maps::{Array, HashMap, Map, MapData, PerCpuArray},
    programs::TestRunOptions,
};
use sluice_common::{
    affinity::{Affinity, AffinityKey},
    iface::{Iface, addr_flags},
    net::{Addr, Prefix, V4, V6},
    reason::Reason,
    settings::{Settings, detector},
};

use super::{loaded::Loaded, service::Known};

/// Interface that test packets are on: loopback's index, the only one a test run knows.
pub(super) const IFINDEX: u32 = 1;

/// A tc program, or XDP's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Packets entering the node.
    Ingress,
    /// Packets leaving the node.
    Egress,
    /// Packets entering a bridge from one of its ports.
    IngressUpper,
    /// Packets leaving by a bridge.
    EgressUpper,
    /// Frames reaching an uplink (XDP), which has to be in UPLINKS: [`super::Crossroads`].
    Uplink,
}

impl Hook {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
            Self::IngressUpper => "ingress_upper",
            Self::EgressUpper => "egress_upper",
            Self::Uplink => "uplink",
        }
    }
}

/// What a program did with a packet.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The program's return value.
    pub action: i32,
    /// The reasons it counted.
    pub reasons: Vec<Reason>,
    /// The frame afterwards.
    pub frame: Vec<u8>,
}

/// The next program's turn.
pub const NEXT: i32 = -1;
/// The packet is gone.
pub const DROP: i32 = 2;
/// The packet leaves by another device, or the same.
pub const REDIRECT: i32 = 7;

/// Loaded programs, with nothing but a node's settings in the maps.
pub struct Lab {
    pub(super) bpf: Loaded,
    /// Settings as written.
    pub settings: Settings,
    pub(super) next_slot: u32,
    pub(super) next_backend: u32,
    pub(super) next_service: u32,
    pub(super) backends: Vec<Known>,
}

impl Lab {
    /// Programs with maps of moderate size.
    pub fn new() -> Self {
        Self::of(Loaded::take())
    }

    /// The same with a flow table of another size.
    pub fn with_flows(flows: u32) -> Self {
        Self::of(Loaded::with_flows(flows))
    }

    fn of(bpf: Loaded) -> Self {
        let settings = Settings {
            netns_cookie: 0,
            flags: 0,
            node_port_min: 30_000,
            node_port_max: 32_767,
            masquerade_min: 61_000,
            masquerade_max: 65_535,
            detector_v4: detector::PREFIX,
            detector_v6: detector::PREFIX,
            pad: [0; 2],
            pods_v4: Prefix { addr: Addr::new([10, 244, 0, 0]), mask: Addr::new([255, 255, 0, 0]) },
            pods_v6: prefix6("fd00:10:244::", 48),
            services_v4: Prefix::ANY,
            services_v6: Prefix::ANY,
        };
        let mut lab = Self {
            bpf,
            settings,
            next_slot: 0,
            next_backend: 1,
            next_service: 1,
            backends: vec![],
        };
        lab.set(|_| {});
        lab.iface(0);
        lab.node_address("192.168.100.11");
        lab.node_address("fd00:192:168::11");
        lab
    }

    /// Changes the settings.
    pub fn set(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        let settings = self.settings;
        self.array("SETTINGS").set(0, settings, 0).expect("SETTINGS");
    }

    /// Sets the flags of the interface that all packets are on.
    pub fn iface(&mut self, flags: u32) {
        let iface = Iface {
            flags,
            masquerade_v4: Addr::new([192, 168, 100, 11]),
            masquerade_v6: addr6("fd00:192:168::11"),
        };
        self.hash("IFACES").insert(IFINDEX, iface, 0).expect("IFACES");
    }

    /// Adds an address of the node that serves NodePorts.
    pub fn node_address(&mut self, address: &str) {
        match address.parse().expect("an address") {
            IpAddr::V4(a) => self.hash("NODE_ADDRS_V4").insert(
                Addr::<V4>::new(a.octets()),
                addr_flags::NODE_PORTS,
                0,
            ),
            IpAddr::V6(a) => self.hash("NODE_ADDRS_V6").insert(
                Addr::<V6>::new(a.octets()),
                addr_flags::NODE_PORTS,
                0,
            ),
        }
        .expect("NODE_ADDRS");
    }

    /// Runs a frame through a program.
    pub fn run(&mut self, hook: Hook, frame: &[u8]) -> Seen {
        let before = self.counters();
        let seen = self.pass(hook, frame);
        let reasons = std::iter::zip(Reason::ALL, std::iter::zip(before, self.counters()))
            .filter(|(_, (before, after))| after > before)
            .map(|(reason, _)| *reason)
            .collect();
        Seen { reasons, ..seen }
    }

    /// The same without the reasons, which take longer to read than the rest.
    pub fn pass(&mut self, hook: Hook, frame: &[u8]) -> Seen {
        let mut out = vec![0; frame.len() + 256];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::new()
        };
        let result = self.bpf.test_run(hook.name(), options);
        let length = result.data_size_out as usize;
        out.truncate(length);
        Seen { action: result.return_value as i32, reasons: vec![], frame: out }
    }

    /// Runs a frame through a program `repeat` times; what one run leaves is the next one's
    /// packet. Returns the kernel's mean duration of a run.
    pub fn time(&mut self, hook: Hook, frame: &[u8], repeat: u32) -> Duration {
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
        self.bpf.test_run(hook.name(), options).duration
    }

    /// How often a program gave this reason.
    pub fn counted(&mut self, reason: Reason) -> u64 {
        self.counters()[reason as usize]
    }

    fn counters(&mut self) -> Vec<u64> {
        let map = self.bpf.map("REASONS").expect("REASONS");
        let counters: PerCpuArray<&MapData, u64> = PerCpuArray::try_from(map).expect("REASONS");
        let sum = |i: usize| counters.get(&(i as u32), 0).expect("a counter").iter().sum();
        (0..Reason::ALL.len()).map(sum).collect()
    }

    pub(super) fn map(&mut self, name: &str) -> &mut Map {
        self.bpf.map_mut(name).expect(name)
    }

    /// Lets every client with affinity have been away for this much longer.
    pub fn stay_away(&mut self, time: Duration) {
        self.stay_away_family::<V4>("AFFINITIES_V4", time);
        self.stay_away_family::<V6>("AFFINITIES_V6", time);
    }

    fn stay_away_family<const N: usize>(&mut self, name: &str, time: Duration)
    where
        AffinityKey<N>: Pod,
    {
        let mut affinities = self.hash::<AffinityKey<N>, Affinity>(name);
        let entries: Vec<_> = affinities.iter().map(|entry| entry.expect(name)).collect();
        for (key, entry) in entries {
            let [low, high] = entry.used.map(u64::from);
            let used = (high << 32 | low) - time.as_nanos() as u64;
            let used = [used as u32, (used >> 32) as u32];
            affinities.insert(key, Affinity { used, ..entry }, 0).expect(name);
        }
    }

    pub(super) fn array<T: Pod>(&mut self, name: &str) -> Array<&mut MapData, T> {
        Array::try_from(self.map(name)).expect(name)
    }

    pub(super) fn hash<K: Pod, V: Pod>(&mut self, name: &str) -> HashMap<&mut MapData, K, V> {
        HashMap::try_from(self.map(name)).expect(name)
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

pub(super) fn addr6(text: &str) -> Addr<V6> {
    Addr::new(text.parse::<Ipv6Addr>().expect("an address").octets())
}

pub(super) fn prefix6(text: &str, length: u32) -> Prefix<V6> {
    let mask = u128::MAX << (128 - length);
    Prefix { addr: addr6(text), mask: Addr::new(mask.to_be_bytes()) }
}
