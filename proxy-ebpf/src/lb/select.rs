//! The verdict matrix (A40–A49, A53) and the choice of a backend (A38, A70): at random, or by the
//! flow's hash.

use aya_ebpf::helpers::generated::bpf_get_prandom_u32;
use sluice_common::{
    backend::{
        Backend,
        flags::{self as backend_flags, CLUSTER, LOCAL},
    },
    flow::{Flow, flags::MASQUERADE},
    frontend::{
        Frontend, Range,
        flags::{EXTERNAL, HASHED, LOCAL_POLICY, NO_ENDPOINTS, SOURCE_RANGES},
    },
    hash,
    iface::flags::POD,
    net::Addr,
    reason::Reason,
    settings::{detector, flags::MASQUERADE_ALL},
};

use super::{affinity, lookup, prefixes};
use crate::{
    family::{Family, Ip},
    maps::IFACES,
    settings,
};

/// Whom a packet is from, as the traffic policies see it (A42–A44).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A pod, says the detector.
    Pod,
    /// This node itself.
    Node,
    /// Anyone else.
    Other,
}

/// Classifies the source of a packet that entered by `ifindex`.
#[inline(always)]
pub fn source<const N: usize>(addr: &Addr<N>, ifindex: u32) -> Source
where
    Ip<N>: Family<N>,
{
    let Some(settings) = settings::get() else { return Source::Other };
    let (mode, pods) = <Ip<N> as Family<N>>::detector(settings);
    let pod = match mode {
        detector::PREFIX => pods.contains(addr),
        detector::IFACE => iface_flags(ifindex) & POD != 0,
        _ => false,
    };
    match pod {
        true => Source::Pod,
        false if lookup::is_local(addr) => Source::Node,
        false => Source::Other,
    }
}

/// The flags of an instrumented interface.
#[inline(always)]
pub fn iface_flags(ifindex: u32) -> u32 {
    // SAFETY: the controller replaces elements whole.
    unsafe { IFACES.get(ifindex) }.map_or(0, |iface| iface.flags)
}

/// Whether the packet's source becomes the node; the endpoints it may reach, and the flag that they
/// have in BACKENDS.
#[inline(always)]
fn policy<const N: usize>(frontend: &Frontend, source: Source) -> (u32, Range, u8)
where
    Ip<N>: Family<N>,
{
    let masquerade = |yes| if yes { MASQUERADE } else { 0 };
    if frontend.flags & EXTERNAL == 0 {
        let list = if frontend.flags & LOCAL_POLICY == 0 { CLUSTER } else { LOCAL };
        return (masquerade(masquerades_cluster_ip::<N>(source)), frontend.cluster, list); // A40
    }
    if frontend.flags & LOCAL_POLICY == 0 {
        return (MASQUERADE, frontend.cluster, CLUSTER); // A41
    }
    match source {
        Source::Pod => (0, frontend.cluster, CLUSTER), // A42
        Source::Node => (MASQUERADE, frontend.cluster, CLUSTER), // A43
        Source::Other => (0, frontend.local, LOCAL),   // A44
    }
}

/// A40, A45.
#[inline(always)]
fn masquerades_cluster_ip<const N: usize>(source: Source) -> bool
where
    Ip<N>: Family<N>,
{
    let Some(settings) = settings::get() else { return false };
    let (mode, _) = <Ip<N> as Family<N>>::detector(settings);
    settings.flags & MASQUERADE_ALL != 0 || (mode != detector::NONE && source != Source::Pod)
}

/// Chooses where a new flow from `client` to `frontend` goes; its flags say MASQUERADE if it is to
/// be masqueraded. For a socket without an address, `client` stands for its network namespace.
/// `point` is where the flow's hash points, should the service have a Maglev table.
#[inline(always)]
pub fn backend<const N: usize>(
    frontend: &Frontend,
    client: &Addr<N>,
    source: Source,
    point: impl FnOnce() -> u32,
) -> Result<Flow<N>, Reason>
where
    Ip<N>: Family<N>,
{
    if frontend.flags & NO_ENDPOINTS != 0 {
        return Err(Reason::NoEndpoints); // A47
    }
    let (mut flags, range, list) = policy::<N>(frontend, source);
    if range.len == 0 {
        return Err(Reason::NoLocalEndpoint); // A48, A49
    }
    let sticks = frontend.affinity_timeout != 0;
    let kept = if sticks { affinity::kept(frontend, client, list) } else { None };
    let id = match kept {
        Some(id) => id.get(),
        None => {
            let point = match frontend.flags & HASHED != 0 {
                false => random(),
                // All of a client's flows go one way, also where AFFINITIES does not know it.
                true if sticks => point_of_client(client),
                true => point(),
            };
            let slot = <Ip<N> as Family<N>>::slots().get(range.slot(point));
            slot.copied().ok_or(Reason::MissingBackend)?
        }
    };
    let backend = usable::<N>(id).ok_or(Reason::MissingBackend)?;
    if sticks && kept.is_none() {
        affinity::note(client, frontend.service, id, backend.generation);
    }
    if backend.addr == *client {
        flags = MASQUERADE; // A46
    }
    Ok(Flow {
        addr: backend.addr,
        port: backend.port,
        client_port: backend.port,
        seen: 0,
        service: frontend.service,
        backend: id,
        generation: backend.generation,
        flags,
    })
}

/// Whether `client` may use the frontend at all, whatever is behind it (A53).
#[inline(always)]
pub fn admits<const N: usize>(frontend: &Frontend, client: &Addr<N>) -> bool
where
    Ip<N>: Family<N>,
{
    frontend.flags & SOURCE_RANGES == 0 || prefixes::covers(frontend.service, client)
}

/// Not inlined, lest those that need no hash pay for its registers.
#[inline(never)]
fn point_of_client<const N: usize>(client: &Addr<N>) -> u32 {
    hash::of_client(client)
}

#[inline(always)]
fn random() -> u32 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_prandom_u32() }
}

/// The backend `id`, if there is one.
#[inline(always)]
pub fn usable<const N: usize>(id: u32) -> Option<&'static Backend<N>>
where
    Ip<N>: Family<N>,
{
    <Ip<N> as Family<N>>::backends().get(id).filter(|backend| backend.flags != 0)
}

/// Whether the backend that a flow chose is still the same endpoint and has one of `flags`.
#[inline(always)]
pub fn still<const N: usize>(id: u32, generation: u32, flags: u8) -> bool
where
    Ip<N>: Family<N>,
{
    usable::<N>(id).is_some_and(|b| b.generation == generation && b.flags & flags != 0)
}

/// UDP flows stay with an endpoint that serves (A73).
pub const SERVING: u8 = backend_flags::SERVING;
/// New flows need one that the policies allow.
pub const ELIGIBLE: u8 = backend_flags::ELIGIBLE;
