//! Hash maps as the kernel offers them and aya does not: read by the thousand, and an entry taken
//! out together with its value.

use std::{
    io,
    marker::PhantomData,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use aya::Pod;
use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_map_info};

use super::{Error, pin::Pins, sys};

/// Entries that a batch begins with. A bucket that holds more needs a larger one.
const BATCH: usize = 4096;

/// A hash map. Unlike a program's, these look-ups do not make an entry of an LRU map look used.
#[derive(Debug)]
pub struct BatchMap<K, V> {
    name: &'static str,
    fd: OwnedFd,
    capacity: u32,
    _entries: PhantomData<(K, V)>,
}

impl<K: Pod, V: Pod> BatchMap<K, V> {
    /// Opens a pinned hash map, for writing too.
    pub fn open(pins: &Pins, name: &'static str) -> Result<Self, Error> {
        let failed =
            |e: io::Error| Error::os(format!("opening map {}", pins.map(name).display()), &e);
        let fd = sys::open(&pins.map(name), false).map_err(failed)?;
        let info: bpf_map_info = sys::info(fd.as_fd()).map_err(failed)?;
        let sizes = (size_of::<K>(), size_of::<V>());
        if (info.key_size as usize, info.value_size as usize) != sizes {
            return Err(failed(io::Error::other("its entries have other sizes")));
        }
        Ok(Self { name, fd, capacity: info.max_entries, _entries: PhantomData })
    }

    /// The map's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Entries that fit.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Shows every entry (BPF_MAP_LOOKUP_BATCH; 5.6, 05799638394e). What comes or goes meanwhile
    /// may be missed; what stays is shown once.
    pub fn for_each(&self, mut visit: impl FnMut(&K, &V)) -> io::Result<()> {
        let mut batch = Batch::new(BATCH);
        loop {
            let is_last = match batch.fill(self.fd.as_fd()) {
                Ok(()) => false,
                Err(e) if e.raw_os_error() == Some(libc::ENOENT) => true,
                Err(e) if e.raw_os_error() == Some(libc::ENOSPC) => {
                    batch.grow();
                    continue;
                }
                Err(e) => return Err(e),
            };
            for (key, value) in std::iter::zip(&batch.keys, &batch.values) {
                visit(key, value);
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// The value of a key (BPF_MAP_LOOKUP_ELEM).
    pub fn get(&self, key: &K) -> io::Result<Option<V>> {
        self.read(bpf_cmd::BPF_MAP_LOOKUP_ELEM, key)
    }

    /// Removes an entry and returns what it held at that moment (BPF_MAP_LOOKUP_AND_DELETE_ELEM;
    /// 5.14, 3e87f192b405).
    pub fn take(&self, key: &K) -> io::Result<Option<V>> {
        self.read(bpf_cmd::BPF_MAP_LOOKUP_AND_DELETE_ELEM, key)
    }

    fn read(&self, command: bpf_cmd, key: &K) -> io::Result<Option<V>> {
        let mut value = MaybeUninit::<V>::uninit();
        let mut attr = self.element(key, value.as_mut_ptr() as u64);
        match sys::bpf(command, &mut attr) {
            // SAFETY: the kernel wrote the whole value, whose size `open` compared; `Pod` allows
            // every bit pattern.
            Ok(_) => Ok(Some(unsafe { value.assume_init() })),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Writes an entry unless there is one; says whether it did.
    pub fn insert_absent(&self, key: &K, value: &V) -> io::Result<bool> {
        const BPF_NOEXIST: u64 = 1;
        let mut attr = self.element(key, std::ptr::from_ref(value) as u64);
        attr.__bindgen_anon_2.flags = BPF_NOEXIST;
        match sys::bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr) {
            Ok(_) => Ok(true),
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn element(&self, key: &K, value: u64) -> bpf_attr {
        let mut attr = sys::attr();
        attr.__bindgen_anon_2.map_fd = self.fd.as_raw_fd() as u32;
        attr.__bindgen_anon_2.key = std::ptr::from_ref(key) as u64;
        attr.__bindgen_anon_2.__bindgen_anon_1.value = value;
        attr
    }
}

/// Room for a part of a map, and the place in it.
struct Batch<K, V> {
    keys: Vec<K>,
    values: Vec<V>,
    /// The bucket to go on with; `None` at the start.
    position: Option<u32>,
}

impl<K: Pod, V: Pod> Batch<K, V> {
    fn new(capacity: usize) -> Self {
        let (keys, values) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
        Self { keys, values, position: None }
    }

    fn grow(&mut self) {
        let capacity = self.keys.capacity() * 2;
        *self = Self { position: self.position, ..Self::new(capacity) };
    }

    /// Reads the next part; ENOENT says that it is the last.
    fn fill(&mut self, map: BorrowedFd<'_>) -> io::Result<()> {
        self.keys.clear();
        self.values.clear();
        let room = self.keys.capacity().min(self.values.capacity());
        let mut next = 0_u32;
        let mut attr = sys::attr();
        attr.batch.map_fd = map.as_raw_fd() as u32;
        attr.batch.in_batch = self.position.as_ref().map_or(0, |p| std::ptr::from_ref(p) as u64);
        attr.batch.out_batch = &raw mut next as u64;
        attr.batch.keys = self.keys.as_mut_ptr() as u64;
        attr.batch.values = self.values.as_mut_ptr() as u64;
        attr.batch.count = u32::try_from(room).unwrap_or(u32::MAX);
        let result = sys::bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr);
        let is_read = match &result {
            Ok(_) => true,
            Err(e) => e.raw_os_error() == Some(libc::ENOENT),
        };
        if is_read {
            // SAFETY: the kernel wrote the count back into the same member, and as many keys and
            // values of these sizes, at most `room`; `Pod` allows every bit pattern.
            unsafe {
                let count = (attr.batch.count as usize).min(room);
                self.keys.set_len(count);
                self.values.set_len(count);
            }
            self.position = Some(next);
        }
        result.map(drop)
    }
}
