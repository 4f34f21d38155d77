//! The pair of tc programs on an interface.
//!
//! With tcx (6.6+) Sluice runs first at both hooks, whatever was there before, because a program
//! that ends the chain (TCX_PASS, TCX_DROP, TCX_REDIRECT) would otherwise hide packets from it. It
//! returns TCX_NEXT for all that it lets pass, so every other program still runs; at ingress they
//! see the backend as destination, as netfilter's users do after PREROUTING. Without tcx:
//! [`super::clsact`].

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use aya_obj::generated::bpf_attach_type;

use super::{
    Error, clsact,
    load::Programs,
    pin::{Direction, unpin},
    sys::{self, Place, Target},
};

/// An interface to attach to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// Without an Ethernet header.
    pub l3: bool,
    /// Above another device that carries the programs.
    pub upper: bool,
}

impl Device {
    /// Whether it carries the same programs as `other`.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.l3, self.upper) == (other.l3, other.upper)
    }

    /// The name of its program for one direction.
    pub(super) fn program(&self, direction: Direction) -> String {
        format!("{}{}", direction.name(), self.kind())
    }

    fn kind(&self) -> &'static str {
        match (self.l3, self.upper) {
            (true, _) => KINDS[1],
            (false, true) => KINDS[2],
            (false, false) => KINDS[0],
        }
    }
}

/// What a program's name ends with, after its direction.
const KINDS: [&str; 3] = ["", "_l3", "_upper"];

/// Whether some device of every node carries the program.
pub(super) fn is_everywhere(program: &str) -> bool {
    Direction::ALL.iter().any(|direction| direction.name() == program)
}

/// The names of the programs for one direction.
pub(super) fn names(direction: Direction) -> impl Iterator<Item = String> {
    KINDS.into_iter().map(move |kind| format!("{}{kind}", direction.name()))
}

const fn hook(direction: Direction) -> bpf_attach_type {
    match direction {
        Direction::Ingress => bpf_attach_type::BPF_TCX_INGRESS,
        Direction::Egress => bpf_attach_type::BPF_TCX_EGRESS,
    }
}

/// Ids of the links at a tcx hook, ours and others', in the order they run.
pub fn links_at(ifindex: u32, direction: Direction) -> Result<Vec<u32>, Error> {
    let failed = |e| Error::os(format!("asking interface {ifindex} for its programs"), &e);
    sys::tcx_links(ifindex, hook(direction)).map_err(failed)
}

/// Attaches both programs, or replaces the ones that an earlier run left, without a gap.
pub fn attach(programs: &mut Programs, tcx: bool, device: &Device) -> Result<(), Error> {
    for direction in Direction::ALL {
        let name = device.program(direction);
        programs.ensure(&name)?;
        if tcx {
            attach_tcx(programs, device, direction, &name)?;
        } else {
            clsact::attach(programs, device, direction, &name)?;
        }
    }
    Ok(())
}

/// Lets go of an interface that is gone, or no longer ours to serve.
pub fn detach(programs: &Programs, tcx: bool, device: &Device) -> Result<(), Error> {
    for direction in Direction::ALL {
        if tcx {
            unpin(&programs.pins.tc_link(device.ifindex, direction))?;
        } else {
            clsact::detach(&device.name, direction)?;
        }
    }
    Ok(())
}

/// Whether the programs of an interface are where they were put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// They are, or the interface is about to go.
    Attached,
    /// At least one is not: [`attach`] is to be called again.
    Lost,
    /// They are, but at this hook another program runs first.
    Behind(Direction),
}

/// Looks at an attached interface (A93).
pub fn state(programs: &mut Programs, tcx: bool, device: &Device) -> State {
    if !tcx {
        return clsact::state(programs, device);
    }
    let mut state = State::Attached;
    for direction in Direction::ALL {
        // Gone: netlink tells soon.
        let Ok(here) = sys::tcx_links(device.ifindex, hook(direction)) else {
            return State::Attached;
        };
        let path = programs.pins.tc_link(device.ifindex, direction);
        let link = sys::open(&path, false).and_then(|link| sys::link_info(link.as_fd()));
        match link {
            Ok(link) if here.first() == Some(&link.id) => {}
            Ok(link) if here.contains(&link.id) => state = State::Behind(direction),
            Ok(_) | Err(_) => return State::Lost,
        }
    }
    state
}

fn attach_tcx(
    programs: &Programs,
    device: &Device,
    direction: Direction,
    name: &str,
) -> Result<(), Error> {
    let path = programs.pins.tc_link(device.ifindex, direction);
    let program = programs.fd(name)?;
    if let Some(link) = pinned(&path, device.ifindex, direction)
        && sys::link_update(link.as_fd(), program).is_ok()
    {
        return Ok(());
    }
    unpin(&path)?;
    let failed = |e| Error::os(format!("attaching {} to {}", direction.name(), device.name), &e);
    let link = sys::link_create(program, Target::Tcx(device.ifindex), hook(direction));
    let link = link.map_err(failed)?;
    sys::pin(link.as_fd(), &path).map_err(|e| Error::os(format!("pinning {}", path.display()), &e))
}

/// The link of an earlier run, if it still is at this interface. An index is given away again, and
/// an interface may have moved to another namespace together with its link: so the interface is
/// asked as well.
fn pinned(path: &Path, ifindex: u32, direction: Direction) -> Option<OwnedFd> {
    let link = sys::open(path, false).ok()?;
    let info = sys::link_info(link.as_fd()).ok()?;
    let here = sys::tcx_links(ifindex, hook(direction)).ok()?;
    (info.place == Place::Tcx(ifindex) && here.contains(&info.id)).then_some(link)
}
