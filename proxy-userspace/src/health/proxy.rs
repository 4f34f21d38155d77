//! The proxy's own health: /healthz and /livez (A84, A85).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::Serialize;

use crate::http::Reply;

/// An address family, as Kubernetes spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Family {
    /// IPv4.
    #[serde(rename = "IPv4")]
    V4,
    /// IPv6.
    #[serde(rename = "IPv6")]
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The label of metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// A point in time: to measure with, and to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// For durations.
    pub at: Instant,
    /// For people.
    pub wall: Timestamp,
}

impl Moment {
    /// This one.
    pub fn now() -> Self {
        Self { at: Instant::now(), wall: Timestamp::now() }
    }
}

/// What probes are told. Clones are one.
#[derive(Clone, Debug)]
pub struct Health {
    state: Arc<Mutex<State>>,
    timeout: Duration,
}

#[derive(Debug, Default)]
struct State {
    updated: BTreeMap<Family, Timestamp>,
    queued: BTreeMap<Family, Instant>,
    leaving: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    last_updated: String,
    current_time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_eligible: Option<bool>,
    healthy: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    status: BTreeMap<Family, FamilyBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FamilyBody {
    last_updated: Timestamp,
    healthy: bool,
}

/// Go's zero time, for "never".
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Health {
    /// Healthy, until a change has waited for twice `sync_period`.
    pub fn new(sync_period: Duration) -> Self {
        Self { state: Arc::default(), timeout: sync_period * 2 }
    }

    /// A change has waited to be written since it `arrived`. Only the oldest counts.
    pub fn queued(&self, arrived: Instant) {
        let mut state = self.lock();
        for family in Family::BOTH {
            state.queued.entry(family).or_insert(arrived);
        }
    }

    /// All changes of a family are written.
    pub fn updated(&self, family: Family, now: Moment) {
        let mut state = self.lock();
        state.queued.remove(&family);
        state.updated.insert(family, now.wall);
    }

    /// Whether the Node is gone or about to go (A17d): load balancers should send no more.
    pub fn set_leaving(&self, leaving: bool) {
        self.lock().leaving = leaving;
    }

    /// Whether every family keeps up, whatever becomes of the Node.
    pub fn is_healthy(&self, now: Moment) -> bool {
        let state = self.lock();
        Family::BOTH.into_iter().all(|family| self.keeps_up(&state, family, now))
    }

    /// The answer to /healthz.
    pub fn healthz(&self, now: Moment) -> Reply {
        let eligible = !self.lock().leaving;
        self.answer(now, Some(eligible))
    }

    /// The answer to /livez: a Node that leaves does not need another proxy process.
    pub fn livez(&self, now: Moment) -> Reply {
        self.answer(now, None)
    }

    /// A family that was never written is starting, which is healthy.
    fn keeps_up(&self, state: &State, family: Family, now: Moment) -> bool {
        let waits_since = state.queued.get(&family);
        !state.updated.contains_key(&family)
            || waits_since.is_none_or(|since| now.at.duration_since(*since) < self.timeout)
    }

    fn answer(&self, now: Moment, node_eligible: Option<bool>) -> Reply {
        let state = self.lock();
        let family = |(family, updated): (&Family, &Timestamp)| {
            let healthy = self.keeps_up(&state, *family, now);
            (*family, FamilyBody { last_updated: *updated, healthy })
        };
        let status: BTreeMap<_, _> = state.updated.iter().map(family).collect();
        let healthy = status.values().all(|family| family.healthy);
        let ok = healthy && node_eligible.unwrap_or(true);
        let latest = state.updated.values().max();
        let last_updated = match latest {
            // Old probes read this as the time of the last loop, so it is recent while all is well.
            _ if ok => now.wall.to_string(),
            Some(latest) => latest.to_string(),
            None => NEVER.to_owned(),
        };
        let body = Body { last_updated, current_time: now.wall, node_eligible, healthy, status };
        // Text keys and plain values always become JSON.
        Reply::json(ok, serde_json::to_string(&body).unwrap_or_default())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves whole values behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const PERIOD: Duration = Duration::from_secs(30);

    fn later(seconds: u64) -> Moment {
        let start = Moment { at: Instant::now(), wall: Timestamp::UNIX_EPOCH };
        let by = Duration::from_secs(seconds);
        Moment { at: start.at + by, wall: start.wall + by }
    }

    fn body(reply: &Reply) -> Value {
        serde_json::from_str(&reply.body).unwrap()
    }

    #[test]
    fn a84_healthy_while_starting() {
        let health = Health::new(PERIOD);
        health.queued(later(0).at);
        let reply = health.healthz(later(600));
        assert_eq!(reply.status, 200);
        assert_eq!(
            reply.body,
            "{\"lastUpdated\":\"1970-01-01T00:10:00Z\",\"currentTime\":\"1970-01-01T00:10:00Z\",\
             \"nodeEligible\":true,\"healthy\":true}"
        );
    }

    #[test]
    fn a84_a_change_that_waits_too_long_is_unhealthy() {
        let health = Health::new(PERIOD);
        Family::BOTH.iter().for_each(|family| health.updated(*family, later(1)));
        health.queued(later(10).at);
        health.queued(later(50).at);
        health.updated(Family::V4, later(50));
        assert_eq!(health.healthz(later(69)).status, 200);
        let late = health.healthz(later(71));
        assert_eq!((late.status, health.is_healthy(later(71))), (503, false));
        let status = json!({
            "IPv4": {"lastUpdated": "1970-01-01T00:00:50Z", "healthy": true},
            "IPv6": {"lastUpdated": "1970-01-01T00:00:01Z", "healthy": false},
        });
        assert_eq!(body(&late)["status"], status);
        assert_eq!(body(&late)["lastUpdated"], "1970-01-01T00:00:50Z");
        assert_eq!(body(&late)["healthy"], false);
        health.updated(Family::V6, later(72));
        assert_eq!(health.healthz(later(600)).status, 200);
    }

    #[test]
    fn a85_livez_does_not_look_at_the_node() {
        let health = Health::new(PERIOD);
        health.set_leaving(true);
        let healthz = health.healthz(later(1));
        assert_eq!((healthz.status, body(&healthz)["nodeEligible"].clone()), (503, json!(false)));
        assert_eq!(
            (body(&healthz)["healthy"].clone(), healthz.content_type),
            (json!(true), "application/json")
        );
        let livez = health.livez(later(1));
        assert_eq!((livez.status, body(&livez).get("nodeEligible").cloned()), (200, None));
        health.set_leaving(false);
        assert_eq!(health.healthz(later(2)).status, 200);
    }
}
