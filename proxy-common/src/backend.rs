//! BACKENDS: the endpoints of service ports, by id.

use crate::{
    abi,
    net::{Addr, Port, V4, V6},
};

/// One endpoint of one service port. The same pod behind two services has two backends.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend<const N: usize> {
    /// Address of the endpoint.
    pub addr: Addr<N>,
    /// Port of the endpoint.
    pub port: Port,
    /// IP protocol number.
    pub proto: u8,
    /// See [`flags`]. Zero: the id is free.
    pub flags: u8,
    /// Id of the service port.
    pub service: u32,
    /// Counts the uses of this id. A flow remembers it, and so notices that its backend left even
    /// when the id has been given away again.
    pub generation: u32,
}

/// Bits of [`Backend::flags`].
pub mod flags {
    /// An endpoint of the service that serves, terminating or not, or that new flows may choose:
    /// UDP flows may stay (A73).
    pub const SERVING: u8 = 1;
    /// New flows may choose it: the service's cluster list has it (A33).
    pub const CLUSTER: u8 = 1 << 1;
    /// New flows may choose it: the service's list of this node's endpoints has it (A34).
    pub const LOCAL: u8 = 1 << 2;
    /// In either list.
    pub const ELIGIBLE: u8 = CLUSTER | LOCAL;
}

abi! {
    Backend<V4> = 16,
    Backend<V6> = 28,
}
