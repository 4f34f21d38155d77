//! Entries that are gone, as the least recently used ones of a full flow table are.

use std::net::IpAddr;

use aya::Pod;
use sluice_common::{
    flow::{Flow, FlowKey, INGRESS},
    net::{Addr, Port, V4, V6},
};

use super::{Datagram, lab::Lab};

impl Lab {
    /// Takes away the entry that a packet finds at ingress. Others of its flow stay.
    pub fn evict(&mut self, packet: &Datagram) {
        let ports = (packet.src.port(), packet.dst.port(), packet.proto);
        match (packet.src.ip(), packet.dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                self.evict_key(key::<V4>(src.octets(), dst.octets(), ports), "FLOWS_V4");
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                self.evict_key(key::<V6>(src.octets(), dst.octets(), ports), "FLOWS_V6");
            }
            (src, dst) => panic!("{src} and {dst} are not of one family"),
        }
    }

    fn evict_key<const N: usize>(&mut self, key: FlowKey<N>, map: &str)
    where
        FlowKey<N>: Pod,
        Flow<N>: Pod,
    {
        self.hash::<_, Flow<N>>(map).remove(&key).expect("an entry");
    }
}

fn key<const N: usize>(
    src: [u8; N],
    dst: [u8; N],
    (src_port, dst_port, proto): (u16, u16, u8),
) -> FlowKey<N> {
    FlowKey {
        src: Addr::new(src),
        dst: Addr::new(dst),
        src_port: Port::new(src_port),
        dst_port: Port::new(dst_port),
        proto,
        direction: INGRESS,
        pad: [0; 2],
    }
}
