//! The context of a socket call, and the addresses in it: the one place that touches it.

use aya_ebpf::{
    bindings::bpf_sock_addr,
    helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie},
};
use sluice_common::{
    net::{Addr, Port, V4, V6},
    settings::flags::SOCKETS_EVERYWHERE,
    socket::SocketKey,
};

use crate::settings;

/// A socket call in progress.
#[derive(Clone, Copy)]
pub struct Call {
    pub raw: *mut bpf_sock_addr,
}

/// Third word of an IPv4-mapped IPv6 address, `::ffff:a.b.c.d`.
const MAPPED: u32 = 0xffff_u32.to_be();

impl Call {
    /// Whether the calling process is one that the socket hooks serve.
    #[inline(always)]
    pub fn is_served(&self) -> bool {
        let Some(settings) = settings::get() else { return false };
        settings.flags & SOCKETS_EVERYWHERE != 0 || self.is_nodes()
    }

    /// Whether the calling process is in the node's own network namespace.
    #[inline(always)]
    pub fn is_nodes(&self) -> bool {
        let Some(settings) = settings::get() else { return false };
        // SAFETY: the context is the one that the program was called with.
        settings.netns_cookie == unsafe { bpf_get_netns_cookie(self.raw.cast()) }
    }

    /// The network namespace of the calling process, as the client that AFFINITIES knows it by.
    #[inline(always)]
    pub fn namespace<const N: usize>(&self) -> Addr<N> {
        // SAFETY: as above.
        let cookie = unsafe { bpf_get_netns_cookie(self.raw.cast()) } as u32;
        let mut client = Addr::UNSPECIFIED;
        client.bytes[N - 4..].copy_from_slice(&cookie.to_be_bytes());
        client
    }

    /// The address that the socket is bound to; unspecified if it is to any.
    #[inline(always)]
    pub fn bound<const N: usize>(&self) -> Addr<N> {
        let mut addr = Addr::UNSPECIFIED;
        for i in 0..N / 4 {
            // SAFETY: as above, and a call always has its socket (5.3, fb85c4a730af). Read one by
            // one: the context allows no wider access.
            let word = unsafe {
                let socket = (*self.raw).__bindgen_anon_1.sk;
                match N {
                    V4 => core::ptr::read_volatile(&raw const (*socket).src_ip4),
                    _ => core::ptr::read_volatile(&raw const (*socket).src_ip6[i]),
                }
            };
            addr.bytes[4 * i..4 * i + 4].copy_from_slice(&word.to_ne_bytes());
        }
        addr
    }

    /// IP protocol number of the socket.
    #[inline(always)]
    pub fn proto(&self) -> u8 {
        // SAFETY: the kernel hands every program a valid context. Volatile, because the field may
        // only be read whole.
        unsafe { core::ptr::read_volatile(&raw const (*self.raw).protocol) as u8 }
    }

    /// The port in the call.
    #[inline(always)]
    pub fn port(&self) -> Port {
        // SAFETY: as above.
        Port { bytes: unsafe { ((*self.raw).user_port as u16).to_ne_bytes() } }
    }

    /// The IPv4 address in an IPv4 socket's call.
    #[inline(always)]
    pub fn v4(&self) -> Addr<V4> {
        // SAFETY: as above.
        Addr::new(unsafe { (*self.raw).user_ip4 }.to_ne_bytes())
    }

    /// The words of the address in an IPv6 socket's call.
    #[inline(always)]
    fn words(&self) -> [u32; 4] {
        // SAFETY: as above. Read one by one: the context allows no wider access.
        unsafe {
            let word = |i: usize| core::ptr::read_volatile(&raw const (*self.raw).user_ip6[i]);
            [word(0), word(1), word(2), word(3)]
        }
    }

    /// The IPv4 address in an IPv6 socket's call, if it is a mapped one.
    #[inline(always)]
    pub fn mapped(&self) -> Option<Addr<V4>> {
        let words = self.words();
        let mapped = words[0] == 0 && words[1] == 0 && words[2] == MAPPED;
        mapped.then(|| Addr::new(words[3].to_ne_bytes()))
    }

    /// The IPv6 address in an IPv6 socket's call.
    #[inline(always)]
    pub fn v6(&self) -> Addr<V6> {
        let mut bytes = [0; V6];
        for (i, word) in self.words().into_iter().enumerate() {
            bytes[4 * i..4 * i + 4].copy_from_slice(&word.to_ne_bytes());
        }
        Addr::new(bytes)
    }

    /// Replaces the port.
    #[inline(always)]
    pub fn set_port(&self, port: Port) {
        // SAFETY: as above.
        unsafe { (*self.raw).user_port = u32::from(port.raw()) }
    }

    /// Replaces the address of an IPv4 socket's call.
    #[inline(always)]
    pub fn set_v4(&self, addr: &Addr<V4>) {
        // SAFETY: as above.
        unsafe { (*self.raw).user_ip4 = addr.word(0) }
    }

    /// Replaces the IPv4 address in a mapped one.
    #[inline(always)]
    pub fn set_mapped(&self, addr: &Addr<V4>) {
        // SAFETY: as above.
        unsafe { core::ptr::write_volatile(&raw mut (*self.raw).user_ip6[3], addr.word(0)) }
    }

    /// Replaces the address of an IPv6 socket's call.
    #[inline(always)]
    pub fn set_v6(&self, addr: &Addr<V6>) {
        for i in 0..4 {
            // SAFETY: as above.
            unsafe { core::ptr::write_volatile(&raw mut (*self.raw).user_ip6[i], addr.word(i)) }
        }
    }

    /// The socket's number, low half first: no other socket ever has it.
    #[inline(always)]
    pub fn cookie(&self) -> [u32; 2] {
        // SAFETY: the context is the one that the program was called with.
        let cookie = unsafe { bpf_get_socket_cookie(self.raw.cast()) };
        [cookie as u32, (cookie >> 32) as u32]
    }

    /// The socket's key in SOCKETS for a peer.
    #[inline(always)]
    pub fn key<const N: usize>(&self, addr: Addr<N>, port: Port, direction: u8) -> SocketKey<N> {
        SocketKey { cookie: self.cookie(), addr, port, proto: self.proto(), direction }
    }
}
