//! How often something is in use.

use std::collections::BTreeMap;

/// Things, and how many uses each has.
#[derive(Debug)]
pub(super) struct Counts<K> {
    counts: BTreeMap<K, u32>,
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self { counts: BTreeMap::new() }
    }
}

impl<K: Ord> Counts<K> {
    /// One use more; says whether it is the first.
    pub(super) fn add(&mut self, key: K) -> bool {
        let count = self.counts.entry(key).or_default();
        *count += 1;
        *count == 1
    }

    /// One use less; says whether it was the last.
    pub(super) fn remove(&mut self, key: &K) -> bool {
        let Some(count) = self.counts.get_mut(key) else { return false };
        *count -= 1;
        let was_last = *count == 0;
        if was_last {
            self.counts.remove(key);
        }
        was_last
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.counts.contains_key(key)
    }

    /// The lowest and the highest.
    pub(super) fn bounds(&self) -> Option<(&K, &K)> {
        Some((self.counts.first_key_value()?.0, self.counts.last_key_value()?.0))
    }
}
