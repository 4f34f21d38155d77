//! One-to-one SCTP sockets, read and written like streams.

use std::io::{Error, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An association.
///
/// Not tokio's `TcpStream`: that takes a read which does not fill its buffer for the last one
/// before the next event, and of SCTP every read returns one message, however many wait.
pub(crate) struct Stream(AsyncFd<Socket>);

impl Stream {
    /// An association with a server, from a port of the caller's choice if it has one.
    pub(crate) async fn connect(target: SocketAddr, port: Option<u16>) -> Result<Self, Error> {
        let socket = socket(target)?;
        if let Some(port) = port {
            let any = match target {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
                SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
            };
            socket.bind(&any.into())?;
        }
        match socket.connect(&target.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _under_way_or_done => {}
        }
        let stream = Self(watched(socket)?);
        stream.0.writable().await?.retain_ready();
        match stream.0.get_ref().take_error()? {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    }

    /// Its own address and its peer's.
    pub(crate) fn ends(&self) -> Result<(SocketAddr, SocketAddr), Error> {
        let socket = self.0.get_ref();
        Ok((address(&socket.local_addr()?)?, address(&socket.peer_addr()?)?))
    }
}

/// A socket that waits for associations.
pub(crate) struct Listener(AsyncFd<Socket>);

impl Listener {
    /// Binds an address and listens.
    pub(crate) fn bind(address: SocketAddr) -> Result<Self, Error> {
        let socket = socket(address)?;
        socket.bind(&address.into())?;
        socket.listen(128)?;
        Ok(Self(watched(socket)?))
    }

    /// The next association, and who began it.
    pub(crate) async fn accept(&mut self) -> Result<(Stream, SocketAddr), Error> {
        loop {
            let mut ready = self.0.readable().await?;
            // No event yet: wait for the next.
            let Ok(accepted) = ready.try_io(|listener| listener.get_ref().accept()) else {
                continue;
            };
            let (socket, peer) = accepted?;
            socket.set_nonblocking(true)?;
            return Ok((Stream(watched(socket)?), address(&peer)?));
        }
    }
}

fn socket(peer: SocketAddr) -> Result<Socket, Error> {
    let socket = Socket::new(Domain::for_address(peer), Type::STREAM, Some(Protocol::SCTP))?;
    if peer.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn watched(socket: Socket) -> Result<AsyncFd<Socket>, Error> {
    // SAFETY: a `Socket` owns its descriptor and always returns that one; it is never taken out of
    // the `AsyncFd`, so it is open until this is dropped.
    unsafe { Ok(AsyncFd::register(socket)?) }
}

fn address(address: &SockAddr) -> Result<SocketAddr, Error> {
    address.as_socket().ok_or_else(|| Error::other("an address that is not an IP address"))
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Error>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(context))?;
            let room = buffer.initialize_unfilled();
            if let Ok(result) = ready.try_io(|socket| socket.get_ref().read(room)) {
                return Poll::Ready(result.map(|length| buffer.advance(length)));
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Error>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(context))?;
            if let Ok(result) = ready.try_io(|socket| socket.get_ref().write(bytes)) {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    /// The whole association ends, in order: SCTP knows no half of one.
    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(self.0.get_ref().shutdown(Shutdown::Write))
    }
}
