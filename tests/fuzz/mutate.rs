//! Damage: from a wrong bit to a chain of extension headers without end.

use crate::{generate::finish_header, random::Random, reference};

/// Bytes without which the kernel refuses a test run.
fn least(frame: &[u8]) -> usize {
    if frame[12..14] == [0x86, 0xdd] { 54 } else { 34 }
}

/// A frame longer than this does not fit a test run.
const MOST: usize = 3_000;

/// Damages a frame in one to three ways.
pub(crate) fn mutate(random: &mut Random, frame: &mut Vec<u8>) {
    for _ in 0..1 + random.below(3) {
        once(random, frame);
        frame.truncate(MOST);
        frame.resize(frame.len().max(least(frame)), 0);
    }
}

fn once(random: &mut Random, frame: &mut Vec<u8>) {
    let v6 = frame[12..14] == [0x86, 0xdd];
    match random.below(11) {
        0 => {
            let at = random.below(frame.len());
            frame[at] ^= 1 << random.below(8);
        }
        1 => {
            // Somewhere in the headers.
            let at = 12 + random.below(60.min(frame.len() - 12));
            frame[at] = random.pick(&[0, 1, 2, 0x7f, 0x80, 0xff]);
        }
        2 => {
            let length = least(frame) + random.below(frame.len().saturating_sub(least(frame)) + 1);
            frame.truncate(length);
        }
        3 => {
            let count = 1 + random.below(40);
            frame.extend(random.bytes(count));
        }
        4 => length_field(random, frame, if v6 { 18 } else { 16 }),
        5 if v6 => extensions(random, frame),
        5 | 6 if !v6 => options(random, frame),
        6 | 7 if v6 => next_header(random, frame),
        7 => {
            frame[20..22].copy_from_slice(&random.pick(&[[0x20, 0], [0, 9], [0x20, 3], [0x40, 0]]));
            finish_header(frame);
        }
        8 => no_checksum(frame),
        9 => frame[14] = random.pick(&[0x45, 0x46, 0x4f, 0x44, 0x60, 0x65, 0x00, 0xff]),
        _ => transport_byte(random, frame),
    }
}

/// A length that is a little off, or far.
fn length_field(random: &mut Random, frame: &mut [u8], at: usize) {
    let length = u16::from_be_bytes([frame[at], frame[at + 1]]);
    let wrong = match random.below(4) {
        0 => 0,
        1 => length.wrapping_add(1 + random.below(9) as u16),
        2 => length.wrapping_sub(1 + random.below(30) as u16),
        _ => u16::from_be_bytes([random.byte(), random.byte()]),
    };
    frame[at..at + 2].copy_from_slice(&wrong.to_be_bytes());
}

/// IPv4 options, as many as the header's length says, or not.
fn options(random: &mut Random, frame: &mut Vec<u8>) {
    let words = 1 + random.below(10);
    let header = 5 + words;
    let bytes = random.bytes(4 * words);
    frame.splice(34..34, bytes);
    frame[14] = 0x40 | header as u8;
    let length = (frame.len() - 14) as u16;
    frame[16..18].copy_from_slice(&length.to_be_bytes());
    if !random.once_in(4) {
        finish_header(frame);
    }
}

/// A chain of up to nine IPv6 extension headers in front of what is there.
fn extensions(random: &mut Random, frame: &mut Vec<u8>) {
    let most = random.pick(&[2, 9]);
    for _ in 0..1 + random.below(most) {
        let kind = random.pick(&[0, 43, 44, 51, 60, 60, 0, 59, 135, 253]);
        let units = random.pick(&[0, 0, 1, 3]);
        let size = match kind {
            44 => 8,
            51 => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
        let mut header = random.bytes(size);
        header[0] = frame[20];
        header[1] = if random.once_in(12) { 0xff } else { units as u8 };
        let rest = match kind {
            // A routing header's segments left; whole, first and later fragments.
            43 => [0, random.pick(&[0, 0, 0, 1])],
            44 => random.pick(&[[0, 0], [0, 1], [0, 8], [1, 1]]),
            _ => [header[2], header[3]],
        };
        header[2..4].copy_from_slice(&rest);
        frame.splice(54..54, header);
        frame[20] = kind;
    }
    let length = (frame.len() - 54) as u16;
    frame[18..20].copy_from_slice(&length.to_be_bytes());
}

/// Another type for what follows the IPv6 header.
fn next_header(random: &mut Random, frame: &mut [u8]) {
    frame[20] = random.pick(&[0, 6, 17, 132, 58, 43, 44, 51, 60, 59, 255]);
}

/// UDP without a checksum, SCTP whose CRC is still to be computed, TCP with a zero one.
fn no_checksum(frame: &mut [u8]) {
    let Some(packet) = reference::ip(frame) else { return };
    let field = match packet.proto {
        6 => packet.l4 + 16..packet.l4 + 18,
        17 => packet.l4 + 6..packet.l4 + 8,
        132 => packet.l4 + 8..packet.l4 + 12,
        _ => return,
    };
    if let Some(bytes) = frame.get_mut(field) {
        bytes.fill(0);
    }
}

/// Somewhere in the transport header, the flags and the quoted packet included.
fn transport_byte(random: &mut Random, frame: &mut [u8]) {
    let Some(packet) = reference::ip(frame) else { return };
    if packet.l4 >= frame.len() {
        return;
    }
    let at = packet.l4 + random.below((frame.len() - packet.l4).min(64));
    frame[at] = random.byte();
}
