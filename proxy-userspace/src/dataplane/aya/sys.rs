//! The few bpf(2) commands that aya does not offer by interface index, or not at all: links that
//! are created, replaced and looked at by number.

use std::{
    ffi::CString,
    io, mem,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use aya_obj::generated::{
    BPF_F_BEFORE, BPF_F_RDONLY, bpf_attach_type, bpf_attr, bpf_cmd, bpf_insn, bpf_link_info,
    bpf_link_type, bpf_map_info, bpf_prog_info, bpf_prog_type,
};

/// Where a link attaches its program.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// First at the tcx hook of an interface of this thread's network namespace.
    Tcx(u32),
    /// The XDP program of an interface of this thread's network namespace, with `XDP_FLAGS_…`.
    Xdp(u32, u32),
    /// At a cgroup.
    Cgroup(BorrowedFd<'a>),
}

/// What the kernel says of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Id of the link: the same as long as it lives, whatever program it holds.
    pub id: u32,
    /// Id of the program.
    pub program: u32,
    /// What it is attached to.
    pub place: Place,
}

/// What a link is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// An interface, by index; 0 when the interface is gone.
    Tcx(u32),
    /// An interface's XDP program, by index; 0 when the interface is gone.
    Xdp(u32),
    /// A cgroup, by id; 0 when the cgroup is gone.
    Cgroup(u64),
    /// Something that Sluice does not attach to.
    Other,
}

pub(super) fn attr() -> bpf_attr {
    // SAFETY: every member of the union is made of integers, for which all zeros is a value.
    unsafe { mem::zeroed() }
}

pub(super) fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i32> {
    let size = size_of::<bpf_attr>();
    // SAFETY: `attr` lives across the call, and every pointer in it does, as the callers below
    // keep what they point to in locals.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command as u32, attr as *mut bpf_attr, size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

fn bpf_fd(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    let fd = bpf(command, attr)?;
    // SAFETY: the command returned a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// BPF_LINK_CREATE.
pub fn link_create(
    program: BorrowedFd<'_>,
    target: Target<'_>,
    attach_type: bpf_attach_type,
) -> io::Result<OwnedFd> {
    let mut attr = attr();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    attr.link_create.attach_type = attach_type as u32;
    match target {
        Target::Tcx(ifindex) => {
            attr.link_create.__bindgen_anon_2.target_ifindex = ifindex;
            // "Before" without naming a program: before all of them.
            attr.link_create.flags = BPF_F_BEFORE;
        }
        Target::Xdp(ifindex, flags) => {
            attr.link_create.__bindgen_anon_2.target_ifindex = ifindex;
            attr.link_create.flags = flags;
        }
        Target::Cgroup(fd) => {
            attr.link_create.__bindgen_anon_2.target_fd = fd.as_raw_fd() as u32;
        }
    }
    bpf_fd(bpf_cmd::BPF_LINK_CREATE, &mut attr)
}

/// BPF_LINK_UPDATE: the next packet or call finds the new program.
pub fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = attr();
    attr.link_update.link_fd = link.as_raw_fd() as u32;
    attr.link_update.__bindgen_anon_1.new_prog_fd = program.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_LINK_UPDATE, &mut attr).map(drop)
}

/// BPF_LINK_DETACH (5.9, 73b11c2ab072): the hook is empty when this returns. Closing the last
/// reference detaches as well, but some time later.
pub fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = attr();
    attr.link_detach.link_fd = link.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_LINK_DETACH, &mut attr).map(drop)
}

/// BPF_OBJ_PIN.
pub fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attr = attr();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.bpf_fd = object.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_OBJ_PIN, &mut attr).map(drop)
}

/// BPF_OBJ_GET of something pinned; `read_only` goes for maps alone.
pub fn open(path: &Path, read_only: bool) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut attr = attr();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.file_flags = if read_only { BPF_F_RDONLY } else { 0 };
    bpf_fd(bpf_cmd::BPF_OBJ_GET, &mut attr)
}

/// BPF_OBJ_GET_INFO_BY_FD. `T` must be the kernel's structure for what `object` is.
pub(super) fn info<T: Copy>(object: BorrowedFd<'_>) -> io::Result<T> {
    // SAFETY: `T` is one of the kernel's info structures: integers only.
    let mut info: T = unsafe { mem::zeroed() };
    let mut attr = attr();
    attr.info.bpf_fd = object.as_raw_fd() as u32;
    attr.info.info_len = size_of::<T>() as u32;
    attr.info.info = &raw mut info as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info)
}

/// What a link is and where it hangs.
pub fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let raw: bpf_link_info = info(link)?;
    // SAFETY: the kernel filled the member that goes with `type_`; both are integers only.
    let place = unsafe {
        if raw.type_ == bpf_link_type::BPF_LINK_TYPE_TCX as u32 {
            Place::Tcx(raw.__bindgen_anon_1.tcx.ifindex)
        } else if raw.type_ == bpf_link_type::BPF_LINK_TYPE_XDP as u32 {
            Place::Xdp(raw.__bindgen_anon_1.xdp.ifindex)
        } else if raw.type_ == bpf_link_type::BPF_LINK_TYPE_CGROUP as u32 {
            Place::Cgroup(raw.__bindgen_anon_1.cgroup.cgroup_id)
        } else {
            Place::Other
        }
    };
    Ok(LinkInfo { id: raw.id, program: raw.prog_id, place })
}

/// Id of a map: the same for every descriptor and pin of it.
pub fn map_id(map: BorrowedFd<'_>) -> io::Result<u32> {
    info::<bpf_map_info>(map).map(|info| info.id)
}

/// Bytes of machine code of a program; 0 when the kernel interprets it.
pub fn jited_len(program: BorrowedFd<'_>) -> io::Result<u32> {
    info::<bpf_prog_info>(program).map(|info| info.jited_prog_len)
}

/// Ids of the links at a tcx hook of this thread's network namespace, in the order they run; 0
/// stands for a program without a link. EINVAL before 6.6 (e420bed02507), which has no tcx.
pub fn tcx_links(ifindex: u32, attach_type: bpf_attach_type) -> io::Result<Vec<u32>> {
    let (mut programs, mut links) = ([0_u32; 64], [0_u32; 64]);
    let mut attr = attr();
    attr.query.__bindgen_anon_1.target_ifindex = ifindex;
    attr.query.attach_type = attach_type as u32;
    attr.query.prog_ids = programs.as_mut_ptr() as u64;
    attr.query.link_ids = links.as_mut_ptr() as u64;
    attr.query.__bindgen_anon_2.count = links.len() as u32;
    bpf(bpf_cmd::BPF_PROG_QUERY, &mut attr)?;
    // SAFETY: the kernel wrote the count back into the same member.
    let count = unsafe { attr.query.__bindgen_anon_2.count } as usize;
    Ok(links[..count.min(links.len())].to_vec())
}

/// BPF_MAP_LOOKUP_BATCH (5.6, cb4d03ab499d) of an array from its beginning: how many values it
/// read. A call for each of a quarter million elements takes a second; this one, milliseconds.
pub fn read_array<T: aya::Pod>(map: BorrowedFd<'_>, values: &mut [T]) -> io::Result<usize> {
    let form: bpf_map_info = info(map)?;
    if (form.key_size as usize, form.value_size as usize) != (size_of::<u32>(), size_of::<T>()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut keys = vec![0_u32; values.len()];
    let mut last = 0_u32;
    let mut attr = attr();
    attr.batch.map_fd = map.as_raw_fd() as u32;
    attr.batch.out_batch = &raw mut last as u64;
    attr.batch.keys = keys.as_mut_ptr() as u64;
    attr.batch.values = values.as_mut_ptr() as u64;
    attr.batch.count = values.len() as u32;
    match bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr) {
        // The end of the map.
        Err(e) if e.raw_os_error() != Some(libc::ENOENT) => Err(e),
        // SAFETY: the kernel wrote the count back into the same member.
        Ok(_) | Err(_) => Ok(unsafe { attr.batch.count } as usize),
    }
}

/// BPF_MAP_UPDATE_BATCH (5.6, aa2e93b8e58e) of consecutive elements of an array.
pub fn write_array<T: aya::Pod>(map: BorrowedFd<'_>, start: u32, values: &[T]) -> io::Result<()> {
    let end = u32::try_from(values.len()).ok().and_then(|count| start.checked_add(count));
    let keys: Vec<u32> = (start..end.ok_or(io::ErrorKind::InvalidInput)?).collect();
    let mut attr = attr();
    attr.batch.map_fd = map.as_raw_fd() as u32;
    attr.batch.keys = keys.as_ptr() as u64;
    attr.batch.values = values.as_ptr() as u64;
    attr.batch.count = keys.len() as u32;
    bpf(bpf_cmd::BPF_MAP_UPDATE_BATCH, &mut attr).map(drop)
}

/// Loads a tiny program, to ask the kernel something.
pub fn load_program(kind: bpf_prog_type, instructions: &[bpf_insn]) -> io::Result<OwnedFd> {
    let license = c"GPL";
    let mut attr = attr();
    attr.__bindgen_anon_3.prog_type = kind as u32;
    attr.__bindgen_anon_3.insns = instructions.as_ptr() as u64;
    attr.__bindgen_anon_3.insn_cnt = instructions.len() as u32;
    attr.__bindgen_anon_3.license = license.as_ptr() as u64;
    bpf_fd(bpf_cmd::BPF_PROG_LOAD, &mut attr)
}

/// BPF_PROG_TEST_RUN on one packet: the program's return value.
pub fn test_run(program: BorrowedFd<'_>, packet: &[u8]) -> io::Result<i32> {
    let mut attr = attr();
    attr.test.prog_fd = program.as_raw_fd() as u32;
    attr.test.data_in = packet.as_ptr() as u64;
    attr.test.data_size_in = packet.len() as u32;
    attr.test.repeat = 1;
    bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr)?;
    // SAFETY: the kernel wrote the result into the same member.
    Ok(unsafe { attr.test.retval } as i32)
}
