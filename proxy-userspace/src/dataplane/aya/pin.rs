//! Where maps and links stay while no controller runs: `<bpf-root>/sluice/v<ABI>/{maps,links}`.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{FsType, statfs},
};
use sluice_common::version::ABI;

use super::Error;

/// Where bpffs is mounted by default.
pub const DEFAULT_ROOT: &str = "/sys/fs/bpf";

const BPFFS: FsType = FsType(0xcafe_4a11);

/// A hook of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Packets that enter the node's network stack.
    Ingress,
    /// Packets that leave it.
    Egress,
}

impl Direction {
    /// Both hooks, egress first: a reply must find its way back before a first packet goes in.
    pub const ALL: [Self; 2] = [Self::Egress, Self::Ingress];

    /// The name in pins and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// The names of everything that is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    bpf_root: PathBuf,
}

impl Pins {
    /// The pins under a bpffs folder (`--bpf-root`).
    pub fn new(bpf_root: impl Into<PathBuf>) -> Self {
        Self { bpf_root: bpf_root.into() }
    }

    /// The bpffs folder.
    pub fn bpf_root(&self) -> &Path {
        &self.bpf_root
    }

    /// Everything of ours, of whatever version.
    pub fn all_versions(&self) -> PathBuf {
        self.bpf_root.join("sluice")
    }

    fn version(&self) -> PathBuf {
        self.all_versions().join(format!("v{ABI}"))
    }

    /// Folder of the maps.
    pub fn maps(&self) -> PathBuf {
        self.version().join("maps")
    }

    /// Folder of the links.
    pub fn links(&self) -> PathBuf {
        self.version().join("links")
    }

    /// A map.
    pub fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// The link of a tc program.
    pub fn tc_link(&self, ifindex: u32, direction: Direction) -> PathBuf {
        self.links().join(format!("tc-{ifindex}-{}", direction.name()))
    }

    /// The link of an uplink's XDP program, by the way in which the device runs it.
    pub fn xdp_link(&self, ifindex: u32, mode: &str) -> PathBuf {
        self.links().join(format!("xdp-{ifindex}-{mode}"))
    }

    /// The links of XDP programs that are pinned.
    pub fn xdp_links(&self) -> Vec<PathBuf> {
        let is_xdp = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("xdp-"))
        };
        entries(&self.links()).into_iter().filter(is_xdp).collect()
    }

    /// The link of a socket hook.
    pub fn cgroup_link(&self, program: &str) -> PathBuf {
        self.links().join(format!("cgroup-{program}"))
    }

    /// Interfaces that have a pinned link.
    pub fn tc_interfaces(&self) -> Vec<u32> {
        let mut found: Vec<u32> = entries(&self.links())
            .iter()
            .filter_map(|path| tc_interface(path.file_name()?))
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Makes the folders, on a bpffs that is mounted if it is not yet.
    pub fn prepare(&self) -> Result<(), Error> {
        self.mount()?;
        for folder in [self.maps(), self.links()] {
            let failed = |e: io::Error| Error::os(format!("creating {}", folder.display()), &e);
            fs::create_dir_all(&folder).map_err(failed)?;
        }
        Ok(())
    }

    /// Mounts a bpffs if there is none yet (A99): what needs CAP_SYS_ADMIN.
    pub fn mount(&self) -> Result<(), Error> {
        if is_bpffs(&self.bpf_root) {
            return Ok(());
        }
        let action = |what: &str| format!("{what} {}", self.bpf_root.display());
        fs::create_dir_all(&self.bpf_root).map_err(|e| Error::os(action("creating"), &e))?;
        mount(Some("bpf"), &self.bpf_root, Some("bpf"), MsFlags::empty(), None::<&str>).map_err(
            |e| {
                Error::new(action("mounting bpffs at"), e).advise(
                    "mount it on the host and into the container, or run `--init-only` with \
                     CAP_SYS_ADMIN first",
                )
            },
        )
    }
}

/// Whether a path lies on a BPF file system.
pub fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|fs| fs.filesystem_type() == BPFFS)
}

/// What a folder holds, in order; nothing when it is not there.
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(read) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = read.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// The interface in the name of a tc link.
fn tc_interface(name: &OsStr) -> Option<u32> {
    name.to_str()?.strip_prefix("tc-")?.split('-').next()?.parse().ok()
}

/// Removes a pin; that it is not there is fine.
pub fn unpin(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(Error::os(format!("removing {}", path.display()), &e))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_found_by_its_name() {
        let pins = Pins::new("/b");
        let path = pins.tc_link(17, Direction::Egress);
        assert_eq!(path, Path::new(&format!("/b/sluice/v{ABI}/links/tc-17-egress")));
        assert_eq!(path.file_name().and_then(tc_interface), Some(17));
        assert_eq!(tc_interface(OsStr::new("cgroup-connect4")), None);
        assert_eq!(tc_interface(OsStr::new("tc-x-ingress")), None);
    }
}
