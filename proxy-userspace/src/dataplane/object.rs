//! The kernel programs, as build.rs compiled them.

/// The ELF object with every program and map.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sluice-ebpf"));
