//! Maps as the model wants them, written into the lab's.

use aya::{Pod, maps::lpm_trie::Key};
use sluice::{explain::View, model::mirror::FamilyMirror};
use sluice_common::{
    affinity::{Affinity, AffinityKey},
    backend::Backend,
    flow::{Flow, FlowKey},
    frontend::{Frontend, FrontendKey},
    net::{Addr, V4, V6},
    prefix::{LISTED, PrefixKey},
};

use super::{lab::Lab, prefix::data};

impl Lab {
    /// Writes all of a view into the maps, in place of what they held; flows are forgotten.
    pub fn hold(&mut self, view: &View) {
        self.set(|settings| *settings = view.settings);
        self.empty_family::<V4>("V4");
        self.empty_family::<V6>("V6");
        let prefixes: Vec<_> = self.trie::<8>("PREFIXES_V4").keys().flatten().collect();
        for key in prefixes {
            self.trie("PREFIXES_V4").remove(&key).expect("PREFIXES");
        }
        let prefixes: Vec<_> = self.trie::<20>("PREFIXES_V6").keys().flatten().collect();
        for key in prefixes {
            self.trie("PREFIXES_V6").remove(&key).expect("PREFIXES");
        }
        self.hold_family::<V4>("V4", &view.maps.v4);
        self.hold_family::<V6>("V6", &view.maps.v6);
        for PrefixKey { bits, scope, addr } in &view.maps.v4.prefixes {
            let key = Key::new(*bits, data::<V4, 8>(*scope, addr.bytes));
            self.trie("PREFIXES_V4").insert(&key, LISTED, 0).expect("PREFIXES");
        }
        for PrefixKey { bits, scope, addr } in &view.maps.v6.prefixes {
            let key = Key::new(*bits, data::<V6, 20>(*scope, addr.bytes));
            self.trie("PREFIXES_V6").insert(&key, LISTED, 0).expect("PREFIXES");
        }
        for (addr, flags) in &view.addresses.0 {
            self.hash("NODE_ADDRS_V4").insert(*addr, *flags, 0).expect("NODE_ADDRS");
        }
        for (addr, flags) in &view.addresses.1 {
            self.hash("NODE_ADDRS_V6").insert(*addr, *flags, 0).expect("NODE_ADDRS");
        }
    }

    fn empty_family<const N: usize>(&mut self, family: &str)
    where
        FrontendKey<N>: Pod,
        FlowKey<N>: Pod,
        Flow<N>: Pod,
        AffinityKey<N>: Pod,
        Addr<N>: Pod,
    {
        self.empty::<FrontendKey<N>, Frontend>(&format!("FRONTENDS_{family}"));
        self.empty::<FlowKey<N>, Flow<N>>(&format!("FLOWS_{family}"));
        self.empty::<AffinityKey<N>, Affinity>(&format!("AFFINITIES_{family}"));
        self.empty::<Addr<N>, u32>(&format!("NODE_ADDRS_{family}"));
    }

    fn empty<K: Pod, V: Pod>(&mut self, name: &str) {
        let mut map = self.hash::<K, V>(name);
        let keys: Vec<K> = map.keys().flatten().collect();
        for key in keys {
            map.remove(&key).expect(name);
        }
    }

    fn hold_family<const N: usize>(&mut self, family: &str, maps: &FamilyMirror<N>)
    where
        FrontendKey<N>: Pod,
        Backend<N>: Pod,
        Addr<N>: Pod,
    {
        for (key, frontend) in &maps.frontends {
            let name = format!("FRONTENDS_{family}");
            self.hash(&name).insert(*key, *frontend, 0).expect("FRONTENDS");
        }
        for (slot, id) in &maps.slots {
            self.array(&format!("SLOTS_{family}")).set(*slot, *id, 0).expect("SLOTS");
        }
        for (id, backend) in &maps.backends {
            self.array(&format!("BACKENDS_{family}")).set(*id, *backend, 0).expect("BACKENDS");
        }
    }
}
