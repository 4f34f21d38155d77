//! The maps, as docs/maps.md describes them.
//!
//! Names are cut at 15 characters by the kernel, so they stay below that. BTF maps, so that
//! `bpftool map dump` prints named fields.

use core::ptr;

use aya_ebpf::{
    bindings::bpf_map_type::BPF_MAP_TYPE_LPM_TRIE,
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray},
    helpers::generated::bpf_map_lookup_elem,
    macros::btf_map,
};
use sluice_common::{
    affinity::{Affinity, AffinityKey},
    backend::Backend,
    flow::{Flow, FlowKey},
    fragment::{Early, EarlyKey, FragmentKey, FragmentPorts},
    frontend::{Frontend, FrontendKey},
    handshake::Handshakes,
    iface::Iface,
    limits,
    net::{Addr, V4, V6},
    prefix::PrefixKey,
    reason,
    service::ServiceName,
    settings::Settings,
    socket::{SocketKey, SocketPeer},
    uplink::{Uplink, UplinkKey},
};

/// No memory is taken for elements that are not there (`BPF_F_NO_PREALLOC`).
const NO_PREALLOC: usize = 1;

/// Where services are reached → what may be reached there. Written by the controller.
pub type Frontends<const N: usize> =
    HashMap<FrontendKey<N>, Frontend, { limits::FRONTENDS as usize }, NO_PREALLOC>;
/// Index → backend id. Written by the controller; a range is filled before a frontend names it.
pub type Slots = Array<u32, { limits::SLOTS as usize }>;
/// Backend id → endpoint. Written by the controller.
pub type Backends<const N: usize> = Array<Backend<N>, { limits::BACKENDS as usize }>;
/// Tuple and direction → rewrite. Written by the tc programs; the oldest give way when full.
pub type Flows<const N: usize> = LruHashMap<FlowKey<N>, Flow<N>, { limits::FLOWS as usize }>;
/// Client → its unfinished TCP connections. Written by the tc programs; the oldest give way when full.
pub type HandshakeCounts<const N: usize> =
    LruHashMap<Addr<N>, Handshakes, { limits::HANDSHAKES as usize }>;
/// Addresses of the node → flags. Written by the controller, from netlink.
pub type NodeAddrs<const N: usize> =
    HashMap<Addr<N>, u32, { limits::NODE_ADDRS as usize }, NO_PREALLOC>;
/// Fragmented datagram → its ports. Written by the tc programs; the oldest give way when full.
pub type Fragments<const N: usize> =
    LruHashMap<FragmentKey<N>, FragmentPorts, { limits::FRAGMENTS as usize }>;
/// Early fragment → a copy of it. Written by the tc programs; the oldest give way when full.
pub type Earlies<const N: usize> = LruHashMap<EarlyKey<N>, Early, { limits::EARLY as usize }>;
/// Socket and peer → the other name of the peer. Written by the socket hooks.
pub type Sockets<const N: usize> =
    LruHashMap<SocketKey<N>, SocketPeer<N>, { limits::SOCKETS as usize }>;
/// Client and service port → the backend it stays with. Written by all programs; the oldest give
/// way when full.
pub type Affinities<const N: usize> =
    LruHashMap<AffinityKey<N>, Affinity, { limits::AFFINITIES as usize }>;

/// Sets of address prefixes. Written by the controller.
///
/// Not `aya_ebpf::btf_maps::LpmTrie`: that wraps every key in a structure of its own, and
/// [`PrefixKey`] is the whole key already, with the names that a dump prints.
#[repr(C)]
pub struct Prefixes<const N: usize> {
    r#type: *const [i32; BPF_MAP_TYPE_LPM_TRIE as usize],
    key: *const PrefixKey<N>,
    value: *const u32,
    max_entries: *const [i32; limits::PREFIXES as usize],
    map_flags: *const [i32; NO_PREALLOC],
}

// SAFETY: the fields only describe the map to the loader; nobody follows them.
unsafe impl<const N: usize> Sync for Prefixes<N> {}

impl<const N: usize> Prefixes<N> {
    const fn new() -> Self {
        Self {
            r#type: ptr::null(),
            key: ptr::null(),
            value: ptr::null(),
            max_entries: ptr::null(),
            map_flags: ptr::null(),
        }
    }

    /// Whether a prefix of `key`'s set covers its address.
    #[inline(always)]
    pub fn covers(&self, key: &PrefixKey<N>) -> bool {
        // SAFETY: the loader puts the map in the place of `self`, and its keys are `PrefixKey<N>`.
        let element = unsafe {
            bpf_map_lookup_elem(ptr::from_ref(self).cast_mut().cast(), ptr::from_ref(key).cast())
        };
        !element.is_null()
    }
}

#[btf_map]
pub static FRONTENDS_V4: Frontends<V4> = HashMap::new();
#[btf_map]
pub static FRONTENDS_V6: Frontends<V6> = HashMap::new();
#[btf_map]
pub static SLOTS_V4: Slots = Array::new();
#[btf_map]
pub static SLOTS_V6: Slots = Array::new();
#[btf_map]
pub static BACKENDS_V4: Backends<V4> = Array::new();
#[btf_map]
pub static BACKENDS_V6: Backends<V6> = Array::new();
#[btf_map]
pub static FLOWS_V4: Flows<V4> = LruHashMap::new();
#[btf_map]
pub static FLOWS_V6: Flows<V6> = LruHashMap::new();
#[btf_map]
pub static HANDSHAKES_V4: HandshakeCounts<V4> = LruHashMap::new();
#[btf_map]
pub static HANDSHAKES_V6: HandshakeCounts<V6> = LruHashMap::new();
#[btf_map]
pub static NODE_ADDRS_V4: NodeAddrs<V4> = HashMap::new();
#[btf_map]
pub static NODE_ADDRS_V6: NodeAddrs<V6> = HashMap::new();
#[btf_map]
pub static FRAGMENTS_V4: Fragments<V4> = LruHashMap::new();
#[btf_map]
pub static FRAGMENTS_V6: Fragments<V6> = LruHashMap::new();
#[btf_map]
pub static EARLY_V4: Earlies<V4> = LruHashMap::new();
#[btf_map]
pub static EARLY_V6: Earlies<V6> = LruHashMap::new();
/// Where an early fragment is copied to on its way into EARLY: the stack is too small.
#[btf_map]
pub static EARLY_COPY: PerCpuArray<Early, 1> = PerCpuArray::new();
#[btf_map]
pub static SOCKETS_V4: Sockets<V4> = LruHashMap::new();
#[btf_map]
pub static SOCKETS_V6: Sockets<V6> = LruHashMap::new();
#[btf_map]
pub static AFFINITIES_V4: Affinities<V4> = LruHashMap::new();
#[btf_map]
pub static AFFINITIES_V6: Affinities<V6> = LruHashMap::new();
#[btf_map]
pub static PREFIXES_V4: Prefixes<V4> = Prefixes::new();
#[btf_map]
pub static PREFIXES_V6: Prefixes<V6> = Prefixes::new();

/// Service id → names. For people and for restarts; no program reads it.
#[btf_map]
pub static SERVICES: HashMap<u32, ServiceName, { limits::SERVICES as usize }, NO_PREALLOC> =
    HashMap::new();
/// Interface index → what the programs must know of it. Written by the controller.
#[btf_map]
pub static IFACES: HashMap<u32, Iface, { limits::IFACES as usize }, NO_PREALLOC> = HashMap::new();
/// What the XDP programs serve. Written by the controller, once a program is attached.
#[btf_map]
pub static UPLINKS: HashMap<UplinkKey, Uplink, { limits::UPLINKS as usize }, NO_PREALLOC> =
    HashMap::new();
/// The one set of settings. Written by the controller.
#[btf_map]
pub static SETTINGS: Array<Settings, 1> = Array::new();
/// Packets by reason, per CPU. Written by the programs.
#[btf_map]
pub static REASONS: PerCpuArray<u64, { reason::COUNT as usize }> = PerCpuArray::new();
