//! Time, as flows and affinities remember it.

use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;

/// Nanoseconds of `CLOCK_MONOTONIC`, in steps of one tick (4 ms at 250 Hz). The coarse clock (5.11,
/// d05512618056) costs a tenth of the exact one, and timeouts are whole seconds, which nftables
/// counts in ticks as well.
#[inline(always)]
pub fn nanoseconds() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// Seconds of the same clock.
#[inline(always)]
pub fn seconds() -> u32 {
    (nanoseconds() / SECOND) as u32
}

/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;
