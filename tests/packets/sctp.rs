//! SCTP's CRC, updated by the programs, against one computed over the whole packet.

use sluice_common::{net::proto, reason::Reason};
use testbed::packet::{
    DROP, Datagram,
    Hook::{Egress, Ingress},
    Lab, NEXT, crc32c as crc32c_of, sctp,
};

/// The program's own arithmetic: a test run takes packets of up to a page only.
#[expect(unreachable_pub, reason = "it is a program's module")]
#[path = "../../proxy-ebpf/src/packet/crc32c.rs"]
mod crc32c;

use super::{FAMILIES, Family, Through, simple};

/// Where SCTP begins in a frame.
fn l4(f: Family) -> usize {
    if f.vip.starts_with('[') { 54 } else { 34 }
}

/// An INIT from outside to a NodePort, which changes ports at every hook.
fn init(lab: &mut Lab, f: Family) -> Datagram {
    lab.put(&simple(f, proto::SCTP).node_port(30080, false));
    sctp(&format!("{}:40000 -> {}:30080", f.outside, f.node))
}

#[test]
fn packets_of_every_length_there_and_back() {
    for f in FAMILIES {
        let mut lab = Lab::new();
        let init = init(&mut lab, f);
        let first = lab.through(Ingress, &init, Reason::NewFlow);
        lab.through(Egress, &first, Reason::Masquerade);
        for length in (0..70).chain([255, 256, 257, 1400, 2999]) {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 7 + length) as u8).collect();
            let mut sent = init.clone().data(&[&bytes, b"and another chunk"]);
            // Not even a multiple of four, which SCTP asks for, is asked of a packet.
            sent.payload.truncate(sent.payload.len() - length % 4);
            let there = lab.through(Ingress, &sent, Reason::Forward);
            let gone = lab.through(Egress, &there, Reason::Masquerade);
            assert_ne!((there.dst.port(), gone.src), (sent.dst.port(), there.src));
            let home = lab.through(Ingress, &gone.reply(), Reason::MasqueradeReply);
            let back = lab.through(Egress, &home, Reason::Reply);
            assert_eq!(back, sent.reply());
        }
    }
}

#[test]
fn a_crc_that_the_device_is_to_compute_stays_zero() {
    for f in FAMILIES {
        let mut lab = Lab::new();
        let mut frame = init(&mut lab, f).bytes();
        let crc = l4(f) + 8..l4(f) + 12;
        frame[crc.clone()].fill(0);
        let seen = lab.run(Ingress, &frame);
        assert_eq!((seen.action, seen.reasons), (NEXT, vec![Reason::NewFlow]));
        assert_eq!(
            (&seen.frame[l4(f) + 2..l4(f) + 4], &seen.frame[crc]),
            (&[31, 144][..], &[0; 4][..])
        );
    }
}

#[test]
fn a_wrong_crc_stays_wrong_by_the_same_bits() {
    for f in FAMILIES {
        let mut lab = Lab::new();
        let mut frame = init(&mut lab, f).bytes();
        frame[l4(f) + 8] ^= 0x10;
        let mut after = lab.run(Ingress, &frame).frame;
        after[l4(f) + 8] ^= 0x10;
        assert_eq!(Datagram::parse(&after).dst.port(), 8080);
    }
}

#[test]
fn padding_of_the_link_is_not_part_of_the_packet() {
    for f in FAMILIES {
        let mut lab = Lab::new();
        let mut frame = init(&mut lab, f).bytes();
        let length = frame.len();
        frame.extend([0x55; 9]);
        let mut after = lab.run(Ingress, &frame).frame;
        assert_eq!(after.split_off(length), [0x55; 9]);
        assert_eq!(Datagram::parse(&after).dst.port(), 8080);
    }
}

#[test]
fn a_fragment_whose_port_would_change_is_dropped() {
    for f in FAMILIES {
        let mut lab = Lab::new();
        let sent = init(&mut lab, f);
        lab.through(Ingress, &sent, Reason::NewFlow);
        let first = &super::fragments::split(&sent.data(&[&[1; 200]]), 3)[0];
        let seen = lab.run(Ingress, first);
        assert_eq!((seen.action, seen.reasons), (DROP, vec![Reason::SctpFragment]));
    }
}

#[test]
fn lengths_up_to_the_greatest() {
    for length in (1..=16).map(|bit| (1 << bit) - 1).chain([4096, 9000, 40_001, 65_500]) {
        let mut bytes: Vec<u8> = (0..length).map(|i| (i * 31) as u8).collect();
        bytes.resize(length.max(4), 0);
        let before = crc32c_of(&bytes);
        let difference = [0x17, 0xa5, 0, 0xff];
        for (byte, bits) in bytes.iter_mut().zip(difference) {
            *byte ^= bits;
        }
        let length = bytes.len() as u32;
        let change = crc32c::crc_of_difference(u32::from_le_bytes(difference), length);
        assert_eq!(before ^ change, crc32c_of(&bytes), "{length} bytes");
    }
}
