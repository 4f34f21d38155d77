//! What a case expects. Every expectation waits, within reason, until it holds: changes take a
//! moment to reach both nodes.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use testbed::{
    Held, Place,
    address::Family,
    http, patience,
    wire::{Ask, FailureKind, Reply, Transport},
};

/// How long a change may take to reach the datapath of a loaded machine, times [`patience`].
const SLOW: Duration = Duration::from_secs(10);
/// How long an exchange may take while it may still be in vain, times [`patience`].
const PATIENCE_MS: u64 = 500;
/// How long silence has to last.
const SILENCE_MS: u64 = 300;
/// Exchanges that show who answers: one of four endpoints is missed once in 10^7.
const ENOUGH: u32 = 60;

/// The transports that Kubernetes calls http and udp.
pub(crate) const BOTH: [Transport; 2] = [Transport::Tcp, Transport::Udp];

/// Repeats a check until it holds or time is up.
pub(crate) fn within<T>(limit: Duration, check: impl Fn() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match check() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("still after {limit:?}")));
            }
            Err(_not_yet) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// The same with the usual patience.
pub(crate) fn soon<T>(check: impl Fn() -> Result<T>) -> Result<T> {
    within(SLOW * patience(), check)
}

/// One exchange, by any transport.
pub(crate) fn ask(from: &Place, transport: Transport, target: SocketAddr) -> Result<Reply> {
    from.once(Ask::new(transport, target).timeout_ms(PATIENCE_MS * u64::from(patience())))
        .with_context(|| format!("{} asked {target} by {transport:?}", from.name()))
}

/// `who` answers, and nobody else does once it has.
pub(crate) fn answers(
    from: &Place,
    transport: Transport,
    target: SocketAddr,
    who: &str,
) -> Result<Reply> {
    soon(|| {
        let reply = ask(from, transport, target)?;
        ensure!(reply.who == who, "{} at {target}, not {who}", reply.who);
        Ok(reply)
    })
}

/// The same by TCP and UDP over both families.
pub(crate) fn serves(from: &Place, target: impl Fn(Family) -> SocketAddr, who: &str) -> Result<()> {
    each(|family, transport| answers(from, transport, target(family), who).map(drop))
}

/// A check for both families and transports.
pub(crate) fn each(check: impl Fn(Family, Transport) -> Result<()>) -> Result<()> {
    Family::BOTH
        .iter()
        .try_for_each(|family| BOTH.iter().try_for_each(|transport| check(*family, *transport)))
}

/// Exactly these answer.
pub(crate) fn shared(
    from: &Place,
    transport: Transport,
    target: SocketAddr,
    who: &[&str],
) -> Result<()> {
    let wanted: BTreeSet<String> = who.iter().map(ToString::to_string).collect();
    soon(|| {
        let asks = Ask::new(transport, target)
            .timeout_ms(PATIENCE_MS * u64::from(patience()))
            .times(ENOUGH);
        // One exchange first: sixty in vain would take their time.
        ask(from, transport, target)?;
        let mut found = BTreeSet::new();
        for reply in from.many(asks)? {
            found.insert(reply?.who);
        }
        ensure!(found == wanted, "{found:?} answer {} at {target}, not {wanted:?}", from.name());
        Ok(())
    })
}

/// Everybody is told at once: a reset, or ICMP port unreachable (A47, A50).
pub(crate) fn refused(from: &Place, transport: Transport, target: SocketAddr) -> Result<()> {
    soon(|| match from.once(Ask::new(transport, target)) {
        Err(failure) if failure.is_refused() => Ok(()),
        other => Err(anyhow!("{} asked {target}, not refused: {other:?}", from.name())),
    })
}

/// Nobody answers or refuses (A49).
pub(crate) fn dropped(from: &Place, transport: Transport, target: SocketAddr) -> Result<()> {
    soon(|| match from.once(Ask::new(transport, target).timeout_ms(SILENCE_MS)) {
        Err(failure) if failure.kind == FailureKind::TimedOut => Ok(()),
        other => Err(anyhow!("{} asked {target}, not dropped: {other:?}", from.name())),
    })
}

/// Nobody answers, in whatever way.
pub(crate) fn unserved(from: &Place, transport: Transport, target: SocketAddr) -> Result<()> {
    soon(|| match from.once(Ask::new(transport, target).timeout_ms(SILENCE_MS)) {
        Err(_whatever) => Ok(()),
        Ok(reply) => Err(anyhow!("{} asked {target}: {reply:?}", from.name())),
    })
}

/// Nobody answers a socket that keeps sending.
pub(crate) fn moves_nowhere(held: &Held<'_>) -> Result<()> {
    soon(|| match held.echo_within(SILENCE_MS) {
        Err(_whatever) => Ok(()),
        Ok(reply) => Err(anyhow!("{} answers", reply.who)),
    })
}

/// A socket that keeps sending reaches `who` in the end, datagram by datagram.
pub(crate) fn moves_to(held: &Held<'_>, who: &str) -> Result<()> {
    soon(|| {
        let reply = held.echo_within(PATIENCE_MS)?;
        ensure!(reply.who == who, "{} still answers, not {who}", reply.who);
        Ok(())
    })
}

/// The status of a page, asked for by a process of the place; nothing when nobody listens.
pub(crate) fn status(from: &Place, at: SocketAddr, path: &str) -> Result<Option<(u16, String)>> {
    from.run(|| http::get(at, path))
}

/// A health check node port answers so.
pub(crate) fn health(from: &Place, at: SocketAddr, wanted: Option<u16>) -> Result<()> {
    soon(|| {
        let found = status(from, at, "/healthz")?.map(|(status, _)| status);
        ensure!(found == wanted, "{at} answers {found:?}, not {wanted:?}");
        Ok(())
    })
}
