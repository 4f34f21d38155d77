//! SCTP's checksum after a change of ports, without reading the packet.

use sluice_common::{net::Port, reason::Reason};

use super::{Fragment, Packet, crc32c::crc_of_difference, cursor::Skb};

/// Offset of the CRC in the SCTP header.
const CHECKSUM: usize = 8;

/// Replaces the ports and updates the CRC.
///
/// A field of zero is left alone: the kernel sends packets so (CHECKSUM_PARTIAL) whose CRC the
/// device is to compute, or `skb_crc32c_csum_help`, which sums the field as it finds it. Segments
/// that a device is to cut (GSO) are such packets, and so is all that local sockets exchange over
/// veth. A computed CRC is zero in one packet of 2³², which is then lost.
///
/// The CRC covers all fragments, and the first does not tell how long they are together.
#[inline(never)]
pub fn replace_ports<const N: usize>(
    skb: &Skb,
    packet: &Packet<N>,
    ports: [Port; 2],
) -> Result<(), Reason> {
    let at = usize::from(packet.l4) + CHECKSUM;
    let crc: [u8; 4] = skb.read(at).ok_or(Reason::Rewrite)?;
    let crc = u32::from_le_bytes(crc);
    if crc != 0 {
        if packet.fragment != Fragment::Whole {
            return Err(Reason::SctpFragment);
        }
        let length = u16::try_from(packet.payload).map_err(|_| Reason::Rewrite)?;
        let before = word(packet.key.src_port, packet.key.dst_port);
        let crc = crc ^ crc_of_difference(before ^ word(ports[0], ports[1]), u32::from(length));
        skb.write(at, &crc.to_le_bytes()).ok_or(Reason::Rewrite)?;
    }
    skb.write(usize::from(packet.l4), &ports).ok_or(Reason::Rewrite)
}

/// Four bytes as a polynomial.
#[inline(always)]
fn word(src: Port, dst: Port) -> u32 {
    u32::from_le_bytes([src.bytes[0], src.bytes[1], dst.bytes[0], dst.bytes[1]])
}
