//! Named cases: a test runs all of them, then tells which failed.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use testbed::Place;
use testbed::address::Family;
use testbed::wire::{Ask, FailureKind, Reply, Transport};

/// Every transport a service has to carry.
pub(crate) const TRANSPORTS: [Transport; 3] =
    [Transport::Tcp, Transport::Udp, Transport::UdpUnconnected];

/// How long a change may take to reach the datapath of a loaded machine; on an idle one it is a
/// tenth of a second.
pub(crate) const SLOW: Duration = Duration::from_secs(10);

/// How long a test listens before it calls a packet dropped.
const SILENCE_MS: u64 = 300;

/// The cases of one cluster.
pub(crate) struct Cases {
    title: String,
    ran: usize,
    failed: Vec<String>,
}

impl Cases {
    /// No cases yet.
    pub(crate) fn new(title: impl Display) -> Self {
        Self { title: title.to_string(), ran: 0, failed: Vec::new() }
    }

    /// Runs one and remembers whether it failed.
    pub(crate) fn case(&mut self, name: impl Display, check: impl FnOnce() -> Result<()>) {
        self.ran += 1;
        if let Err(error) = check() {
            self.failed.push(format!("{name}: {error:#}"));
        }
    }

    /// Runs one for each family and transport, all at once.
    pub(crate) fn each(
        &mut self,
        name: impl Display,
        check: impl Fn(Family, Transport) -> Result<()> + Sync,
    ) {
        let name = name.to_string();
        let pairs = Family::BOTH.into_iter().flat_map(|f| TRANSPORTS.map(|t| (f, t)));
        self.together(pairs, |(family, transport)| {
            (format!("{name}, {family:?} {transport:?}"), check(*family, *transport))
        });
    }

    /// Runs one for each subject, all at once: most of a case is waiting. `check` also names it.
    pub(crate) fn together<T: Sync>(
        &mut self,
        subjects: impl IntoIterator<Item = T>,
        check: impl Fn(&T) -> (String, Result<()>) + Sync,
    ) {
        let (subjects, check): (Vec<T>, _) = (subjects.into_iter().collect(), &check);
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                subjects.iter().map(|subject| scope.spawn(move || check(subject))).collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        for result in results {
            let (name, result) = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            self.case(name, || result);
        }
    }

    /// Panics if any failed, so that every `Sluice` prints its log.
    pub(crate) fn finish(self) {
        let Self { title, ran, failed } = self;
        println!("{title}: {ran} cases, {} failed", failed.len());
        assert!(failed.is_empty(), "{title}: {} of {ran}:\n{}", failed.len(), failed.join("\n"));
    }
}

/// One exchange that has to be answered by `who`, from the very address that was asked.
pub(crate) fn answered(ask: Ask, from: &Place, who: &str) -> Result<Reply> {
    let reply =
        from.once(ask).map_err(|failure| anyhow!("{} asked {ask:?}: {failure}", from.name()))?;
    ensure!(reply.who == who, "{} answered, not {who}", reply.who);
    ensure!(reply.from == ask.target, "asked {}, heard from {}", ask.target, reply.from);
    Ok(reply)
}

/// One exchange that has to be refused at once (A47, A50).
///
/// At once, or with the second SYN: on a veth the answer is there before `connect` has let go of
/// the socket, and the kernel then only counts it (`LockDroppedIcmps`).
pub(crate) fn refused(ask: Ask, from: &Place) -> Result<()> {
    let began = Instant::now();
    match from.once(ask.timeout_ms(3_000)) {
        Err(failure) if failure.is_refused() => {}
        other => {
            return Err(anyhow!("{} asked {}, not refused: {other:?}", from.name(), ask.target));
        }
    }
    ensure!(began.elapsed() < Duration::from_millis(1_500), "refused after {:?}", began.elapsed());
    Ok(())
}

/// One exchange that nobody may answer or refuse.
pub(crate) fn dropped(ask: Ask, from: &Place) -> Result<()> {
    match from.once(ask.timeout_ms(SILENCE_MS)) {
        Err(failure) if failure.kind == FailureKind::TimedOut => Ok(()),
        other => Err(anyhow!("{} asked {}, not dropped: {other:?}", from.name(), ask.target)),
    }
}

/// Repeats a check until it holds or time is up.
pub(crate) fn within(limit: Duration, check: impl Fn() -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        match check() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("still after {limit:?}")));
            }
            Err(_not_yet) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
