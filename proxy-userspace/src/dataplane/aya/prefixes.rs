//! PREFIXES through aya, which has the bits of a key apart from the rest.

use aya::{
    Pod,
    maps::{
        MapData, MapError,
        lpm_trie::{Key, LpmTrie},
    },
};
use sluice_common::{
    net::{Addr, V4, V6},
    prefix::{LISTED, PrefixKey},
};

use super::{Error, maps, pin::Pins};

/// A [`PrefixKey`] without its bits.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Scoped<const N: usize> {
    scope: u32,
    addr: Addr<N>,
}

const _: () = assert!(size_of::<Scoped<V4>>() + 4 == size_of::<PrefixKey<V4>>());
const _: () = assert!(size_of::<Scoped<V6>>() + 4 == size_of::<PrefixKey<V6>>());

// SAFETY: `repr(C)`, `Copy`, an integer and an array of bytes, and by the assertion above no byte of
// it is padding.
unsafe impl Pod for Scoped<V4> {}
// SAFETY: the same.
unsafe impl Pod for Scoped<V6> {}

/// A map of prefixes.
pub struct Prefixes<const N: usize> {
    trie: LpmTrie<MapData, Scoped<N>, u32>,
}

impl<const N: usize> Prefixes<N>
where
    Scoped<N>: Pod,
{
    /// Opens a pinned map; see [`maps::open`].
    pub fn open(pins: &Pins, name: &str, read_only: bool) -> Result<Self, Error> {
        let map = maps::open(pins, name, read_only)?;
        let opening = |e| Error::new(format!("opening map {name}"), e);
        Ok(Self { trie: LpmTrie::try_from(map).map_err(opening)? })
    }

    /// Writes a prefix.
    pub fn insert(&mut self, prefix: &PrefixKey<N>) -> Result<(), MapError> {
        self.trie.insert(&key(prefix), LISTED, 0)
    }

    /// Deletes a prefix.
    pub fn remove(&mut self, prefix: &PrefixKey<N>) -> Result<(), MapError> {
        self.trie.remove(&key(prefix))
    }

    /// Whether exactly this prefix is there.
    pub fn contains(&self, prefix: &PrefixKey<N>) -> Result<bool, MapError> {
        match self.trie.get(&key(prefix), 0) {
            // Also a shorter prefix would be found: only the keys tell.
            Ok(_) => self.keys().try_fold(false, |found, key| Ok(found || key? == *prefix)),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Every prefix. One that goes or comes meanwhile may be missed.
    pub fn keys(&self) -> impl Iterator<Item = Result<PrefixKey<N>, MapError>> {
        self.trie.keys().map(|key| {
            let key = key?;
            let Scoped { scope, addr } = key.data();
            Ok(PrefixKey { bits: key.prefix_len(), scope, addr })
        })
    }
}

fn key<const N: usize>(prefix: &PrefixKey<N>) -> Key<Scoped<N>>
where
    Scoped<N>: Pod,
{
    Key::new(prefix.bits, Scoped { scope: prefix.scope, addr: prefix.addr })
}
