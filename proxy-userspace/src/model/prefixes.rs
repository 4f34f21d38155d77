//! PREFIXES: the sets of address prefixes, and when one may come or go.
//!
//! A set changes as kube-proxy's nftables transaction does: until the new one is whole, the old one
//! is in force. Frontends that are no longer to ask it go first; then comes what is new, then goes
//! what is not wanted, and then frontends that are to ask it are switched. So after every single
//! write, and with any of them failing, a source is let in only if the old or the new set lets it in,
//! and always if both do.

use std::{collections::BTreeSet, ops::RangeInclusive};

use sluice_common::{
    net::Addr,
    prefix::{PrefixKey, SCOPE_BITS, SERVICE_CIDRS},
};

use super::delta::Delta;

/// Network address and length of a prefix.
pub(super) type Network<const N: usize> = (Addr<N>, u32);

/// A prefix of a set, ordered by set: scope, network address, bits as in [`PrefixKey::bits`].
type Member<const N: usize> = (u32, Addr<N>, u32);

/// The prefixes of a family.
#[derive(Debug)]
pub(super) struct Prefixes<const N: usize> {
    delta: Delta<Member<N>, ()>,
    capacity: usize,
    /// How many are wanted that the map does not hold yet.
    missing: usize,
    /// Sets that are wanted, be they empty: what is not in one of them is kept out.
    in_force: BTreeSet<u32>,
    /// Whether something was deleted since last asked.
    freed: bool,
}

impl<const N: usize> Prefixes<N> {
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            delta: Delta::default(),
            capacity: usize::try_from(capacity).unwrap_or(usize::MAX),
            missing: 0,
            in_force: BTreeSet::from([SERVICE_CIDRS]),
            freed: false,
        }
    }

    /// Takes over what the map holds. ServiceCIDRs stay until they are told anew.
    pub(super) fn adopt(&mut self, content: &BTreeSet<PrefixKey<N>>) {
        self.delta.adopt(content.iter().map(|key| (member(key), ())).collect());
        for key in content.iter().filter(|key| key.scope == SERVICE_CIDRS) {
            self.delta.want(member(key), ());
        }
    }

    /// Puts up for deletion what was adopted and is not wanted.
    pub(super) fn drop_adopted(&mut self) {
        self.delta.touch_all();
    }

    /// Wants exactly these prefixes in a set, or with `None` no set; returns how many found no
    /// room. A set that lacks some is in force all the same: it keeps out more than it should,
    /// never less.
    pub(super) fn set(&mut self, scope: u32, networks: Option<&BTreeSet<Network<N>>>) -> usize {
        let members: BTreeSet<Member<N>> = networks
            .into_iter()
            .flatten()
            .map(|(addr, len)| (scope, *addr, SCOPE_BITS + len))
            .collect();
        let wanted = self.delta.wanted().range(within(scope)).map(|(member, ())| *member);
        let gone: Vec<_> = wanted.filter(|member| !members.contains(member)).collect();
        for member in gone {
            self.missing -= usize::from(!self.delta.written().contains_key(&member));
            self.delta.unwant(&member);
        }
        match networks {
            Some(_) => self.in_force.insert(scope),
            None => self.in_force.remove(&scope),
        };
        members.into_iter().filter(|member| !self.want(*member)).count()
    }

    /// Whether there is room: what is still to be deleted takes its place until it is.
    fn want(&mut self, member: Member<N>) -> bool {
        let is_known = self.delta.wanted().contains_key(&member);
        let is_written = self.delta.written().contains_key(&member);
        if !is_known && !is_written {
            if self.delta.written().len() + self.missing >= self.capacity {
                return false;
            }
            self.missing += 1;
        }
        self.delta.want(member, ());
        true
    }

    /// The lowest and the highest address of a set.
    pub(super) fn bounds(&self, scope: u32) -> Option<(Addr<N>, Addr<N>)> {
        let members = || self.delta.wanted().range(within(scope)).map(|(member, ())| member);
        let low = members().map(|(_, addr, _)| *addr).min()?;
        let high =
            members().map(|(_, addr, bits)| last(addr, bits.saturating_sub(SCOPE_BITS))).max()?;
        Some((low, high))
    }

    /// What is to be written before frontends are switched.
    pub(super) fn additions(&self) -> impl Iterator<Item = PrefixKey<N>> {
        self.delta.pending().filter(|(_, value)| value.is_some()).map(|(member, _)| key(&member))
    }

    /// What is to be deleted: before frontends are switched from sets in force, after it (`false`)
    /// from sets that are no longer.
    pub(super) fn removals(&self, in_force: bool) -> impl Iterator<Item = PrefixKey<N>> {
        let gone = self.delta.pending().filter(|(_, value)| value.is_none());
        let gone = gone.filter(move |((scope, ..), _)| self.in_force.contains(scope) == in_force);
        gone.map(|(member, _)| key(&member))
    }

    /// Whether a set is wanted and has all it should have, be it too much.
    pub(super) fn is_complete(&self, scope: u32) -> bool {
        let mut pending = self.delta.pending_within(within(scope));
        self.in_force.contains(&scope) && pending.all(|(_, value)| value.is_none())
    }

    /// Whether a set is exactly what is wanted.
    pub(super) fn is_settled(&self, scope: u32) -> bool {
        self.delta.pending_within(within(scope)).next().is_none()
    }

    pub(super) fn has_pending(&self) -> bool {
        self.delta.has_pending()
    }

    /// Takes note that the map now holds a prefix, or no longer does; says whether that is new.
    pub(super) fn wrote(&mut self, key: &PrefixKey<N>, is_there: bool) -> bool {
        let member = member(key);
        let was_there = self.delta.written().contains_key(&member);
        if self.delta.wanted().contains_key(&member) {
            self.missing -= usize::from(is_there && !was_there);
            self.missing += usize::from(!is_there && was_there);
        }
        self.delta.wrote(member, is_there.then_some(()));
        self.freed |= !is_there;
        was_there != is_there
    }

    /// Whether there may be room that there was not when last asked.
    pub(super) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    pub(super) fn written(&self) -> BTreeSet<PrefixKey<N>> {
        self.delta.written().keys().map(key).collect()
    }

    pub(super) fn wanted(&self) -> BTreeSet<PrefixKey<N>> {
        self.delta.wanted().keys().map(key).collect()
    }
}

fn within<const N: usize>(scope: u32) -> RangeInclusive<Member<N>> {
    (scope, Addr::UNSPECIFIED, 0)..=(scope, Addr::new([u8::MAX; N]), u32::MAX)
}

fn member<const N: usize>(key: &PrefixKey<N>) -> Member<N> {
    (key.scope, key.addr, key.bits)
}

fn key<const N: usize>((scope, addr, bits): &Member<N>) -> PrefixKey<N> {
    PrefixKey { bits: *bits, scope: *scope, addr: *addr }
}

/// The last address of a prefix.
fn last<const N: usize>(addr: &Addr<N>, len: u32) -> Addr<N> {
    let mut bytes = addr.bytes;
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(8)) {
        let counting = len.saturating_sub(at).min(8);
        *byte |= u8::MAX.checked_shr(counting).unwrap_or(0);
    }
    Addr::new(bytes)
}
