//! The XDP program on the node's uplinks, and UPLINKS, which tells it of them.
//!
//! A device's entries are written when it carries the program, and deleted before it loses it: where
//! there is no entry, everything goes on to tc.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use aya_obj::generated::{XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE, bpf_attach_type};
use sluice_common::uplink::{Uplink, UplinkKey, modes};

use super::{
    Error,
    load::Programs,
    pin::{Pins, unpin},
    sys::{self, Place, Target},
    table::{Changes, Table},
};
use crate::{config::Xdp, node::uplinks::UplinkPlan};

/// XDP's program.
const PROGRAM: &str = "uplink";

/// How a device runs the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// In the driver.
    Native,
    /// In the network stack.
    Generic,
}

impl Mode {
    /// What `--xdp` asks for on an uplink. With `auto` a veth is left to tc: what XDP sends there
    /// is lost unless the other end, which is somebody else's, is prepared for it.
    fn wanted(xdp: Xdp, uplink: &UplinkPlan) -> Option<Self> {
        match xdp {
            Xdp::Off => None,
            Xdp::Auto if uplink.veth => None,
            Xdp::Auto | Xdp::Native => Some(Self::Native),
            Xdp::Generic => Some(Self::Generic),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    const fn flags(self) -> u32 {
        match self {
            Self::Native => XDP_FLAGS_DRV_MODE,
            Self::Generic => XDP_FLAGS_SKB_MODE,
        }
    }

    /// As UPLINKS has it.
    const fn value(self) -> u8 {
        match self {
            Self::Native => modes::NATIVE,
            Self::Generic => modes::GENERIC,
        }
    }
}

/// The uplinks that carry the program.
#[derive(Debug)]
pub(super) struct Uplinks {
    xdp: Xdp,
    attached: BTreeMap<u32, (String, Mode)>,
    /// Drivers that refused, with `auto`: they are not asked again.
    refused: BTreeSet<u32>,
    table: Table<UplinkKey, Uplink>,
}

impl Uplinks {
    /// None, and what an earlier run wrote of them.
    pub(super) fn open(pins: &Pins) -> Result<Self, Error> {
        Ok(Self {
            xdp: Xdp::Off,
            attached: BTreeMap::new(),
            refused: BTreeSet::new(),
            table: Table::open(pins, "UPLINKS")?,
        })
    }

    /// Decides where XDP is wanted.
    pub(super) fn set(&mut self, xdp: Xdp) {
        self.xdp = xdp;
    }

    /// Attaches and detaches, in this thread's network namespace; tells `note` of every step.
    pub(super) fn follow(
        &mut self,
        programs: &mut Programs,
        uplinks: &[UplinkPlan],
        note: &mut impl FnMut(String, Result<(), Error>),
    ) {
        let mut served = BTreeSet::new();
        let mut entries = BTreeMap::new();
        for uplink in uplinks {
            let Some(mode) = Mode::wanted(self.xdp, uplink) else { continue };
            match self.attach(programs, uplink, mode) {
                Ok(true) => {
                    served.insert(uplink.ifindex);
                    entries.extend(uplink.entries(mode.value()));
                }
                Ok(false) => {}
                Err(e) => note(format!("interface {}", uplink.name), Err(e)),
            }
        }
        note("uplinks".into(), self.table.follow(&entries, Changes::Write));
        self.attached.retain(|ifindex, _| served.contains(ifindex));
        let kept: BTreeSet<PathBuf> = self
            .attached
            .iter()
            .map(|(ifindex, (_, mode))| pin(programs, *ifindex, *mode))
            .collect();
        for path in programs.pins.xdp_links().iter().filter(|path| !kept.contains(*path)) {
            note("uplinks".into(), detach(path));
        }
    }

    /// Puts the program on a device, or the new one in the old one's place. Whether it runs there.
    fn attach(
        &mut self,
        programs: &mut Programs,
        uplink: &UplinkPlan,
        mode: Mode,
    ) -> Result<bool, Error> {
        let UplinkPlan { ifindex, name, .. } = uplink;
        if self.attached.get(ifindex).is_some_and(|(_, attached)| *attached == mode) {
            return Ok(true);
        }
        if self.refused.contains(ifindex) {
            return Ok(false);
        }
        programs.ensure(PROGRAM)?;
        let path = pin(programs, *ifindex, mode);
        let program = programs.fd(PROGRAM)?;
        let link = sys::open(&path, false);
        let updated = link.is_ok_and(|link| {
            is_at(*ifindex, &path) && sys::link_update(link.as_fd(), program).is_ok()
        });
        if !updated {
            // The one of another mode would be in the way.
            for other in [Mode::Native, Mode::Generic] {
                detach(&pin(programs, *ifindex, other))?;
            }
            let target = Target::Xdp(*ifindex, mode.flags());
            match sys::link_create(program, target, bpf_attach_type::BPF_XDP) {
                Ok(link) => sys::pin(link.as_fd(), &path)
                    .map_err(|e| Error::os(format!("pinning {}", path.display()), &e))?,
                Err(e) if self.xdp == Xdp::Auto => {
                    tracing::info!("no XDP on {name}, which tc serves: {e}");
                    self.refused.insert(*ifindex);
                    return Ok(false);
                }
                Err(e) => return Err(refusal(name, mode, &e)),
            }
        }
        tracing::info!(interface = name, mode = mode.name(), "XDP attached");
        self.attached.insert(*ifindex, (name.clone(), mode));
        Ok(true)
    }

    /// Looks whether the programs are where they were put; what is not is attached again by the
    /// next [`Self::follow`].
    pub(super) fn lost(&mut self, programs: &Programs) -> Vec<String> {
        let mut lost = Vec::new();
        self.attached.retain(|ifindex, (name, mode)| {
            let there = is_at(*ifindex, &pin(programs, *ifindex, *mode))
                || nix::net::if_::if_nametoindex(name.as_str()).is_err();
            if !there {
                lost.push(format!("the XDP program of {name}"));
            }
            there
        });
        lost
    }

    /// Takes over what the map really holds; says how many entries that changes.
    pub(super) fn reread(&mut self, pins: &Pins) -> Result<usize, Error> {
        self.table.reread(pins)
    }
}

fn pin(programs: &Programs, ifindex: u32, mode: Mode) -> PathBuf {
    programs.pins.xdp_link(ifindex, mode.name())
}

/// Whether the pinned link still holds the interface's program.
fn is_at(ifindex: u32, pin: &Path) -> bool {
    let link = sys::open(pin, false).and_then(|link| sys::link_info(link.as_fd()));
    link.is_ok_and(|link| link.place == Place::Xdp(ifindex))
}

/// Takes the program away at once, and the pin.
fn detach(pin: &Path) -> Result<(), Error> {
    if let Ok(link) = sys::open(pin, false) {
        // A link whose interface is gone is detached already.
        let _ = sys::link_detach(link.as_fd());
    }
    unpin(pin)
}

fn refusal(name: &str, mode: Mode, cause: &std::io::Error) -> Error {
    let error = Error::os(format!("attaching XDP to {name} ({})", mode.name()), cause);
    error.advise(match cause.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => {
            "remove the XDP program that is there (`ip link show` names it), or use --xdp=off"
        }
        _ => {
            "the driver may not have it, or only with a smaller MTU or fewer queues; use --xdp=off"
        }
    })
}
