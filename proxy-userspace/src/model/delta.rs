//! What a map should hold against what it does hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Range, RangeInclusive},
};

/// A map's wanted and written content, and the keys where they may differ.
///
/// Only a write that succeeded changes `written`; a key whose write failed stays in `touched`, so
/// the next plan has it again.
#[derive(Debug)]
pub(super) struct Delta<K, V> {
    wanted: BTreeMap<K, V>,
    written: BTreeMap<K, V>,
    touched: BTreeSet<K>,
}

impl<K, V> Default for Delta<K, V> {
    fn default() -> Self {
        Self { wanted: BTreeMap::new(), written: BTreeMap::new(), touched: BTreeSet::new() }
    }
}

impl<K: Copy + Ord, V: Copy + PartialEq> Delta<K, V> {
    /// Takes over what the map holds; it may stay until [`Self::touch_all`].
    pub(super) fn adopt(&mut self, content: BTreeMap<K, V>) {
        self.written = content;
    }

    /// Puts everything that is not wanted up for deletion.
    pub(super) fn touch_all(&mut self) {
        let unwanted = self.written.keys().filter(|key| !self.wanted.contains_key(key));
        self.touched.extend(unwanted);
    }

    pub(super) fn want(&mut self, key: K, value: V) {
        self.wanted.insert(key, value);
        self.touch(key);
    }

    pub(super) fn unwant(&mut self, key: &K) {
        self.wanted.remove(key);
        self.touch(*key);
    }

    /// Neither wants the key nor wants it away: whatever is there may stay.
    pub(super) fn release(&mut self, key: &K) {
        self.wanted.remove(key);
        self.touched.remove(key);
    }

    /// Forgets what the map holds there: something else is in charge.
    pub(super) fn forget(&mut self, keys: Range<K>) {
        let keys: Vec<K> = self.written.range(keys).map(|(key, _)| *key).collect();
        for key in keys {
            self.written.remove(&key);
        }
    }

    /// Remembers that the map now holds this.
    pub(super) fn wrote(&mut self, key: K, value: Option<V>) {
        match value {
            Some(value) => self.written.insert(key, value),
            None => self.written.remove(&key),
        };
        self.touch(key);
    }

    /// Whether the map holds what is wanted there.
    pub(super) fn is_settled(&self, key: &K) -> bool {
        !self.touched.contains(key)
    }

    /// What is to be written: a value, or with `None` a deletion.
    pub(super) fn pending(&self) -> impl Iterator<Item = (K, Option<V>)> {
        self.touched.iter().map(|key| (*key, self.wanted.get(key).copied()))
    }

    /// The same of some keys only.
    pub(super) fn pending_within(
        &self,
        keys: RangeInclusive<K>,
    ) -> impl Iterator<Item = (K, Option<V>)> {
        self.touched.range(keys).map(|key| (*key, self.wanted.get(key).copied()))
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.touched.is_empty()
    }

    pub(super) fn wanted(&self) -> &BTreeMap<K, V> {
        &self.wanted
    }

    pub(super) fn written(&self) -> &BTreeMap<K, V> {
        &self.written
    }

    fn touch(&mut self, key: K) {
        if self.wanted.get(&key) == self.written.get(&key) {
            self.touched.remove(&key);
        } else {
            self.touched.insert(key);
        }
    }
}
