//! Fragments out of order, through the programs on a real device to and from real sockets.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use sluice_common::{net::proto, reason::Reason};
use testbed::packet::{Cable, Datagram, Service, udp};

use super::{
    FAMILIES, Family,
    fragments::{join, split_every},
};

/// The backend's address is the namespace's own, and every answer leaves by the cable.
fn commands(f: Family) -> [String; 2] {
    let pod = f.pod.trim_matches(['[', ']']);
    let suffix = if f.pod.starts_with('[') { " nodad" } else { "" };
    let family = if f.pod.starts_with('[') { "-6" } else { "-4" };
    [format!("addr add {pod} dev inside{suffix}"), format!("{family} route add default dev inside")]
}

/// Orders of four fragments, the first being 0: whole, one swapped, the first last, reversed.
const ORDERS: [[usize; 4]; 4] = [[0, 1, 2, 3], [1, 0, 3, 2], [2, 1, 3, 0], [3, 2, 1, 0]];

fn in_namespace(test: impl Fn(&mut Cable, Family) + Sync) {
    for f in FAMILIES {
        let commands = commands(f);
        Cable::lay(&commands.each_ref().map(String::as_str), |cable| {
            let service = Service::udp(&format!("{}:80", f.vip)).node_port(30080, false);
            cable.lab.put(&service.backends(&[&format!("{}:8080", f.pod)]));
            test(cable, f);
        });
    }
}

/// A datagram that is cut in four, different for every `id`.
fn large(ends: &str, id: u8) -> Datagram {
    let payload = (0..700_u16).map(|i| (i as u8).wrapping_mul(id + 1)).collect();
    Datagram { payload, ..udp(ends) }
}

#[test]
fn requests_arrive_whole() {
    in_namespace(|cable, f| {
        let before = cable.lab.counted(Reason::EarlyFragment);
        let server = UdpSocket::bind(format!("{}:8080", f.pod)).expect("a socket");
        server.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        for (id, order) in (1..).zip(ORDERS) {
            for port in [80, 30080] {
                let vip = if port == 80 { f.vip } else { f.node };
                let id = id + if port == 80 { 0 } else { 100 };
                // Every time another flow: the first fragment has yet to choose its backend.
                let sent =
                    large(&format!("{}:{} -> {vip}:{port}", f.pod2, 40_000 + u16::from(id)), id);
                let fragments = split_every(&sent, id, 64, 256);
                for i in order {
                    cable.arrive(&fragments[i]);
                }
                let mut buffer = [0; 2048];
                let (length, from) = server.recv_from(&mut buffer).unwrap_or_else(|e| {
                    panic!("{} in order {order:?}: {e}", f.vip);
                });
                assert_eq!((from, &buffer[..length]), (sent.src, &sent.payload[..]));
            }
        }
        let early: u64 = 2 * (1 + 3 + 3);
        assert_eq!(cable.lab.counted(Reason::EarlyFragment) - before, early);
    });
}

#[test]
fn answers_leave_whole() {
    in_namespace(|cable, f| {
        for (id, order) in (1..).zip(ORDERS) {
            let client = format!("{}:{}", f.pod2, 40_000 + u16::from(id));
            let request = udp(&format!("{client} -> {}:80", f.vip));
            cable.lab.run(testbed::packet::Hook::Ingress, &request.bytes());
            let answer = large(&format!("{}:8080 -> {client}", f.pod), id);
            let fragments = split_every(&answer, id, 64, 256);
            for i in order {
                cable.leave(&fragments[i]);
            }
            let mut parts: Vec<Vec<u8>> = vec![];
            let vip: SocketAddr = format!("{}:80", f.vip).parse().unwrap();
            let whole = cable.came_out(|frame| {
                // Early ones also go out as they came: what counts is what has the service's name.
                if is_from(frame, vip) {
                    parts.push(frame.to_vec());
                }
                (parts.len() == 4).then(|| {
                    parts.sort_by_key(|part| offset(part));
                    join(&parts)
                })
            });
            assert_eq!((whole.src, whole.dst), (vip, answer.dst));
            assert_eq!(whole.payload, answer.payload);
        }
    });
}

/// Where a fragment stands in its datagram.
fn offset(frame: &[u8]) -> u16 {
    let (at, mask) = if frame[12] == 8 { (20, 0x1fff) } else { (56, 0xfff8) };
    u16::from_be_bytes([frame[at], frame[at + 1]]) & mask
}

fn is_from(frame: &[u8], source: SocketAddr) -> bool {
    match source {
        SocketAddr::V4(v4) => frame.get(26..30) == Some(&v4.ip().octets()),
        SocketAddr::V6(v6) => {
            frame.get(22..38) == Some(&v6.ip().octets())
                && frame[20] == 44
                && frame[54] == proto::UDP
        }
    }
}

#[test]
fn what_no_service_wants_is_not_doubled() {
    in_namespace(|cable, f| {
        let before = [Reason::EarlyFragment, Reason::Forward].map(|r| cable.lab.counted(r));
        // Straight to the socket: early fragments are kept, and nobody sends them twice.
        let server = UdpSocket::bind(format!("{}:9", f.pod)).expect("a socket");
        server.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        let sent = large(&format!("{}:7 -> {}:9", f.pod2, f.pod), 9);
        for fragment in split_every(&sent, 9, 64, 256).iter().rev() {
            cable.arrive(fragment);
        }
        let mut buffer = [0; 2048];
        let (length, from) = server.recv_from(&mut buffer).expect("the datagram");
        assert_eq!((from, &buffer[..length]), (sent.src, &sent.payload[..]));
        let after = [Reason::EarlyFragment, Reason::Forward].map(|r| cable.lab.counted(r));
        assert_eq!(after, [before[0] + 3, before[1]]);
    });
}
