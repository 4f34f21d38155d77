//! SOCKETS: what the socket hooks translated, per socket.

use crate::{
    abi,
    net::{Addr, Port, V4, V6},
};

/// A socket and one of its peers, as the application or as the network knows it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketKey<const N: usize> {
    /// `bpf_get_socket_cookie`, in host byte order, low half first: two words, because eight-byte
    /// alignment would pad the key.
    pub cookie: [u32; 2],
    /// [`FORWARD`]: the frontend's address. [`REVERSE`]: the backend's.
    pub addr: Addr<N>,
    /// The port that goes with `addr`.
    pub port: Port,
    /// IP protocol number.
    pub proto: u8,
    /// [`FORWARD`] or [`REVERSE`].
    pub direction: u8,
}

/// [`SocketKey::direction`]: frontend → backend, so that unconnected datagrams stay together.
pub const FORWARD: u8 = 0;
/// [`SocketKey::direction`]: backend → frontend, for `recvmsg` and `getpeername`.
pub const REVERSE: u8 = 1;

/// The other side of a [`SocketKey`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketPeer<const N: usize> {
    /// [`FORWARD`]: the backend's address. [`REVERSE`]: the frontend's.
    pub addr: Addr<N>,
    /// The port that goes with `addr`.
    pub port: Port,
    /// Zero.
    pub pad: [u8; 2],
    /// Id of the service port.
    pub service: u32,
    /// Id of the backend.
    pub backend: u32,
    /// [`crate::backend::Backend::generation`] when it was chosen.
    pub generation: u32,
}

abi! {
    SocketKey<V4> = 16,
    SocketKey<V6> = 28,
    SocketPeer<V4> = 20,
    SocketPeer<V6> = 32,
}
