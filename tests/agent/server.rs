//! Servers: they tell who they are and whom they see, and echo what they are sent.

use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use testbed::wire::{Failure, FailureKind, Outcome};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UdpSocket};

use crate::sctp;

/// Binds every address, then serves in the background for as long as the agent lives.
pub(crate) fn start(
    name: &str,
    tcp: &[SocketAddr],
    udp: &[SocketAddr],
    sctp: &[SocketAddr],
) -> Result<Outcome, Failure> {
    let explain = |address: &SocketAddr, error: std::io::Error| {
        Failure::new(FailureKind::Other, format!("listening on {address}: {error}"))
    };
    for address in tcp {
        let listener = listen(*address).map_err(|e| explain(address, e))?;
        tokio::task::spawn_local(accept(listener, name.to_owned()));
    }
    for address in udp {
        let socket = bind_udp(*address, false).map_err(|e| explain(address, e))?;
        tokio::task::spawn_local(answer(socket, name.to_owned()));
    }
    for address in sctp {
        let mut listener = sctp::Listener::bind(*address).map_err(|e| explain(address, e))?;
        let name = name.to_owned();
        tokio::task::spawn_local(async move {
            loop {
                let accepted = listener.accept().await;
                greet(accepted, &name, |_stream| Ok(())).await;
            }
        });
    }
    Ok(Outcome::Done)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

/// A UDP socket on an address; `shared` lets several sockets have the port.
pub(crate) fn bind_udp(address: SocketAddr, shared: bool) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

async fn accept(listener: TcpListener, name: String) {
    loop {
        let accepted = listener.accept().await;
        greet(accepted, &name, |stream| stream.set_nodelay(true)).await;
    }
}

/// Has a conversation on a connection in the background.
async fn greet<S: AsyncRead + AsyncWrite + 'static>(
    accepted: std::io::Result<(S, SocketAddr)>,
    name: &str,
    prepare: impl FnOnce(&S) -> std::io::Result<()>,
) {
    // A failed accept (the client is gone again, or no descriptor is free) ends no server.
    let Ok((stream, peer)) = accepted else {
        return tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    if prepare(&stream).is_err() {
        return;
    }
    let name = name.to_owned();
    tokio::task::spawn_local(async move {
        // The client sees how its connection ends; the server has nothing to add.
        let _ended = converse(stream, peer, &name).await;
    });
}

/// Lines: `who` asks for the name, `echo N` has the next N bytes sent back, `close` ends.
async fn converse(
    stream: impl AsyncRead + AsyncWrite,
    peer: SocketAddr,
    name: &str,
) -> std::io::Result<()> {
    let (read, mut write) = tokio::io::split(stream);
    let mut read = BufReader::with_capacity(64 * 1024, read);
    let mut line = String::new();
    while read.read_line(&mut line).await? > 0 {
        let mut words = line.split_whitespace();
        match (words.next(), words.next().and_then(|n| n.parse().ok())) {
            (Some("who"), _) => write.write_all(format!("{name} {peer}\n").as_bytes()).await?,
            (Some("echo"), Some(bytes)) => {
                tokio::io::copy_buf(&mut (&mut read).take(bytes), &mut write).await?;
            }
            _close_or_unknown => return Ok(()),
        }
        line.clear();
    }
    Ok(())
}

/// Every datagram is answered with the name, the sender's address and the datagram's own text.
async fn answer(socket: UdpSocket, name: String) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // An error here is an ICMP message about an earlier answer.
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        let mut text = format!("{name} {peer} ").into_bytes();
        text.extend_from_slice(&buffer[..length]);
        let _sent = socket.send_to(&text, peer).await;
    }
}
