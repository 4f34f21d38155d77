//! From a reason to the code that a hook returns, and to its counter.

use aya_ebpf::{
    bindings::{
        TC_ACT_REDIRECT, TC_ACT_SHOT, TC_ACT_UNSPEC,
        xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
    },
    helpers::generated::{bpf_redirect, bpf_set_retval},
};
use sluice_common::reason::{Outcome, Reason};

use crate::{maps::REASONS, packet::frame::Frame, xdp::Verdict};

/// The action of a tc program.
///
/// A packet that goes on goes to the next program of the hook (`TCX_NEXT`, which clsact knows as
/// `TC_ACT_UNSPEC`), so that other agents there keep working.
#[inline(always)]
pub fn for_tc(reason: Option<Reason>) -> i32 {
    let Some(reason) = reason else { return TC_ACT_UNSPEC };
    count(reason);
    match reason.outcome() {
        Outcome::Pass => TC_ACT_UNSPEC,
        // `tc::reject` has turned the packet into its answer and asked for the redirect.
        Outcome::Reject => TC_ACT_REDIRECT,
        Outcome::Drop => TC_ACT_SHOT,
    }
}

/// The action of an XDP program.
#[inline(always)]
pub fn for_xdp(frame: &Frame, verdict: Option<Verdict>) -> u32 {
    match verdict {
        None => XDP_PASS,
        Some(Verdict::Pass(reason)) => {
            count(reason);
            XDP_PASS
        }
        Some(Verdict::Drop(reason)) => {
            count(reason);
            XDP_DROP
        }
        Some(Verdict::Send(reason, device)) => {
            count(reason);
            if device == frame.ifindex() {
                return XDP_TX;
            }
            // SAFETY: the helper has no preconditions.
            unsafe { bpf_redirect(device, 0) as u32 }
        }
    }
}

/// What a socket hook returns to let the call go on.
pub const ALLOW: i32 = 1;
/// What it returns to end it.
const DENY: i32 = 0;

/// The result of a socket hook.
///
/// A refused call fails with an error that the network could have caused. A bare denial would be
/// `EPERM`, on which the kernel's NFS client retries for ever (C27); `bpf_set_retval` is there
/// since 5.18 (b44123b4a3dc).
#[inline(always)]
pub fn for_socket(reason: Option<Reason>) -> i32 {
    let Some(reason) = reason else { return ALLOW };
    count(reason);
    if reason.outcome() == Outcome::Pass {
        return ALLOW;
    }
    let refused = reason == Reason::SocketNoEndpoints || reason == Reason::SocketUnknownPort;
    let error = if refused { ECONNREFUSED } else { EHOSTUNREACH };
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_set_retval(-error) };
    DENY
}

const ECONNREFUSED: i32 = 111;
const EHOSTUNREACH: i32 = 113;

/// Adds one to a reason's counter.
#[inline(always)]
pub fn count(reason: Reason) {
    if let Some(counter) = REASONS.get_ptr_mut(reason as u32) {
        // SAFETY: the element is this CPU's own, and programs of one CPU do not interleave here
        // (a lost count under preemption is a lost count, not a lost packet).
        unsafe { *counter += 1 };
    }
}
