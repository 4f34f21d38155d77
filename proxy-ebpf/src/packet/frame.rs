//! A frame in XDP: the one place that touches its bytes. There is no socket buffer yet, and so no
//! helper to write with; a packet is one piece, or left to tc.

use core::hint::black_box;

use aya_ebpf::{bindings::xdp_md, helpers::generated::bpf_xdp_adjust_head};

use super::cursor::{Buffer, MAX_OFFSET};

/// The frame in flight.
#[derive(Clone, Copy)]
pub struct Frame {
    pub raw: *mut xdp_md,
}

impl Buffer for Frame {
    const EXTENSIONS: usize = 0;

    #[inline(always)]
    fn len(&self) -> usize {
        // SAFETY: the kernel hands every program a valid context.
        let data = unsafe { (*self.raw).data as usize };
        self.end() - data
    }

    #[inline(always)]
    fn read<T: Copy>(&self, offset: usize) -> Option<T> {
        let place = self.place::<T>(offset);
        if place + size_of::<T>() <= self.end() && offset <= MAX_OFFSET {
            // SAFETY: `place + size <= end` was checked a line up; callers ask only for types in
            // which every bit pattern is valid, and BPF has no aligned access to enforce.
            return Some(unsafe { *(place as *const T) });
        }
        None
    }
}

impl Frame {
    /// The device that the frame came by.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.raw).ingress_ifindex }
    }

    /// Copies a `T` into the frame; checksums are the caller's affair.
    #[inline(always)]
    pub fn write<T: Copy>(&self, offset: usize, value: &T) -> Option<()> {
        let place = self.place::<T>(offset);
        if place + size_of::<T>() <= self.end() && offset <= MAX_OFFSET {
            // SAFETY: as in `read`.
            unsafe { *(place as *mut T) = *value };
            return Some(());
        }
        None
    }

    /// Takes `bytes` off the frame's start, or, if negative, puts them there.
    #[inline(always)]
    pub fn cut(&self, bytes: i32) -> Option<()> {
        // SAFETY: the helper checks that the room is there.
        let code = unsafe { bpf_xdp_adjust_head(self.raw, bytes) };
        (code == 0).then_some(())
    }

    /// Where a `T` would stand in the frame. (The pointer itself, not an `Option` of it: the
    /// compiler would make one out of two in a way that the verifier refuses.)
    #[inline(always)]
    fn place<T>(&self, offset: usize) -> usize {
        // The verifier learns nothing from a comparison with the very next byte.
        const { assert!(size_of::<T>() > 1) };
        // SAFETY: as above.
        let data = unsafe { (*self.raw).data as usize };
        // Where the compiler knows that the mask changes nothing it leaves it out, and the verifier
        // of Linux 6.1 has forgotten why it could: what was spilled as 16 bits has no bounds there.
        data + (black_box(offset) & MAX_OFFSET)
    }

    #[inline(always)]
    fn end(&self) -> usize {
        // SAFETY: as above.
        unsafe { (*self.raw).data_end as usize }
    }
}
