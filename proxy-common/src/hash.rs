//! The hash that points into a Maglev table (docs/dataplane.md).
//!
//! It is the same on every node and for ever: a client's packets have to be sent to the same backend
//! wherever they arrive. So it has no secret, and no address of a node in it. MurmurHash3 (Austin
//! Appleby, public domain) of a few words, read as little-endian ones on every machine.

use crate::net::{Addr, Port};

/// Where the hash of everything begins.
const SEED: u32 = 0x510e_527f;

/// Points into the table for a flow.
///
/// The destination's address is not in it: a NodePort is reached at every node's own.
#[inline(always)]
pub const fn of_flow<const N: usize>(
    client: &Addr<N>,
    client_port: Port,
    port: Port,
    proto: u8,
) -> u32 {
    let [a, b] = client_port.bytes;
    let [c, d] = port.bytes;
    let hash = mix(words(client), u32::from_le_bytes([a, b, c, d]));
    finish(mix(hash, proto as u32), N as u32 + 8)
}

/// Points into the table for a client whose every flow goes the same way (session affinity).
#[inline(always)]
pub const fn of_client<const N: usize>(client: &Addr<N>) -> u32 {
    finish(words(client), N as u32)
}

/// Points into the table for a socket, which is translated before it has a port.
#[inline(always)]
pub const fn of_socket(cookie: [u32; 2]) -> u32 {
    finish(mix(mix(SEED, cookie[0]), cookie[1]), 8)
}

#[inline(always)]
const fn words<const N: usize>(addr: &Addr<N>) -> u32 {
    let mut hash = SEED;
    let mut i = 0;
    while i < N / 4 {
        hash = mix(hash, u32::from_le(addr.word(i)));
        i += 1;
    }
    hash
}

#[inline(always)]
const fn mix(hash: u32, word: u32) -> u32 {
    let word = word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    (hash ^ word).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
}

#[inline(always)]
const fn finish(hash: u32, length: u32) -> u32 {
    let hash = hash ^ length;
    let hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    let hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}
