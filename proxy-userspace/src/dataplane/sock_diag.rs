//! The kernel's own list of sockets, and the end of one: netlink's SOCK_DIAG and SOCK_DESTROY.
//!
//! Only UDP sockets, and only those of the network namespace that the thread is in: the kernel
//! shows no others.

use std::{io, net::IpAddr};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use netlink_packet_sock_diag::{
    SockDiagDestroy, SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_UDP},
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};

/// What a dump fills at once.
const BUFFER: usize = 32 * 1024;

/// A UDP socket that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    family: u8,
    id: SocketId,
}

impl Connected {
    /// The peer; an IPv6 socket's IPv4-mapped peer as the IPv4 address that it is.
    pub fn peer(&self) -> (IpAddr, u16) {
        (self.id.destination_address.to_canonical(), self.id.destination_port)
    }

    /// The socket's cookie: what `bpf_get_socket_cookie` returns for it, and for no other socket
    /// since the machine booted.
    pub fn cookie(&self) -> u64 {
        // Two words in host byte order, the low one first.
        let [low, high] = [&self.id.cookie[..4], &self.id.cookie[4..]]
            .map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
        u64::from(high) << 32 | u64::from(low)
    }
}

/// What came of an attempt to destroy a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destroyed {
    /// Its owner hears of it: receiving and polling fail with ECONNABORTED, sending with
    /// EDESTADDRREQ. After that it may connect again.
    Yes,
    /// There is no socket with this cookie at these addresses any more.
    Gone,
}

/// A connection to the kernel's list.
pub struct SockDiag {
    socket: Socket,
}

impl SockDiag {
    /// Connects, in this thread's network namespace.
    pub fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket })
    }

    /// Every connected UDP socket, of both families.
    pub fn connected_udp(&self) -> io::Result<Vec<Connected>> {
        let mut found = Vec::new();
        for (family, id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
            // For UDP, "established" is "connected".
            let message = SockDiagMessage::InetRequest(request(family, id));
            self.send(NetlinkMessage::new(header(NLM_F_DUMP), message.into()))?;
            self.receive(&mut found)?;
        }
        Ok(found)
    }

    /// Ends one socket (`CONFIG_INET_DIAG_DESTROY`, for UDP since 4.9, 5d77dca82839). The kernel
    /// finds it by its addresses, and compares the cookie before it touches it.
    pub fn destroy(&self, socket: &Connected) -> io::Result<Destroyed> {
        let message = SockDiagMessage::InetRequest(request(socket.family, socket.id.clone()));
        let message = SockDiagDestroy::new(message);
        self.send(NetlinkMessage::new(header(NLM_F_ACK), message.into()))?;
        match self.receive(&mut Vec::new()) {
            Ok(()) => Ok(Destroyed::Yes),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(Destroyed::Gone),
            Err(e) => Err(e),
        }
    }

    /// Whether this kernel can list and end UDP sockets: asks it to end one that cannot exist.
    pub fn probe(&self) -> io::Result<()> {
        self.connected_udp()?;
        let nobody = Connected { family: AF_INET, id: SocketId::new_v4() };
        self.destroy(&nobody).map(drop)
    }

    fn send<T: NetlinkSerializable>(&self, mut message: NetlinkMessage<T>) -> io::Result<()> {
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }

    /// Reads until the answer's end.
    fn receive(&self, found: &mut Vec<Connected>) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(BUFFER);
        loop {
            buffer.clear();
            self.socket.recv(&mut buffer, 0)?;
            if parse(&buffer, found)? {
                return Ok(());
            }
        }
    }
}

fn header(flags: u16) -> NetlinkHeader {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    header
}

fn request(family: u8, socket_id: SocketId) -> InetRequest {
    InetRequest {
        family,
        protocol: IPPROTO_UDP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::ESTABLISHED,
        socket_id,
    }
}

/// Reads a buffer of messages; whether the answer ended with it.
fn parse(mut bytes: &[u8], found: &mut Vec<Connected>) -> io::Result<bool> {
    let failed = |code: i32| match code {
        0 => Ok(true),
        code => Err(io::Error::from_raw_os_error(code.saturating_abs())),
    };
    while !bytes.is_empty() {
        let message =
            NetlinkMessage::<SockDiagMessage>::deserialize(bytes).map_err(io::Error::other)?;
        match message.payload {
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                let id = response.header.socket_id;
                found.push(Connected { family: response.header.family, id });
            }
            NetlinkPayload::Done(done) => return failed(done.code),
            NetlinkPayload::Error(error) => return failed(error.raw_code()),
            _ => {}
        }
        let next = (message.header.length as usize).max(1).next_multiple_of(4);
        bytes = bytes.get(next..).unwrap_or_default();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::{
        io::ErrorKind,
        net::UdpSocket,
        os::fd::{AsRawFd, RawFd},
    };

    use super::*;

    fn cookie(fd: RawFd) -> u64 {
        let mut cookie = 0_u64;
        let mut len = size_of::<u64>() as libc::socklen_t;
        // SAFETY: the option's value is eight bytes, and `cookie` and `len` say and hold just that.
        let result = unsafe {
            let value = (&raw mut cookie).cast();
            libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_COOKIE, value, &raw mut len)
        };
        assert_eq!(result, 0);
        cookie
    }

    fn pair(server: &str, any: &str) -> (UdpSocket, UdpSocket) {
        let server = UdpSocket::bind(server).expect("binding");
        let client = UdpSocket::bind(any).expect("binding");
        client.connect(server.local_addr().expect("an address")).expect("connecting");
        (server, client)
    }

    /// Its own sockets are listed under their cookies and peers, whatever the family; needs no
    /// privilege.
    #[test]
    fn connected_sockets_are_listed() {
        let diag = SockDiag::open().expect("netlink");
        for (server, any) in [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0")] {
            let (server, client) = pair(server, any);
            let cookie = cookie(client.as_raw_fd());
            let found = diag.connected_udp().expect("a dump");
            let found: Vec<_> = found.iter().filter(|socket| socket.cookie() == cookie).collect();
            let peer = server.local_addr().expect("an address");
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].peer(), (peer.ip(), peer.port()));
        }
    }

    /// The kernel refuses to end a socket under another's cookie.
    #[test]
    fn another_s_cookie_ends_nothing() {
        let diag = SockDiag::open().expect("netlink");
        let (server, client) = pair("127.0.0.1:0", "127.0.0.1:0");
        let cookie = cookie(client.as_raw_fd());
        let found = diag.connected_udp().expect("a dump");
        let mut socket = found.into_iter().find(|s| s.cookie() == cookie).expect("listed");
        socket.id.cookie[7] ^= 1;
        // Without privileges the answer is the same: the cookie is compared first.
        assert_eq!(diag.destroy(&socket).expect("an answer"), Destroyed::Gone);
        client.send(b"still connected").expect("sending");
        server.set_nonblocking(true).expect("an option");
        let mut buffer = [0; 32];
        let heard = server.recv(&mut buffer).map_err(|e| e.kind());
        assert!(heard == Ok(15) || heard == Err(ErrorKind::WouldBlock), "{heard:?}");
    }
}
