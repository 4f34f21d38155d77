//! The two ends of a measurement, each its own process in its namespace and cgroup.

use std::{
    io::{self, Read, Write},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::socket::{setsockopt, sockopt::Linger};

/// Where servers answer; the stream's has the next port.
pub(crate) const PORT: u16 = 9000;
/// Where the same servers answer, and no service leads.
pub(crate) const OTHER_PORT: u16 = 9100;
/// A request, and its answer.
const MESSAGE: [u8; 64] = [7; 64];
/// What a stream writes at once.
const CHUNK: usize = 128 * 1024;
const PATIENCE: Duration = Duration::from_secs(2);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// TCP: connect, request, answer, close.
    Connections,
    /// TCP: requests and answers on one connection.
    TcpRequests,
    /// UDP: requests and answers on one socket.
    UdpRequests,
    /// TCP: bytes in one direction.
    Stream,
}

impl Work {
    pub(crate) const ALL: [Self; 4] =
        [Self::Connections, Self::TcpRequests, Self::UdpRequests, Self::Stream];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connections => "TCP connect-request-close",
            Self::TcpRequests => "TCP request-response",
            Self::UdpRequests => "UDP request-response",
            Self::Stream => "TCP stream",
        }
    }

    /// As an argument of the worker.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::TcpRequests => "tcp",
            Self::UdpRequests => "udp",
            Self::Stream => "stream",
        }
    }

    fn parse(word: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|work| work.word() == word);
        known.with_context(|| format!("no work is called {word}"))
    }
}

/// The works of these words, or all.
pub(crate) fn works(words: &[&str]) -> Result<Vec<Work>> {
    match words.is_empty() {
        true => Ok(Work::ALL.to_vec()),
        false => words.iter().map(|word| Work::parse(word)).collect(),
    }
}

/// Serves until killed.
pub(crate) fn serve() -> Result<()> {
    let any = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    for port in [PORT, OTHER_PORT] {
        let (echo, sink) = (TcpListener::bind(any(port))?, TcpListener::bind(any(port + 1))?);
        let datagrams = UdpSocket::bind(any(port))?;
        thread::spawn(move || reflect(&datagrams));
        thread::spawn(move || accept(&sink, drain));
        thread::spawn(move || accept(&echo, answer));
    }
    println!("ready");
    loop {
        thread::park();
    }
}

fn reflect(datagrams: &UdpSocket) {
    let mut buffer = [0; 2048];
    while let Ok((length, from)) = datagrams.recv_from(&mut buffer) {
        // A lost answer is a lost request, which the client notices.
        let _ = datagrams.send_to(&buffer[..length], from);
    }
}

fn accept(listener: &TcpListener, handle: fn(TcpStream) -> io::Result<()>) {
    for stream in listener.incoming().flatten() {
        thread::spawn(move || handle(stream));
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut message = MESSAGE;
    loop {
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
    }
}

fn drain(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

/// Works for a while and prints the rate: operations, or bytes, a second.
pub(crate) fn ask(work: &str, target: &str, milliseconds: &str) -> Result<()> {
    let (work, target) = (Work::parse(work)?, target.parse::<SocketAddr>()?);
    let time = Duration::from_millis(milliseconds.parse()?);
    let began = Instant::now();
    let end = began + time;
    let done = match work {
        Work::Connections => connections(target, end),
        Work::TcpRequests => tcp_requests(target, end),
        Work::UdpRequests => udp_requests(target, end),
        Work::Stream => stream(target, end),
    };
    let done = done.with_context(|| format!("{} to {target}", work.name()))?;
    println!("{}", done as f64 / began.elapsed().as_secs_f64());
    Ok(())
}

fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn exchange(stream: &mut TcpStream) -> io::Result<()> {
    let mut answer = MESSAGE;
    stream.write_all(&MESSAGE)?;
    stream.read_exact(&mut answer)
}

fn connections(target: SocketAddr, end: Instant) -> Result<u64> {
    let mut done = 0;
    while Instant::now() < end {
        let mut stream = connect(target)?;
        exchange(&mut stream)?;
        // Closing with a reset leaves no TIME_WAIT, of which a few rounds would use up all ports.
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&stream.as_fd(), Linger, &linger)?;
        done += 1;
    }
    Ok(done)
}

fn tcp_requests(target: SocketAddr, end: Instant) -> Result<u64> {
    let mut stream = connect(target)?;
    let mut done = 0;
    while Instant::now() < end {
        exchange(&mut stream)?;
        done += 1;
    }
    Ok(done)
}

fn udp_requests(target: SocketAddr, end: Instant) -> Result<u64> {
    let socket = UdpSocket::bind(SocketAddr::from(([0, 0, 0, 0], 0)))?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut answer = MESSAGE;
    let mut done = 0;
    while Instant::now() < end {
        socket.send(&MESSAGE)?;
        if socket.recv(&mut answer)? != MESSAGE.len() {
            bail!("a short answer");
        }
        done += 1;
    }
    Ok(done)
}

fn stream(target: SocketAddr, end: Instant) -> Result<u64> {
    let mut stream = connect(target)?;
    let chunk = vec![7; CHUNK];
    let mut done = 0;
    while Instant::now() < end {
        stream.write_all(&chunk)?;
        done += CHUNK as u64;
    }
    Ok(done)
}
