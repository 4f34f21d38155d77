//! A long stream in both directions at once, compared byte by byte.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;

use testbed::wire::{Failure, Outcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::client::{connect, within};

/// A prime length, so that a lost or doubled segment never lines up with the pattern again.
const PATTERN: usize = 65_521;

/// Sends `bytes` bytes and expects the very same back.
pub(crate) async fn run(
    target: SocketAddr,
    bytes: u64,
    timeout_ms: u64,
) -> Result<Outcome, Failure> {
    within(timeout_ms, async {
        let (read, mut write) = connect(target, None).await?.into_split();
        let pattern = pattern();
        // `write` outlives both: closing it early would cut the echo's last bytes short.
        tokio::try_join!(send(&mut write, &pattern, bytes), compare(read, &pattern, bytes))?;
        Ok(Outcome::Done)
    })
    .await
}

async fn send(to: &mut OwnedWriteHalf, pattern: &[u8], bytes: u64) -> Result<(), Error> {
    to.write_all(format!("echo {bytes}\n").as_bytes()).await?;
    let mut left = bytes;
    while left > 0 {
        let chunk = left.min(pattern.len() as u64);
        to.write_all(&pattern[..chunk as usize]).await?;
        left -= chunk;
    }
    to.flush().await
}

async fn compare(mut from: OwnedReadHalf, pattern: &[u8], bytes: u64) -> Result<(), Error> {
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
