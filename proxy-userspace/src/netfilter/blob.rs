//! A legacy iptables table as the kernel hands it out: one run of bytes, entry after entry, in which
//! jumps are offsets. Removing chains means writing it anew with other offsets. Pure: bytes in, bytes
//! out.
//!
//! The layout is the kernel's ABI (linux/netfilter/x_tables.h, linux/netfilter_ipv4/ip_tables.h,
//! linux/netfilter_ipv6/ip6_tables.h), unchanged since 2.4 but for the alignment that 64 bit give.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Family,
    chains::{Jump, Removal},
};

/// Places where rules begin: PREROUTING to POSTROUTING.
pub const HOOKS: usize = libc::NF_INET_NUMHOOKS as usize;
/// Names of the built-in chains, in the order of the hooks.
const BUILTIN: [&str; HOOKS] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

/// Bytes of a target's header: its size, its name, its revision.
const TARGET: usize = 32;
/// Where, within, its name is, and how long it may be.
const NAME: std::ops::Range<usize> = 2..31;
/// The target that marks the beginning of a user's chain, or the end of all.
const ERROR: &str = "ERROR";

/// Where an entry has what.
struct Layout {
    destination: std::ops::Range<usize>,
    protocol: usize,
    target: usize,
    next: usize,
    counters: std::ops::Range<usize>,
    size: usize,
}

const fn layout(family: Family) -> Layout {
    match family {
        Family::V4 => Layout {
            destination: 4..8,
            protocol: 80,
            target: 88,
            next: 90,
            counters: 96..112,
            size: 112,
        },
        Family::V6 => Layout {
            destination: 16..32,
            protocol: 128,
            target: 140,
            next: 142,
            counters: 152..168,
            size: 168,
        },
    }
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The family.
    pub family: Family,
    /// Bits of the hooks that it has.
    pub valid_hooks: u32,
    /// Where each hook begins.
    pub hook_entry: [u32; HOOKS],
    /// Where each hook's policy stands.
    pub underflow: [u32; HOOKS],
    /// How many entries there are.
    pub count: u32,
    /// The entries.
    pub entries: Vec<u8>,
}

/// An entry, taken apart as far as needed.
#[derive(Clone, Debug)]
struct Entry {
    start: usize,
    end: usize,
    /// Index of its chain.
    chain: usize,
    /// Where its verdict stands, if that is an offset that it jumps to.
    jump: Option<(usize, usize)>,
}

/// A table taken apart.
#[derive(Clone, Debug)]
struct Parsed {
    entries: Vec<Entry>,
    /// Name, and whether it is built in.
    chains: Vec<(String, bool)>,
    /// Chains by the offset of their first rule.
    starts: BTreeMap<usize, usize>,
}

impl Table {
    /// What is kube-proxy's in it, and the rules of chains that stay which jump to what is. `None`:
    /// the bytes are not what they should be.
    pub fn leftovers(&self, table: &str) -> Option<(Removal, Vec<Jump>)> {
        let parsed = self.parse()?;
        let chains: BTreeSet<String> = parsed.chains.iter().map(|(name, _)| name.clone()).collect();
        let jumps: Vec<Jump> =
            parsed.entries.iter().filter_map(|entry| parsed.jump(entry)).collect();
        let removal = Removal::of(table, &chains, &jumps);
        let jumps = jumps.into_iter().filter(|jump| removal.takes(jump)).collect();
        Some((removal, jumps))
    }

    /// The table without them, and the counters of what remains: packets and bytes.
    pub fn without(&self, removal: &Removal) -> Option<(Self, Vec<[u64; 2]>)> {
        let parsed = self.parse()?;
        let mut table = Self { entries: Vec::new(), count: 0, ..self.clone() };
        let (mut moved, mut counters) = (BTreeMap::new(), Vec::new());
        let mut verdicts = Vec::new();
        for entry in &parsed.entries {
            let to = table.entries.len();
            // What fell through to an entry that goes falls through to the next.
            moved.insert(entry.start, to);
            let goes = removal.chains.contains(&parsed.chains[entry.chain].0)
                || parsed.jump(entry).is_some_and(|jump| removal.takes(&jump));
            if goes {
                continue;
            }
            if let Some((at, target)) = entry.jump {
                verdicts.push((to + at - entry.start, target));
            }
            counters.push(self.counters(entry)?);
            table.entries.extend(&self.entries[entry.start..entry.end]);
            table.count += 1;
        }
        for (at, target) in verdicts {
            let verdict = i32::try_from(*moved.get(&target)?).ok()?;
            table.entries.get_mut(at..at + 4)?.copy_from_slice(&verdict.to_ne_bytes());
        }
        for offsets in [&mut table.hook_entry, &mut table.underflow] {
            for (hook, offset) in offsets.iter_mut().enumerate() {
                if self.valid_hooks & (1 << hook) != 0 {
                    *offset = *moved.get(&(*offset as usize))? as u32;
                }
            }
        }
        Some((table, counters))
    }

    /// What the rules of a chain match that jump on: destination (zeros for any), protocol and port.
    pub fn destinations(&self, chain: &str) -> Vec<(Vec<u8>, u8, u16)> {
        let Some(parsed) = self.parse() else { return Vec::new() };
        let rules = parsed.entries.iter().filter(|entry| parsed.chains[entry.chain].0 == chain);
        let jumps = rules.filter(|entry| parsed.jump(entry).is_some());
        jumps.filter_map(|entry| self.destination(&self.entries[entry.start..entry.end])).collect()
    }

    fn destination(&self, entry: &[u8]) -> Option<(Vec<u8>, u8, u16)> {
        let layout = layout(self.family);
        let half = |at: usize| Some(u16::from_ne_bytes(*entry.get(at..)?.first_chunk()?));
        let protocol = half(layout.protocol)? as u8;
        // The match that has the ports: its first and last port, behind those of the source, but for
        // SCTP, where they come first.
        let (name, ports) = match i32::from(protocol) {
            libc::IPPROTO_TCP => ("tcp", TARGET + 4),
            libc::IPPROTO_UDP => ("udp", TARGET + 4),
            libc::IPPROTO_SCTP => ("sctp", TARGET),
            _ => return None,
        };
        let (mut at, end) = (layout.size, usize::from(half(layout.target)?));
        while at < end {
            let size = usize::from(half(at)?);
            let body = entry.get(at..at + size)?;
            if size >= ports + 4 && text(&body[NAME]) == name {
                let address = entry.get(layout.destination)?.to_vec();
                return Some((address, protocol, half(at + ports)?));
            }
            at += size.max(TARGET);
        }
        None
    }

    fn counters(&self, entry: &Entry) -> Option<[u64; 2]> {
        let counters = layout(self.family).counters;
        let bytes = self.entries.get(entry.start..)?.get(counters)?;
        let half = |at: usize| Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        Some([half(0)?, half(8)?])
    }

    fn parse(&self) -> Option<Parsed> {
        let mut parsed =
            Parsed { entries: Vec::new(), chains: Vec::new(), starts: BTreeMap::new() };
        let layout = layout(self.family);
        let half = |at: usize| {
            Some(usize::from(u16::from_ne_bytes(*self.entries.get(at..)?.first_chunk()?)))
        };
        let mut start = 0;
        while start < self.entries.len() {
            let (offset, length) = (half(start + layout.target)?, half(start + layout.next)?);
            if offset < layout.size || length < offset + TARGET {
                return None;
            }
            let (target, end) = (start + offset, start + length);
            let body = self.entries.get(target..end)?;
            let name = text(&body[NAME]);
            if let Some(chain) = self.builtin_at(start) {
                parsed.begin(chain, true, start);
            } else if name == ERROR {
                parsed.begin(&text(body.get(TARGET..TARGET + 30)?), false, end);
            }
            let verdict = i32::from_ne_bytes(*body.get(TARGET..)?.first_chunk()?);
            let jump = match usize::try_from(verdict) {
                Ok(to) if name.is_empty() => Some((target + TARGET, to)),
                // A verdict of its own, or a target that is no chain.
                Ok(_) | Err(_) => None,
            };
            let chain = parsed.chains.len().checked_sub(1)?;
            parsed.entries.push(Entry { start, end, chain, jump });
            start = end;
        }
        Some(parsed)
    }

    fn builtin_at(&self, offset: usize) -> Option<&'static str> {
        let begins = |hook: &usize| {
            self.valid_hooks & (1 << hook) != 0 && self.hook_entry[*hook] as usize == offset
        };
        (0..HOOKS).find(begins).map(|hook| BUILTIN[hook])
    }
}

impl Parsed {
    fn begin(&mut self, name: &str, is_builtin: bool, first_rule: usize) {
        self.starts.insert(first_rule, self.chains.len());
        self.chains.push((name.to_owned(), is_builtin));
    }

    /// The rule's jump, if it has one. An offset that is no chain's beginning is the next rule's.
    fn jump(&self, entry: &Entry) -> Option<Jump> {
        let (_, target) = entry.jump?;
        if target == entry.end {
            return None;
        }
        let (to, _) = self.chains.get(*self.starts.get(&target)?)?;
        let (from, from_builtin) = self.chains.get(entry.chain)?;
        Some(Jump { from: from.clone(), from_builtin: *from_builtin, to: to.clone() })
    }
}

fn text(bytes: &[u8]) -> String {
    super::attributes::text(bytes)
}

#[cfg(test)]
mod tests;
