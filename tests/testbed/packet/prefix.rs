//! Sets of prefixes in the maps: ServiceCIDRs and source ranges.

use aya::maps::{
    MapData,
    lpm_trie::{Key, LpmTrie},
};
use ipnet::IpNet;
use sluice_common::{
    net::{Addr, Prefix},
    prefix::{LISTED, SCOPE_BITS, SERVICE_CIDRS},
    settings::flags::{CLUSTER_IPS_V4, CLUSTER_IPS_V6},
};

use super::lab::{Lab, prefix6};

impl Lab {
    /// Has 10.96.0.0/16 and fd00:10:96::/112 for ServiceCIDRs, and refuses what no frontend serves
    /// there (A51, A52).
    pub fn refuse_unserved(&mut self) {
        self.set(|settings| {
            settings.flags |= CLUSTER_IPS_V4 | CLUSTER_IPS_V6;
            let (addr, mask) = (Addr::new([10, 96, 0, 0]), Addr::new([255, 255, 0, 0]));
            settings.services_v4 = Prefix { addr, mask };
            settings.services_v6 = prefix6("fd00:10:96::", 112);
        });
        self.prefix(SERVICE_CIDRS, "10.96.0.0/16");
        self.prefix(SERVICE_CIDRS, "fd00:10:96::/112");
    }

    /// Admits a prefix to the restricted address of the service `id`.
    pub fn source_range(&mut self, id: u32, prefix: &str) {
        self.prefix(id, prefix);
    }

    fn prefix(&mut self, scope: u32, prefix: &str) {
        let prefix: IpNet = prefix.parse().expect("a prefix");
        let bits = SCOPE_BITS + u32::from(prefix.prefix_len());
        match prefix {
            IpNet::V4(net) => {
                let key = data::<4, 8>(scope, net.addr().octets());
                self.trie("PREFIXES_V4").insert(&Key::new(bits, key), LISTED, 0)
            }
            IpNet::V6(net) => {
                let key = data::<16, 20>(scope, net.addr().octets());
                self.trie("PREFIXES_V6").insert(&Key::new(bits, key), LISTED, 0)
            }
        }
        .expect("PREFIXES");
    }

    pub(super) fn trie<const S: usize>(
        &mut self,
        name: &str,
    ) -> LpmTrie<&mut MapData, [u8; S], u32> {
        LpmTrie::try_from(self.map(name)).expect(name)
    }
}

/// What `PrefixKey` holds after its length.
pub(super) fn data<const N: usize, const S: usize>(scope: u32, addr: [u8; N]) -> [u8; S] {
    let mut bytes = [0; S];
    bytes[..4].copy_from_slice(&scope.to_ne_bytes());
    bytes[4..].copy_from_slice(&addr);
    bytes
}
