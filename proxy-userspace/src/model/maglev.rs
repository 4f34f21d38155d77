//! Maglev tables: which backend a flow's hash leads to, from the backends' addresses alone, so that
//! every node has the same (docs/decisions/0005-maglev.md).
//!
//! Every backend has its own order of all slots, and the backends take turns: who finds the next
//! slot of its order free takes it, who does not waits for its next turn. So a slot belongs to the
//! backend that ranks it highest, and when one leaves, no other's slots change hands. (In Eisenbud's
//! paper a backend looks on until it finds a free slot. All then have equally many, but a leaver in
//! ten sets 3 % of the others' flows in motion.) Nobody takes more than 6/5 of the mean.
//!
//! More backends need a longer table, and a longer one has nothing in common with a shorter. So
//! each size takes over from the one before it in 200 steps, a backend each: of a table in
//! between, the first part is the new size's, and the rest the old one's, every slot in four.

use sluice_common::net::{Addr, Port};

/// Slots of the tables, as powers of two.
const BITS: [u32; 3] = [12, 14, 16];
/// Each size serves more backends than this.
const ABOVE: [usize; 3] = [1, 12, 212];
/// In how many steps a size takes over from the one before it.
const STEPS: usize = 200;
/// The most slots that a backend may have, as a fraction of the mean.
const LIMIT: (usize, usize) = (6, 5);
/// A slot that nobody has yet.
const FREE: u32 = u32::MAX;

/// A backend of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id on this node.
    pub id: u32,
    /// What every node knows it by: [`key`].
    pub key: u64,
}

/// A backend's identity, as its order of the slots follows from it.
pub fn key<const N: usize>(addr: &Addr<N>, port: Port) -> u64 {
    let words =
        addr.bytes.chunks(4).map(|word| word.iter().fold(0, |all, b| all << 8 | u64::from(*b)));
    words.fold(mix(u64::from(port.number())), |hash, word| mix(hash ^ word))
}

/// How many slots a table for so many backends has; `None`: they need none, since a list of one
/// leads everybody to the same.
pub fn slots(backends: usize) -> Option<u32> {
    level(backends).map(|level| 1 << BITS[level])
}

/// The backends' ids, by slot. The members stand in the order of their addresses.
pub fn table(members: &[Member]) -> Vec<u32> {
    let orders: Vec<Order> = members.iter().map(|member| Order::of(member.key)).collect();
    match level(members.len()) {
        Some(level) => {
            of_level(&orders, level).iter().map(|who| members[*who as usize].id).collect()
        }
        None => members.iter().map(|member| member.id).collect(),
    }
}

/// The largest size that so many backends need.
fn level(backends: usize) -> Option<usize> {
    ABOVE.iter().rposition(|above| backends > *above)
}

/// A backend's order of the slots: a permutation.
struct Order {
    offset: u32,
    /// Odd, so that multiplying permutes.
    factors: [u32; 2],
}

impl Order {
    fn of(key: u64) -> Self {
        let (a, b) = (mix(key), mix(!key));
        Self { offset: a as u32, factors: [(a >> 32) as u32 | 1, b as u32 | 1] }
    }

    /// The slot of this rank, of a table with so many bits.
    fn slot(&self, rank: u32, bits: u32) -> usize {
        let mask = (1 << bits) - 1;
        let mut slot = rank.wrapping_add(self.offset) & mask;
        for factor in self.factors {
            slot = slot.wrapping_mul(factor) & mask;
            slot ^= slot >> (bits / 2);
        }
        slot as usize
    }
}

/// A table of one size, with what it still has of the sizes before.
fn of_level(orders: &[Order], level: usize) -> Vec<u32> {
    let size = 1_usize << BITS[level];
    let mut table = vec![FREE; size];
    fill(&mut table, size, orders, &mut vec![usize::MAX; orders.len()], BITS[level]);
    let step = orders.len() - ABOVE[level];
    if level > 0 && step < STEPS {
        let before = of_level(orders, level - 1);
        let slots_each = size / before.len();
        for slot in size * step / STEPS..size {
            table[slot] = before[slot / slots_each];
        }
    }
    limit(&mut table, orders, BITS[level]);
    table
}

/// Deals the `free` slots, in turns, to those who have room for more.
fn fill(table: &mut [u32], mut free: usize, orders: &[Order], room: &mut [usize], bits: u32) {
    let mut ranks = 0..table.len() as u32;
    while free > 0
        && let Some(rank) = ranks.next()
    {
        for (who, (order, room)) in (0..).zip(orders.iter().zip(room.iter_mut())) {
            let slot = order.slot(rank, bits);
            if *room > 0 && table[slot] == FREE {
                table[slot] = who;
                *room -= 1;
                free -= 1;
            }
        }
    }
}

/// Takes from everybody what is more than the limit, and deals it again.
fn limit(table: &mut [u32], orders: &[Order], bits: u32) {
    /// Odd: spreads what is taken over the table.
    const STRIDE: usize = 0x9E37_79B1;
    let most = (table.len() * LIMIT.0).div_ceil(orders.len() * LIMIT.1);
    let mut room = vec![most; orders.len()];
    let mut free = 0;
    for step in 0..table.len() {
        let slot = &mut table[step.wrapping_mul(STRIDE) & (table.len() - 1)];
        match &mut room[*slot as usize] {
            0 => {
                *slot = FREE;
                free += 1;
            }
            room => *room -= 1,
        }
    }
    fill(table, free, orders, &mut room, bits);
}

/// splitmix64 (Sebastiano Vigna, public domain).
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: usize, seed: u64) -> Vec<Member> {
        let key = |i: u32| {
            let [a, b, c] = [i >> 16, i >> 8, i].map(|byte| byte as u8);
            key(&Addr::new([a + seed as u8, b, c, 7]), Port::new(8080))
        };
        (0..count as u32).map(|id| Member { id, key: key(id) }).collect()
    }

    /// The part of the others' flows that go elsewhere when one leaves, in millionths.
    fn moved(members: &[Member], leaver: usize) -> usize {
        let before = table(members);
        let mut rest = members.to_vec();
        let gone = rest.remove(leaver).id;
        let after = table(&rest);
        let points = before.len().max(after.len());
        let at = |table: &[u32], point: usize| table[point * table.len() / points];
        let others = (0..points).filter(|point| at(&before, *point) != gone);
        let (all, moved) = others.fold((0, 0), |(all, moved), point| {
            (all + 1, moved + usize::from(at(&before, point) != at(&after, point)))
        });
        moved * 1_000_000 / all
    }

    /// How many slots each of so many backends has.
    fn shares(table: &[u32], count: usize) -> Vec<usize> {
        let mut shares = vec![0; count];
        table.iter().for_each(|id| shares[*id as usize] += 1);
        shares
    }

    #[test]
    fn at_most_one_percent_of_the_others_flows_move_when_one_of_3_to_1000_leaves() {
        let few = 3..40;
        let some = (40..1000).step_by(67);
        // Where the sizes begin, and cease, to take over.
        let seams = [100, 211, 212, 213, 214, 411, 412, 413, 1000];
        for count in few.chain(some).chain(seams) {
            let leaver = count * 7 / 11;
            let moved = moved(&members(count, 10), leaver);
            assert!(moved <= 10_000, "{moved} of 1,000,000 with {count} backends");
        }
    }

    #[test]
    fn whoever_leaves_hardly_another_flow_moves() {
        for (count, seed) in [(3, 1), (10, 2), (12, 3)] {
            for leaver in 0..count {
                assert_eq!(moved(&members(count, seed), leaver), 0, "{leaver} of {count}");
            }
        }
    }

    #[test]
    fn nobody_has_more_than_a_fifth_above_the_mean_or_less_than_half_of_it() {
        for count in [2, 3, 5, 10, 12, 13, 50, 100, 150, 212, 213, 300, 500, 1000] {
            let table = table(&members(count, 20));
            let shares = shares(&table, count);
            let most = (table.len() * 6).div_ceil(count * 5);
            let (low, high) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(*high <= most, "{high} of {} with {count}", table.len());
            assert!(*low >= table.len() / (2 * count), "{low} of {} with {count}", table.len());
        }
    }

    #[test]
    fn a_table_depends_on_addresses_and_ports_alone() {
        let here = members(20, 5);
        let there: Vec<_> = here.iter().map(|m| Member { id: 1000 - m.id, ..*m }).collect();
        let renamed: Vec<_> = table(&here).iter().map(|id| 1000 - id).collect();
        assert_eq!(table(&there), renamed);
        let key6 = |port| key(&Addr::new([0xfd; 16]), Port::new(port));
        assert_ne!(key6(80), key6(81));
    }

    #[test]
    fn sizes_follow_the_number_of_backends() {
        let expected = [None, None, Some(4096), Some(4096), Some(16384), Some(16384), Some(65536)];
        assert_eq!([0, 1, 2, 12, 13, 212, 213].map(slots), expected);
        assert_eq!(slots(60_000), Some(65536));
        assert_eq!(table(&members(1, 0)), [0]);
        assert!(table(&[]).is_empty());
    }
}
