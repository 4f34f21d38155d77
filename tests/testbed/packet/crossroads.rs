//! A node with two uplinks and a vlan, in a namespace of its own, for the XDP program: its routing
//! is the kernel's.

use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
};
use sluice_common::uplink::{Uplink, UplinkKey, modes::NATIVE};

use super::{Lab, cable::ip, datagram::TO, lab::IFINDEX};

/// The XDP program left the frame to tc.
pub const PASS: i32 = 2;
/// It sent it back by the device that it came by.
pub const SENT: i32 = 3;
/// It sent it by another device.
pub const REDIRECTED: i32 = 4;

/// MAC address of the node's second uplink.
pub(super) const SECOND: [u8; 6] = [2, 0, 0, 0, 0, 3];

/// The node. Its first uplink, eth0, and what stands for a vlan on it, vlan7, have the MAC
/// address that test packets go to; all that comes without a tag came by eth0, all with the tag 7 by
/// vlan7.
pub struct Crossroads {
    /// The programs and their maps.
    pub lab: Lab,
}

/// Who is where: the addresses of [`Lab::new`]'s node, whose own pods are in 10.244.1.0/24; those of
/// 10.244.2.0/24 are behind eth0, 3 behind eth1, 7 in the vlan, and 9 behind a node whose MAC address
/// nobody knows. IPv6 is alike.
const COMMANDS: [&str; 39] = [
    "link set lo up",
    "link add eth0 address 02:00:00:00:00:02 type veth peer name wire0",
    "link add eth1 address 02:00:00:00:00:03 type veth peer name wire1",
    "link add vlan7 address 02:00:00:00:00:02 type veth peer name wire7",
    "link add pods type veth peer name wire8",
    "link set eth0 up",
    "link set eth1 up",
    "link set vlan7 up",
    "link set pods up",
    "link set wire0 up",
    "link set wire1 up",
    "link set wire7 up",
    "link set wire8 up",
    "addr add 192.168.100.11/24 dev eth0",
    "addr add fd00:192:168::11/64 dev eth0 nodad",
    "addr add 192.168.101.11/24 dev eth1",
    "addr add fd00:192:169::11/64 dev eth1 nodad",
    "addr add 192.168.107.11/24 dev vlan7",
    "addr add fd00:192:177::11/64 dev vlan7 nodad",
    "neigh add 192.168.100.1 lladdr 02:00:00:00:01:01 dev eth0 nud permanent",
    "neigh add fd00:192:168::1 lladdr 02:00:00:00:01:01 dev eth0 nud permanent",
    "neigh add 192.168.100.12 lladdr 02:00:00:00:01:02 dev eth0 nud permanent",
    "neigh add fd00:192:168::12 lladdr 02:00:00:00:01:02 dev eth0 nud permanent",
    "neigh add 192.168.101.12 lladdr 02:00:00:00:02:02 dev eth1 nud permanent",
    "neigh add fd00:192:169::12 lladdr 02:00:00:00:02:02 dev eth1 nud permanent",
    "neigh add 192.168.107.12 lladdr 02:00:00:00:07:02 dev vlan7 nud permanent",
    "neigh add fd00:192:177::12 lladdr 02:00:00:00:07:02 dev vlan7 nud permanent",
    "route add default via 192.168.100.1",
    "route add default via fd00:192:168::1",
    "route add 10.244.2.0/24 via 192.168.100.12",
    "route add fd00:10:244:2::/64 via fd00:192:168::12",
    "route add 10.244.1.0/24 dev pods",
    "route add fd00:10:244:1::/64 dev pods",
    "route add 10.244.3.0/24 via 192.168.101.12",
    "route add fd00:10:244:3::/64 via fd00:192:169::12",
    "route add 10.244.7.0/24 via 192.168.107.12",
    "route add fd00:10:244:7::/64 via fd00:192:177::12",
    "route add 10.244.9.0/24 via 192.168.100.99",
    "route add fd00:10:244:9::/64 via fd00:192:168::99",
];

impl Crossroads {
    /// Runs a test on such a node.
    pub fn visit(test: impl FnOnce(&mut Self) + Send) {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).expect("a namespace for this thread");
                test(&mut Self::new());
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    }

    fn new() -> Self {
        // Before devices are made, which take it over.
        for name in ["ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"] {
            std::fs::write(format!("/proc/sys/net/{name}"), "1").expect(name);
        }
        COMMANDS.into_iter().for_each(ip);
        let mut lab = Lab::new();
        let [eth0, eth1, vlan] = ["eth0", "eth1", "vlan7"].map(index);
        for (key, ifindex, vlan, mac) in [
            (UplinkKey::arriving(IFINDEX, 0), eth0, 0, TO),
            (UplinkKey::arriving(IFINDEX, 7), vlan, 7, TO),
            (UplinkKey::leaving(eth0), IFINDEX, 0, TO),
            (UplinkKey::leaving(vlan), IFINDEX, 7, TO),
            (UplinkKey::leaving(eth1), eth1, 0, SECOND),
        ] {
            let uplink = Uplink { ifindex, vlan, mac, mode: NATIVE, pad: [0; 3] };
            lab.hash("UPLINKS").insert(key, uplink, 0).expect("UPLINKS");
        }
        Self { lab }
    }
}

/// Next hops of what leaves by eth0, as in [`COMMANDS`].
const NEXT_HOPS: [&str; 4] =
    ["192.168.100.1", "192.168.100.12", "fd00:192:168::1", "fd00:192:168::12"];

impl Crossroads {
    /// Lets the next hops of eth0 have the node's own MAC address, so that a frame that was sent is
    /// one that might arrive.
    pub fn mirror(&self) {
        for hop in NEXT_HOPS {
            ip(&format!("neigh replace {hop} lladdr 02:00:00:00:00:02 dev eth0 nud permanent"));
        }
    }
}

fn index(device: &str) -> u32 {
    if_nametoindex(device).expect(device)
}
