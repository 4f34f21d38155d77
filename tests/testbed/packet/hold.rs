//! Maps as the model wants them, written into the lab's.

use aya::{Pod, maps::lpm_trie::Key};
use sluice::{explain::View, model::mirror::FamilyMirror};
use sluice_common::{
    backend::Backend,
    frontend::FrontendKey,
    net::{Addr, V4, V6},
    prefix::{LISTED, PrefixKey},
};

use super::{lab::Lab, prefix::data};

impl Lab {
    /// Writes all of a view into the maps, which hold no services yet.
    pub fn hold(&mut self, view: &View) {
        self.set(|settings| *settings = view.settings);
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
