//! Session affinity: a client stays with its backend of a service port, by whichever frontend it
//! comes (A70–A72).

use core::num::NonZeroU32;

use aya_ebpf::bindings::BPF_ANY;
use sluice_common::{
    affinity::{Affinity, AffinityKey},
    backend::Backend,
    frontend::Frontend,
    net::Addr,
};

use super::select;
use crate::{
    clock,
    family::{Family, Ip},
};

/// Id of the backend that `client` stays with, if it came back in time (A71) and the backend is
/// still the same and in the frontend's `list` (C16). Notes that a connection begins.
#[inline(never)]
pub fn kept<const N: usize>(frontend: &Frontend, client: &Addr<N>, list: u8) -> Option<NonZeroU32>
where
    Ip<N>: Family<N>,
{
    let key = AffinityKey { client: *client, service: frontend.service };
    let entry = <Ip<N> as Family<N>>::affinities().get_ptr_mut(&key)?;
    // SAFETY: an LRU element stays readable memory while the program runs, even when it is evicted
    // and reused meanwhile; every bit pattern is a valid `Affinity`.
    let Affinity { backend, generation, .. } = unsafe { *entry };
    let used = entry.cast::<u64>();
    let now = clock::nanoseconds();
    // SAFETY: as above. The kernel aligns the values of hash maps to eight bytes (`htab_elem`), so
    // both words are read in one piece, as they are written below.
    let idle = now.saturating_sub(unsafe { used.read_volatile() });
    if idle > u64::from(frontend.affinity_timeout) * clock::SECOND {
        return None;
    }
    // The service is compared as well, lest an element be reused between look-up and reading.
    let same = |b: &&Backend<N>| {
        b.generation == generation && b.flags & list != 0 && b.service == frontend.service
    };
    select::usable::<N>(backend).filter(same)?;
    // SAFETY: as above.
    unsafe { used.write_volatile(now) };
    NonZeroU32::new(backend)
}

/// Notes what was chosen for `client`'s connection.
#[inline(never)]
pub fn note<const N: usize>(client: &Addr<N>, service: u32, backend: u32, generation: u32)
where
    Ip<N>: Family<N>,
{
    let key = AffinityKey { client: *client, service };
    let now = clock::nanoseconds();
    let entry = Affinity { used: [now as u32, (now >> 32) as u32], backend, generation };
    // Without its entry the client may go elsewhere next time, as it may when the map is full.
    let _ = <Ip<N> as Family<N>>::affinities().insert(&key, &entry, u64::from(BPF_ANY));
}
