//! Clients: one exchange on one socket, with failures told apart.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use testbed::wire::{Ask, Failure, FailureKind, Outcome, Reply, Transport};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use crate::{sctp, server::bind_udp};

/// Exchanges `count` times, each time on a new socket.
pub(crate) async fn exchange(ask: Ask) -> Outcome {
    let mut replies = Vec::new();
    for _ in 0..ask.count {
        replies.push(once(ask).await);
    }
    Outcome::Replies(replies)
}

/// One exchange on a new socket.
pub(crate) async fn once(ask: Ask) -> Result<Reply, Failure> {
    within(ask.timeout_ms, async { Line::open(ask).await?.ask().await }).await
}

/// Bounds a step in time and names its failure.
pub(crate) async fn within<T>(
    timeout_ms: u64,
    step: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(Duration::from_millis(timeout_ms), step).await {
        Ok(result) => result.map_err(|error| Failure::new(kind_of(&error), error.to_string())),
        Err(_elapsed) => Err(Failure::new(
            FailureKind::TimedOut,
            format!("nothing was heard for {timeout_ms} ms"),
        )),
    }
}

fn kind_of(error: &Error) -> FailureKind {
    // What sending says on a socket that was ended; receiving says ECONNABORTED.
    if error.raw_os_error() == Some(libc::EDESTADDRREQ) {
        return FailureKind::Aborted;
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => FailureKind::Refused,
        ErrorKind::TimedOut => FailureKind::TimedOut,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
            FailureKind::Reset
        }
        ErrorKind::ConnectionAborted => FailureKind::Aborted,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => FailureKind::Unreachable,
        ErrorKind::PermissionDenied => FailureKind::NotPermitted,
        ErrorKind::AddrNotAvailable if error.get_ref().is_some() => FailureKind::Stranger,
        ErrorKind::InvalidData => FailureKind::Corrupt,
        _another => FailureKind::Other,
    }
}

/// A socket towards one server.
pub(crate) enum Line {
    /// TCP, read by lines.
    Tcp(BufReader<TcpStream>),
    /// UDP that was connected.
    Udp(UdpSocket, Tokens),
    /// UDP that was not, and whom it writes to.
    UdpUnconnected(UdpSocket, SocketAddr, Tokens),
    /// SCTP, read by lines as well.
    Sctp(BufReader<sctp::Stream>),
}

/// The longest datagram there is.
const DATAGRAM: usize = 64 * 1024;

/// Numbers the datagrams of a socket, so that a late answer is not taken for another.
pub(crate) struct Tokens {
    last: u64,
    padding: usize,
}

impl Tokens {
    fn new(ask: Ask) -> Self {
        Self { last: 0, padding: ask.padding.into() }
    }

    fn next(&mut self) -> String {
        self.last += 1;
        format!("token-{:x<width$}", self.last, width = self.padding)
    }
}

impl Line {
    /// Makes the socket; for TCP, the connection.
    pub(crate) async fn open(ask: Ask) -> Result<Self, Error> {
        let local = any_address(ask.target, ask.from_port.unwrap_or(0));
        match ask.transport {
            Transport::Tcp => {
                Ok(Self::Tcp(BufReader::new(connect(ask.target, ask.from_port).await?)))
            }
            Transport::Udp => {
                let socket = bind_udp(local, ask.from_port.is_some())?;
                socket.connect(ask.target).await?;
                Ok(Self::Udp(socket, Tokens::new(ask)))
            }
            Transport::UdpUnconnected => {
                let socket = bind_udp(local, ask.from_port.is_some())?;
                Ok(Self::UdpUnconnected(socket, ask.target, Tokens::new(ask)))
            }
            Transport::Sctp => {
                let stream = sctp::Stream::connect(ask.target, ask.from_port).await?;
                Ok(Self::Sctp(BufReader::new(stream)))
            }
        }
    }

    /// One question and its answer.
    pub(crate) async fn ask(&mut self) -> Result<Reply, Error> {
        match self {
            Self::Tcp(stream) => {
                let ends = (stream.get_ref().local_addr()?, stream.get_ref().peer_addr()?);
                ask_stream(stream, ends).await
            }
            Self::Sctp(stream) => {
                let ends = stream.get_ref().ends()?;
                ask_stream(stream, ends).await
            }
            Self::Udp(socket, tokens) => {
                let token = tokens.next();
                socket.send(token.as_bytes()).await?;
                let mut buffer = vec![0; DATAGRAM];
                loop {
                    let length = socket.recv(&mut buffer).await?;
                    if let Some(parts) = parse(&buffer[..length], &token) {
                        return reply(parts, socket.local_addr()?, socket.peer_addr()?);
                    }
                }
            }
            Self::UdpUnconnected(socket, target, tokens) => {
                ask_unconnected(socket, *target, &tokens.next()).await
            }
        }
    }
}

/// A TCP connection, from a port of the caller's choice if it has one.
pub(crate) async fn connect(
    target: SocketAddr,
    from_port: Option<u16>,
) -> Result<TcpStream, Error> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(port) = from_port {
        // One port towards several servers at once is what such a caller is after.
        socket.set_reuseaddr(true)?;
        socket.bind(any_address(target, port))?;
    }
    let stream = socket.connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn ask_stream(
    stream: &mut (impl AsyncBufRead + AsyncWrite + Unpin),
    (local, from): (SocketAddr, SocketAddr),
) -> Result<Reply, Error> {
    stream.write_all(b"who\n").await?;
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
    }
    let parts = parse(line.as_bytes(), "");
    reply(parts.ok_or_else(|| garbled(&line))?, local, from)
}

async fn ask_unconnected(
    socket: &UdpSocket,
    target: SocketAddr,
    token: &str,
) -> Result<Reply, Error> {
    socket.send_to(token.as_bytes(), target).await?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        let Some(parts) = parse(&buffer[..length], token) else { continue };
        if from != target {
            let text = format!("asked {target}, answered by {from}");
            return Err(Error::new(ErrorKind::AddrNotAvailable, text));
        }
        return reply(parts, socket.local_addr()?, from);
    }
}

/// The name and the client's address, if the answer ends with the token.
fn parse(answer: &[u8], token: &str) -> Option<(String, SocketAddr)> {
    let text = std::str::from_utf8(answer).ok()?;
    let mut words = text.split_whitespace();
    let (who, seen) = (words.next()?, words.next()?.parse().ok()?);
    (words.next().unwrap_or("") == token).then(|| (who.to_owned(), seen))
}

fn reply(
    (who, seen_source): (String, SocketAddr),
    local: SocketAddr,
    from: SocketAddr,
) -> Result<Reply, Error> {
    Ok(Reply { who, seen_source, local, from })
}

fn garbled(line: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the answer {line:?} makes no sense"))
}

fn any_address(target: SocketAddr, port: u16) -> SocketAddr {
    let any: IpAddr =
        if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    SocketAddr::new(any, port)
}
