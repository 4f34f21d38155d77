//! UPLINKS: the devices that the XDP program serves, and the vlans on them.

use crate::{
    abi,
    flow::{EGRESS, INGRESS},
};

/// Where a packet is met: at [`INGRESS`] the device and vlan that it comes by, at [`EGRESS`] the
/// interface that routing chose.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UplinkKey {
    /// Index of the interface.
    pub ifindex: u32,
    /// Vlan of the packet's tag, host byte order; 0 without a tag, and at egress.
    pub vlan: u16,
    /// [`INGRESS`] or [`EGRESS`].
    pub direction: u8,
    /// Zero.
    pub pad: u8,
}

impl UplinkKey {
    /// The key of what comes by a device with a vlan's tag, or with none (0).
    #[inline(always)]
    pub const fn arriving(ifindex: u32, vlan: u16) -> Self {
        Self { ifindex, vlan, direction: INGRESS, pad: 0 }
    }

    /// The key of what routing sends to an interface.
    #[inline(always)]
    pub const fn leaving(ifindex: u32) -> Self {
        Self { ifindex, vlan: 0, direction: EGRESS, pad: 0 }
    }
}

/// The other name of the same place.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// At ingress the interface that routing knows, a vlan's or the device's own; at egress the
    /// device to send by.
    pub ifindex: u32,
    /// Vlan of the tag that packets have there, host byte order; 0 without.
    pub vlan: u16,
    /// The interface's MAC address.
    pub mac: [u8; 6],
    /// How the device runs the program; packets are sent by another device only if it does so in
    /// the same way. See [`modes`].
    pub mode: u8,
    /// Zero.
    pub pad: [u8; 3],
}

/// Values of [`Uplink::mode`].
pub mod modes {
    /// In the driver.
    pub const NATIVE: u8 = 1;
    /// In the network stack, before tc.
    pub const GENERIC: u8 = 2;
}

abi! {
    UplinkKey = 8,
    Uplink = 16,
}
