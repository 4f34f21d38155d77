//! The socket hooks at the root cgroup.

use std::{
    fs::{self, File},
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use aya_obj::generated::bpf_attach_type;

use super::{
    Error,
    load::Programs,
    pin::unpin,
    sys::{self, Place, Target},
};

/// Programs and their hooks. Answers are translated before questions, so the reverse ones go
/// first.
const HOOKS: [(&str, bpf_attach_type); 8] = [
    ("getpeername4", bpf_attach_type::BPF_CGROUP_INET4_GETPEERNAME),
    ("getpeername6", bpf_attach_type::BPF_CGROUP_INET6_GETPEERNAME),
    ("recvmsg4", bpf_attach_type::BPF_CGROUP_UDP4_RECVMSG),
    ("recvmsg6", bpf_attach_type::BPF_CGROUP_UDP6_RECVMSG),
    ("connect4", bpf_attach_type::BPF_CGROUP_INET4_CONNECT),
    ("connect6", bpf_attach_type::BPF_CGROUP_INET6_CONNECT),
    ("sendmsg4", bpf_attach_type::BPF_CGROUP_UDP4_SENDMSG),
    ("sendmsg6", bpf_attach_type::BPF_CGROUP_UDP6_SENDMSG),
];

/// Attaches every socket hook to a cgroup, or swaps the programs in the links of an earlier run.
pub fn attach(programs: &Programs, cgroup_root: &Path) -> Result<(), Error> {
    let opening = |e| {
        Error::os(format!("opening cgroup {}", cgroup_root.display()), &e)
            .advise("mount cgroup2, or name its root with --cgroup-root")
    };
    let cgroup = File::open(cgroup_root).map_err(opening)?;
    // The id of a cgroup is its inode number.
    let id = cgroup.metadata().map_err(opening)?.ino();
    for (name, attach_type) in HOOKS {
        let path = programs.pins.cgroup_link(name);
        let program = programs.fd(name)?;
        let old = sys::open(&path, false).ok();
        if let Some(link) = &old
            && sys::link_info(link.as_fd()).is_ok_and(|info| info.place == Place::Cgroup(id))
            && sys::link_update(link.as_fd(), program).is_ok()
        {
            continue;
        }
        let action = || format!("attaching {name} to {}", cgroup_root.display());
        let link = sys::link_create(program, Target::Cgroup(cgroup.as_fd()), attach_type)
            .map_err(|e| Error::os(action(), &e))?;
        unpin(&path)?;
        sys::pin(link.as_fd(), &path)
            .map_err(|e| Error::os(format!("pinning {}", path.display()), &e))?;
    }
    Ok(())
}

/// Attaches again if a hook is not where it was put (A93); says which were not.
pub fn restore(programs: &Programs, cgroup_root: &Path) -> Result<Vec<String>, Error> {
    let opening = |e| Error::os(format!("opening cgroup {}", cgroup_root.display()), &e);
    let id = fs::metadata(cgroup_root).map_err(opening)?.ino();
    let is_lost = |name: &str| {
        let link = sys::open(&programs.pins.cgroup_link(name), false);
        let info = link.and_then(|link| sys::link_info(link.as_fd()));
        !info.is_ok_and(|info| info.place == Place::Cgroup(id))
    };
    let lost: Vec<String> = HOOKS
        .iter()
        .filter(|(name, _)| is_lost(name))
        .map(|(name, _)| format!("the socket hook {name}"))
        .collect();
    if !lost.is_empty() {
        programs.pins.prepare()?;
        attach(programs, cgroup_root)?;
    }
    Ok(lost)
}

/// Removes the socket hooks: new connections of the host's processes take the tc path.
pub fn detach(programs: &Programs) -> Result<(), Error> {
    HOOKS.iter().try_for_each(|(name, _)| unpin(&programs.pins.cgroup_link(name)))
}

/// Where cgroup2 is mounted: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` beside version 1.
pub fn find_root() -> Result<PathBuf, Error> {
    let action = "looking for cgroup2 in /proc/self/mountinfo";
    let text = fs::read_to_string("/proc/self/mountinfo").map_err(|e| Error::os(action, &e))?;
    root_in(&text).ok_or_else(|| {
        Error::new(action, "it is not mounted").advise("mount it, or give --cgroup-root")
    })
}

/// The first cgroup2 mount of the whole tree; a bind mount of a part of it comes last.
fn root_in(mountinfo: &str) -> Option<PathBuf> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut fields = place.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        kind.starts_with("cgroup2 ").then(|| (root != "/", PathBuf::from(at)))
    });
    mounts.min_by_key(|(part, _)| *part).map(|(_, at)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
40 31 0:38 /pod /mnt rw,relatime - cgroup2 cgroup2 rw
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
";

    #[test]
    fn the_whole_tree_is_preferred() {
        assert_eq!(root_in(HYBRID), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(root_in("31 23 0:28 / /sys rw - sysfs sysfs rw"), None);
        assert_eq!(root_in("garbage\n\n"), None);
    }
}
