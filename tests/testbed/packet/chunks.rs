//! SCTP packets, with a CRC32c computed bit by bit over all of them.

/// Bytes of the header that all chunks share.
const HEADER: usize = 12;
/// Where it has its CRC.
const CHECKSUM: std::ops::Range<usize> = 8..12;

/// An INIT chunk.
pub(super) const INIT: [u8; 20] = *b"\x01\0\0\x14\xde\xad\xbe\xef\0\x01\0\0\0\x0a\0\x0a\0\0\0\x07";

/// A DATA chunk with `data`, padded.
pub(super) fn data(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(16 + data.len()).expect("a chunk's length");
    let mut chunk = vec![0, 3];
    chunk.extend(length.to_be_bytes());
    chunk.extend(*b"\0\0\0\x01\0\0\0\0\0\0\0\0");
    chunk.extend(data);
    chunk.resize(chunk.len().next_multiple_of(4), 0);
    chunk
}

/// The packet that carries `chunks`.
pub(super) fn packet(src: u16, dst: u16, chunks: &[u8]) -> Vec<u8> {
    let mut packet = [src.to_be_bytes(), dst.to_be_bytes()].concat();
    packet.extend(*b"tag!\0\0\0\0");
    packet.extend(chunks);
    let crc = crc32c(&packet);
    packet[CHECKSUM].copy_from_slice(&crc.to_le_bytes());
    packet
}

/// The ports and chunks of a packet, asserting its CRC.
pub(super) fn parse(packet: &[u8]) -> ((u16, u16), Vec<u8>) {
    let mut zeroed = packet.to_vec();
    zeroed[CHECKSUM].fill(0);
    assert_eq!(packet[CHECKSUM], crc32c(&zeroed).to_le_bytes(), "SCTP checksum");
    let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    ((port(0), port(2)), packet[HEADER..].to_vec())
}

/// CRC32c (RFC 9260, appendix A), bit by bit.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}
