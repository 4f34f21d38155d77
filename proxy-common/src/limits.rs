//! How much fits: the sizes of the maps, per address family unless said otherwise.

/// Frontends and endpoint marks (elements of 64 + 8 or 20 + 28 bytes).
pub const FRONTENDS: u32 = 262_144;
/// Slots: the sum over services of both their ranges, twice while ranges switch (8 bytes each).
pub const SLOTS: u32 = 1_048_576;
/// Backends (16 or 32 bytes each).
pub const BACKENDS: u32 = 262_144;
/// Flow entries, two to four a flow (about 96 or 128 bytes each).
pub const FLOWS: u32 = 262_144;
/// TCP connections of one client that have begun and are not established, after which others of its
/// SYNs wait: 1/64 of the flows that fit, each of two to four entries.
pub const HALF_OPEN: u32 = FLOWS / 64;
/// Clients whose unfinished connections are counted (about 72 or 88 bytes each).
pub const HANDSHAKES: u32 = 16_384;
/// Datagrams whose fragments are on their way.
pub const FRAGMENTS: u32 = 8_192;
/// Fragments that wait for their first (about 2,150 bytes each).
pub const EARLY: u32 = 512;
/// Entries of sockets that the socket hooks translated, two a peer.
pub const SOCKETS: u32 = 65_536;
/// Clients of services with session affinity (about 88 or 104 bytes each).
pub const AFFINITIES: u32 = 65_536;
/// ServiceCIDRs and loadBalancerSourceRanges.
pub const PREFIXES: u32 = 65_536;
/// Service ports, both families together (about 264 bytes each).
pub const SERVICES: u32 = 65_536;
/// Instrumented interfaces, both families together.
pub const IFACES: u32 = 8_192;
/// Uplinks and their vlans, twice.
pub const UPLINKS: u32 = 2_048;
/// Addresses of the node.
pub const NODE_ADDRS: u32 = 4_096;

/// Masquerade ports that are preferred: above Linux's default `ip_local_port_range`
/// (32768–60999), so that a local socket rarely wants the same one.
pub const MASQUERADE_PORTS: (u16, u16) = (61_000, 65_535);
