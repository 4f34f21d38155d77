//! The ABI between the kernel programs and the controller: map keys and values, reasons, limits.
//!
//! Every type here is laid out by hand: `repr(C)`, explicit padding, a size assertion beside it,
//! addresses and ports in network byte order behind accessors. Flags are integers, never `bool` or
//! `enum`, because a map holds whatever an older build wrote. A change to any of them raises
//! [`version::ABI`].
//!
//! IPv4 and IPv6 are one source: types are generic over `N`, the bytes of an address (4 or 16).
#![no_std]

pub mod affinity;
pub mod age;
pub mod backend;
pub mod flow;
pub mod fragment;
pub mod frontend;
pub mod handshake;
pub mod hash;
pub mod iface;
pub mod limits;
pub mod net;
pub mod prefix;
pub mod reason;
pub mod service;
pub mod settings;
pub mod socket;
pub mod uplink;
pub mod version;

/// Lets aya copy a type in and out of a map, and fixes its size.
///
/// The size is the sum of the fields, so a compiler that inserted padding would fail the build.
macro_rules! abi {
    ($($type:ty = $size:expr),+ $(,)?) => {$(
        const _: () = assert!(size_of::<$type>() == $size);
        // SAFETY: `repr(C)`, `Copy`, only integers and arrays of them, and by the assertion above
        // no byte of it is padding.
        #[cfg(feature = "user")]
        unsafe impl aya::Pod for $type {}
    )+};
}
pub(crate) use abi;
