//! A long stream in both directions at once, compared byte by byte, and ended in order.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;

use testbed::wire::{Failure, FailureKind, Outcome, Transport};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::client::{connect, within};
use crate::sctp;

/// A prime length, so that a lost or doubled segment never lines up with the pattern again.
const PATTERN: usize = 65_521;

/// Sends `bytes` bytes and expects the very same back.
pub(crate) async fn run(
    target: SocketAddr,
    transport: Transport,
    bytes: u64,
    timeout_ms: u64,
) -> Result<Outcome, Failure> {
    match transport {
        Transport::Tcp => {
            within(timeout_ms, async { echo(connect(target, None).await?, bytes).await }).await
        }
        Transport::Sctp => {
            let connect = sctp::Stream::connect(target, None);
            within(timeout_ms, async { echo(connect.await?, bytes).await }).await
        }
        Transport::Udp | Transport::UdpUnconnected => {
            Err(Failure::new(FailureKind::Other, "a stream is sent by TCP or SCTP"))
        }
    }
}

async fn echo(stream: impl AsyncRead + AsyncWrite, bytes: u64) -> Result<Outcome, Error> {
    let (mut read, mut write) = tokio::io::split(stream);
    let pattern = pattern();
    tokio::try_join!(send(&mut write, &pattern, bytes), compare(&mut read, &pattern, bytes))?;
    // The server ends it: an SCTP socket that did so itself is told nothing when the end has come.
    write.write_all(b"close\n").await?;
    write.flush().await?;
    match read.read(&mut [0]).await? {
        0 => Ok(Outcome::Done),
        _more => Err(Error::new(ErrorKind::InvalidData, "more came back than was sent")),
    }
}

async fn send(to: &mut (impl AsyncWrite + Unpin), pattern: &[u8], bytes: u64) -> Result<(), Error> {
    to.write_all(format!("echo {bytes}\n").as_bytes()).await?;
    let mut left = bytes;
    while left > 0 {
        let chunk = left.min(pattern.len() as u64);
        to.write_all(&pattern[..chunk as usize]).await?;
        left -= chunk;
    }
    to.flush().await
}

async fn compare(
    from: &mut (impl AsyncRead + Unpin),
    pattern: &[u8],
    bytes: u64,
) -> Result<(), Error> {
    let mut buffer = vec![0; pattern.len()];
    let mut done = 0;
    while done < bytes {
        let chunk = (bytes - done).min(pattern.len() as u64) as usize;
        from.read_exact(&mut buffer[..chunk]).await?;
        if buffer[..chunk] != pattern[..chunk] {
            let text = format!("the echo differs between byte {done} and the next {chunk}");
            return Err(Error::new(ErrorKind::InvalidData, text));
        }
        done += chunk as u64;
    }
    Ok(())
}

/// Bytes without a short period (xorshift).
fn pattern() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..PATTERN).map(step).collect()
}
