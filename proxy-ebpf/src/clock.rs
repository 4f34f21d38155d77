//! Time, as flows remember it.

use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;

/// Seconds of `CLOCK_MONOTONIC`. The coarse clock (5.11, d05512618056) is enough for seconds and
/// costs a tenth of the exact one.
#[inline(always)]
pub fn seconds() -> u32 {
    // SAFETY: the helper has no preconditions.
    (unsafe { bpf_ktime_get_coarse_ns() } / 1_000_000_000) as u32
}
