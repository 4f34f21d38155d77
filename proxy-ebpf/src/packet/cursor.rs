//! Reading and writing packet bytes: the one place that touches a socket buffer. (For XDP, where a
//! packet has none yet: [`super::frame`].)
//!
//! Reads go straight to the packet where they can, and through a helper for what lies outside the
//! linear part. Writes always go through helpers: a program with direct writes would unshare every
//! cloned packet before it runs (`bpf_unclone_prologue`), also those that it leaves alone.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_RECOMPUTE_CSUM},
    helpers::generated::{
        bpf_l4_csum_replace, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes,
    },
};

/// Where parsers that serve tc and XDP alike read a packet.
pub trait Buffer {
    /// How many of IPv6's extension headers are walked along.
    const EXTENSIONS: usize;

    /// Bytes of the packet, from the link-layer header on.
    fn len(&self) -> usize;
    /// Copies a `T`, a plain structure of bytes, out of the packet.
    fn read<T: Copy>(&self, offset: usize) -> Option<T>;
}

impl Buffer for Skb {
    /// RFC 8200 recommends one of each; a chain longer than this is not worth a program's time.
    const EXTENSIONS: usize = 6;

    #[inline(always)]
    fn len(&self) -> usize {
        Self::len(self)
    }

    #[inline(always)]
    fn read<T: Copy>(&self, offset: usize) -> Option<T> {
        Self::read(self, offset)
    }
}

/// The farthest that direct reads go: bounds that the verifier can see.
pub const MAX_OFFSET: usize = 0xff;

/// The bits of `tc_index` that are ours.
const NOTE: u32 = 0xff00;

/// The packet in flight.
#[derive(Clone, Copy)]
pub struct Skb {
    pub raw: *mut __sk_buff,
}

impl Skb {
    /// Bytes of the packet, from the link-layer header on.
    #[inline(always)]
    pub fn len(&self) -> usize {
        // SAFETY: the kernel hands every program a valid context.
        unsafe { (*self.raw).len as usize }
    }

    /// The device that the packet enters or leaves by.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.raw).ifindex }
    }

    /// Whether the packet leaves by the device that routing took it from.
    #[inline(always)]
    pub fn turns(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.raw).ingress_ifindex == (*self.raw).ifindex }
    }

    /// Whether a socket of this node sent the packet.
    #[inline(always)]
    pub fn is_own(&self) -> bool {
        // SAFETY: as above; the pointer is only compared.
        !unsafe { (*self.raw).__bindgen_anon_2.sk }.is_null()
    }

    /// The note that [`Self::note`] left on this packet.
    #[inline(always)]
    pub fn noted(&self) -> u32 {
        self.tc_index() & NOTE
    }

    /// Leaves a note for the programs that this packet meets next, in the upper byte of
    /// `skb->tc_index`. The lower one is others': Cilium's marks, GRED's queues.
    #[inline(always)]
    pub fn note(&self, note: u32) {
        let value = self.tc_index() & !NOTE | note;
        // SAFETY: as above; tc programs may write the field, but only all of it: the compiler would
        // make one byte of it.
        unsafe { (&raw mut (*self.raw).tc_index).write_volatile(value) }
    }

    #[inline(always)]
    fn tc_index(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (&raw const (*self.raw).tc_index).read_volatile() }
    }

    /// Sets a number aside for a later stage of the same program (`skb->cb`).
    #[inline(always)]
    pub fn set_aside(&self, number: u32) {
        // SAFETY: as above; tc programs may write the field.
        unsafe { (*self.raw).cb[0] = number }
    }

    /// The number that was set aside.
    #[inline(always)]
    pub fn aside(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.raw).cb[0] }
    }

    /// Tells later stages of the program which early fragment a clone is to become, plus one.
    #[inline(always)]
    pub fn set_clone_of(&self, number: u32) {
        // SAFETY: as above; tc programs may write the field.
        unsafe { (*self.raw).cb[1] = number }
    }

    /// The number that was set; 0 for what is no clone.
    #[inline(always)]
    pub fn clone_of(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.raw).cb[1] }
    }

    /// The EtherType, in host byte order, with or without an Ethernet header.
    #[inline(always)]
    pub fn protocol(&self) -> u16 {
        // SAFETY: as above.
        u16::from_be(unsafe { (*self.raw).protocol as u16 })
    }

    /// Cuts or grows the packet to `length` bytes.
    #[inline(always)]
    pub fn resize(&self, length: usize) -> Option<()> {
        // SAFETY: the helper checks the length.
        let code = unsafe { bpf_skb_change_tail(self.raw, length as u32, 0) };
        (code == 0).then_some(())
    }

    /// Copies a `T`, a plain structure of bytes, out of the packet.
    #[inline(always)]
    pub fn read<T: Copy>(&self, offset: usize) -> Option<T> {
        // The verifier learns nothing from a comparison with the very next byte.
        const { assert!(size_of::<T>() > 1) };
        // SAFETY: the kernel hands every program a valid context.
        let (data, end) = unsafe { ((*self.raw).data as usize, (*self.raw).data_end as usize) };
        let start = data + (offset & MAX_OFFSET);
        if start + size_of::<T>() <= end && offset <= MAX_OFFSET {
            // SAFETY: `start + size <= end` was checked a line up. BPF has no aligned access to
            // enforce, and callers ask only for types in which every bit pattern is valid.
            return Some(unsafe { *(start as *const T) });
        }
        self.read_anywhere(offset)
    }

    /// The same, wherever the bytes are.
    #[inline(always)]
    fn read_anywhere<T: Copy>(&self, offset: usize) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the helper writes exactly `size_of::<T>()` bytes, or fails.
        unsafe {
            let to = value.as_mut_ptr().cast();
            match bpf_skb_load_bytes(self.raw.cast(), offset as u32, to, size_of::<T>() as u32) {
                0 => Some(value.assume_init()),
                _ => None,
            }
        }
    }

    /// Copies a `T` into the packet; checksums are the caller's affair.
    #[inline(always)]
    pub fn write<T: Copy>(&self, offset: usize, value: &T) -> Option<()> {
        // SAFETY: the helper reads `size_of::<T>()` bytes of a live value.
        let code = unsafe {
            let from = core::ptr::from_ref(value).cast_mut().cast();
            bpf_skb_store_bytes(self.raw, offset as u32, from, size_of::<T>() as u32, 0)
        };
        (code == 0).then_some(())
    }

    /// The same for bytes that no checksum of the packet's own makes up for (CHECKSUM_COMPLETE).
    #[inline(always)]
    pub fn write_summed<T: Copy>(&self, offset: usize, value: &T) -> Option<()> {
        let flags = u64::from(BPF_F_RECOMPUTE_CSUM);
        // SAFETY: the helper reads `size_of::<T>()` bytes of a live value.
        let code = unsafe {
            let from = core::ptr::from_ref(value).cast_mut().cast();
            bpf_skb_store_bytes(self.raw, offset as u32, from, size_of::<T>() as u32, flags)
        };
        (code == 0).then_some(())
    }

    /// Updates a transport checksum: `flags` carry the width of the change and its kind.
    #[inline(always)]
    pub fn fix_checksum(&self, offset: usize, from: u32, to: u32, flags: u64) -> Option<()> {
        // SAFETY: the helper checks the offset.
        let code = unsafe {
            bpf_l4_csum_replace(self.raw, offset as u32, u64::from(from), u64::from(to), flags)
        };
        (code == 0).then_some(())
    }
}
