//! The lab's flow table, changed by hand.

use aya::Pod;
use sluice_common::{
    flow::{Flow, FlowKey, flags::ESTABLISHED},
    fragment::{FragmentKey, FragmentPorts},
    handshake::Handshakes,
    net::{Addr, Port, V4, V6},
};

use super::lab::Lab;

impl Lab {
    /// Puts an entry into the flow table.
    pub fn flow<const N: usize>(&mut self, key: FlowKey<N>, flow: Flow<N>)
    where
        FlowKey<N>: Pod,
        Flow<N>: Pod,
    {
        let name = if N == V4 { "FLOWS_V4" } else { "FLOWS_V6" };
        self.hash(name).insert(key, flow, 0).expect("FLOWS");
    }

    /// Lets the flows of client port `port` that `wanted` chooses by their flags be there once for
    /// every other port.
    pub fn crowd<const N: usize>(&mut self, port: u16, wanted: impl Fn(u32) -> bool)
    where
        FlowKey<N>: Pod,
        Flow<N>: Pod,
    {
        let port = Port::new(port);
        let name = if N == V4 { "FLOWS_V4" } else { "FLOWS_V6" };
        let mut flows = self.hash::<FlowKey<N>, Flow<N>>(name);
        let entries: Vec<_> = flows.iter().map(|entry| entry.expect(name)).collect();
        for (key, flow) in entries.into_iter().filter(|(_, flow)| wanted(flow.flags)) {
            for other in (1..=u16::MAX).map(Port::new).filter(|other| *other != port) {
                let (mut key, mut flow) = (key, flow);
                let fields =
                    [&mut key.src_port, &mut key.dst_port, &mut flow.port, &mut flow.client_port];
                for field in fields.into_iter().filter(|field| **field == port) {
                    *field = other;
                }
                flows.insert(key, flow, 0).expect(name);
            }
        }
    }

    /// Lets every flow have been idle for ever.
    pub fn age(&mut self) {
        self.age_family::<V4>("FLOWS_V4");
        self.age_family::<V6>("FLOWS_V6");
    }

    /// Lets the programs forget every flow and fragment.
    pub fn forget_flows(&mut self) {
        self.clear::<FlowKey<V4>, Flow<V4>>("FLOWS_V4");
        self.clear::<FlowKey<V6>, Flow<V6>>("FLOWS_V6");
        self.clear::<Addr<V4>, Handshakes>("HANDSHAKES_V4");
        self.clear::<Addr<V6>, Handshakes>("HANDSHAKES_V6");
        self.clear::<FragmentKey<V4>, FragmentPorts>("FRAGMENTS_V4");
        self.clear::<FragmentKey<V6>, FragmentPorts>("FRAGMENTS_V6");
    }

    fn clear<K: Pod, V: Pod>(&mut self, name: &str) {
        let mut map = self.hash::<K, V>(name);
        let keys: Vec<K> = map.keys().map(|key| key.expect(name)).collect();
        for key in keys {
            map.remove(&key).expect(name);
        }
    }

    fn age_family<const N: usize>(&mut self, name: &str)
    where
        FlowKey<N>: Pod,
        Flow<N>: Pod,
    {
        let mut flows = self.hash::<FlowKey<N>, Flow<N>>(name);
        let entries: Vec<_> = flows.iter().map(|entry| entry.expect(name)).collect();
        for (key, flow) in entries {
            // A handshake's: an established connection would have to be idle for a day.
            let flags = flow.flags & !ESTABLISHED;
            flows.insert(key, Flow { seen: 0, flags, ..flow }, 0).expect(name);
        }
    }
}
