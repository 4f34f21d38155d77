//! The link-layer header, with or without a vlan's tag.

use crate::packet::{cursor::Buffer, frame::Frame};

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of a vlan's tag.
const VLAN: u16 = 0x8100;

/// Bytes of a header without a tag.
const ETHERNET: usize = 14;
/// Bytes of a tag.
const TAG: usize = 4;
/// The bits of a tag that say which vlan.
const ID: u16 = 0x0fff;

/// A MAC address, in three pieces: a header's fields are aligned to two bytes.
pub type Mac = [u16; 3];

/// A header, read.
pub struct Link {
    /// Who is to receive the frame.
    pub dst: Mac,
    /// What comes behind the header, in host byte order.
    pub protocol: u16,
    /// Bytes of the header.
    length: u16,
    /// The tag, without its EtherType, in host byte order; 0 without. (No `Option`: the verifier
    /// objects to what nobody wrote.)
    tag: u16,
}

impl Link {
    /// The header of a frame. `None`: there is none.
    #[inline(always)]
    pub fn of(frame: &Frame) -> Option<Self> {
        let words: [u16; 7] = frame.read(0)?;
        let dst = [words[0], words[1], words[2]];
        let protocol = u16::from_be(words[6]);
        if protocol != VLAN {
            return Some(Self { dst, protocol, length: ETHERNET as u16, tag: 0 });
        }
        let [tag, protocol]: [u16; 2] = frame.read(ETHERNET)?;
        Some(Self {
            dst,
            protocol: u16::from_be(protocol),
            length: (ETHERNET + TAG) as u16,
            tag: u16::from_be(tag),
        })
    }

    /// Bytes of the header.
    #[inline(always)]
    pub fn header(&self) -> usize {
        usize::from(self.length)
    }

    /// The vlan that the tag names; 0 without.
    #[inline(always)]
    pub fn vlan(&self) -> u16 {
        self.tag & ID
    }

    /// Bytes that the frame loses at its start when it goes out in `vlan`.
    #[inline(always)]
    pub fn shrinks(&self, vlan: u16) -> i32 {
        let leaves = if vlan == 0 { ETHERNET } else { ETHERNET + TAG };
        i32::from(self.length) - leaves as i32
    }

    /// Writes the header of a frame that goes out in `vlan`, with the priority that it came with.
    #[inline(always)]
    pub fn write(&self, frame: &Frame, vlan: u16, dst: Mac, src: Mac) -> Option<()> {
        let protocol = self.protocol.to_be();
        if vlan == 0 {
            return frame.write(0, &[dst[0], dst[1], dst[2], src[0], src[1], src[2], protocol]);
        }
        let tag = (self.tag & !ID | vlan).to_be();
        let ethertype = VLAN.to_be();
        let words = [dst[0], dst[1], dst[2], src[0], src[1], src[2], ethertype, tag, protocol];
        frame.write(0, &words)
    }
}

/// A MAC address in the pieces of a header.
#[inline(always)]
pub fn mac(bytes: &[u8; 6]) -> Mac {
    let piece = |i: usize| u16::from_ne_bytes([bytes[i], bytes[i + 1]]);
    [piece(0), piece(2), piece(4)]
}
