//! A frame in XDP: the one place that touches its bytes. There is no socket buffer yet, and so no
//! helper to write with; a packet is one piece, or left to tc.

use aya_ebpf::{bindings::xdp_md, helpers::generated::bpf_xdp_adjust_head};

use super::cursor::{Buffer, MAX_OFFSET};

/// The frame in flight.
#[derive(Clone, Copy)]
pub struct Frame {
    raw: *mut xdp_md,
    /// [`MAX_OFFSET`], which the compiler must not know: it would leave out a bound where it can
    /// prove it, and the verifier of Linux 6.1 cannot follow the proof over the stack.
    mask: usize,
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
    /// The frame of a program's context.
    #[inline(always)]
    pub fn new(raw: *mut xdp_md) -> Self {
        let mask = MAX_OFFSET;
        // SAFETY: a live value is read.
        Self { raw, mask: unsafe { (&raw const mask).read_volatile() } }
    }

    /// The context, for helpers.
    #[inline(always)]
    pub fn context(&self) -> *mut xdp_md {
        self.raw
    }

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
        data + (offset & self.mask)
    }

    #[inline(always)]
    fn end(&self) -> usize {
        // SAFETY: as above.
        unsafe { (*self.raw).data_end as usize }
    }
}
