//! Making a flow: claim the answers' tuple, note the masquerade, enter the forward direction.

use sluice_common::{
    flow::{
        EGRESS, Flow, FlowKey,
        flags::{IDENTITY, MASQUERADE, PENDING, TURNING},
    },
    net::{Addr, Port},
    reason::Reason,
};

use super::{
    claim::{Claim, claim, end, random_port},
    find, put, remove,
};
use crate::{
    clock,
    family::{Family, Ip},
};

/// Other client ports tried before a new flow is dropped.
const PORT_TRIES: usize = 3;
/// Client ports below this are never invented.
const FIRST_PORT: u16 = 1024;

/// Enters the flow of a packet seen as `key` at ingress.
///
/// `flow` says where it goes; its flags may ask for MASQUERADE, with or without TURNING, or say
/// IDENTITY for direct traffic. On success it is the entry's rewrite.
#[inline(never)]
pub fn create<const N: usize>(key: &FlowKey<N>, flow: &mut Flow<N>) -> Result<(), Reason>
where
    Ip<N>: Family<N>,
{
    let masquerade = flow.flags & (MASQUERADE | TURNING);
    flow.flags &= IDENTITY;
    flow.seen = clock::seconds();
    let mut answer = Flow { addr: key.dst, port: key.dst_port, client_port: key.src_port, ..*flow };
    let mut onward = FlowKey {
        src: flow.addr,
        src_port: flow.port,
        dst: key.src,
        dst_port: key.src_port,
        direction: EGRESS,
        ..*key
    };
    // A pod that reaches itself from its service's own port: request and answer would be one tuple.
    if flow.addr == key.src && flow.port == key.src_port {
        onward.dst_port = random_port(FIRST_PORT, u16::MAX);
    }
    claim_answers(&mut onward, &mut answer)?;
    flow.client_port = onward.dst_port;
    flow.flags = answer.flags;
    onward = onward.reversed(EGRESS);
    note_masquerade(&onward, &mut answer, masquerade)?;
    put(key, flow).ok_or(Reason::FlowTable)
}

/// Claims the key of the answers, B:bp → c:cp′, under the first cp′ that no live flow holds. A
/// client of many short connections leaves few ports whose last flow ended long ago: before the
/// last attempt, one that ended just now will do.
#[inline(always)]
fn claim_answers<const N: usize>(
    answers: &mut FlowKey<N>,
    answer: &mut Flow<N>,
) -> Result<(), Reason>
where
    Ip<N>: Family<N>,
{
    for attempt in 0..=PORT_TRIES {
        match claim(answers, answer) {
            Claim::Held => return Ok(()),
            Claim::Finished => end(answers),
            Claim::Ended if attempt + 1 == PORT_TRIES => end(answers),
            Claim::Taken | Claim::Ended => {
                // Another client port is a rewrite, even for direct traffic.
                answer.flags &= !IDENTITY;
                answers.dst_port = random_port(FIRST_PORT, u16::MAX);
            }
        }
    }
    Err(Reason::ClientPorts)
}

/// Tells egress, which knows the address to take, that `onward`, c:cp′ → B:bp, is to be
/// masqueraded, or that it no longer is. Overwrites `scratch`.
#[inline(always)]
fn note_masquerade<const N: usize>(
    onward: &FlowKey<N>,
    scratch: &mut Flow<N>,
    masquerade: u32,
) -> Result<(), Reason>
where
    Ip<N>: Family<N>,
{
    if masquerade == 0 {
        if find(onward).is_some() {
            remove(onward);
        }
        return Ok(());
    }
    scratch.addr = Addr::UNSPECIFIED;
    scratch.port = Port::new(0);
    scratch.client_port = onward.dst_port;
    scratch.flags = masquerade | PENDING;
    put(onward, scratch).ok_or(Reason::FlowTable)
}

/// Forgets the flow of `key`, which went to a backend that `old` names.
#[inline(never)]
pub fn forget<const N: usize>(key: &FlowKey<N>, old: &Flow<N>)
where
    Ip<N>: Family<N>,
{
    let answers = key.opposite(old);
    // The next choice, if there is one, writes it anew.
    remove(key);
    if let Some(holder) = find(&answers)
        && holder.addr == key.dst
        && holder.port == key.dst_port
        && holder.client_port == key.src_port
    {
        remove(&answers);
        // Nothing leaves the node for the old backend any more.
        remove(&answers.reversed(EGRESS));
    }
}
