//! Kernels before 6.6 have no tcx: a filter of ours in the clsact qdisc, which others may share.

use std::mem;

use aya::programs::{
    Program, ProgramError, SchedClassifier,
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcAttachType, TcError, TcHandle},
};

use super::{
    Error,
    attach::{Device, State, names},
    load::Programs,
    pin::Direction,
};

/// Before filters that others add without a wish of their own (those start at 49152 and count
/// down).
const PRIORITY: u16 = 10;
/// "sl": tells our filter from another at the same priority.
const HANDLE: TcHandle = TcHandle::new(0, 0x736c);

const fn hook(direction: Direction) -> TcAttachType {
    match direction {
        Direction::Ingress => TcAttachType::Ingress,
        Direction::Egress => TcAttachType::Egress,
    }
}

/// Adds the filter, or swaps the program of the one an earlier run left.
pub(super) fn attach(
    programs: &mut Programs,
    device: &Device,
    direction: Direction,
    program: &str,
) -> Result<(), Error> {
    let action = || format!("attaching {} to {}", direction.name(), device.name);
    // "Exists" is as good as success, and anything worse shows in the next step.
    if let Err(e) = tc::qdisc_add_clsact(&device.name) {
        tracing::trace!("clsact at {}: {e}", device.name);
    }
    let Some(Program::SchedClassifier(program)) = programs.get_mut(program) else {
        return Err(Error::new(action(), format!("there is no tc program {program}")));
    };
    let link = replace(program, &device.name, direction)
        .or_else(|_| add(program, &device.name, direction))
        .map_err(|e| Error::new(action(), e))?;
    // The filter stays when the controller goes; dropping the link would remove it.
    mem::forget(link);
    Ok(())
}

/// Whether our filters are still there. A filter cannot be looked at through aya; but it can be
/// given the program that it has, which fails without one, and no packet notices.
pub(super) fn state(programs: &mut Programs, device: &Device) -> State {
    for direction in Direction::ALL {
        let name = device.program(direction);
        let Some(Program::SchedClassifier(program)) = programs.get_mut(&name) else {
            return State::Lost;
        };
        match replace(program, &device.name, direction) {
            Ok(link) => mem::forget(link),
            // Without the interface there is nothing to attach to; netlink tells soon.
            Err(_) if nix::net::if_::if_nametoindex(device.name.as_str()).is_err() => {
                return State::Attached;
            }
            Err(_) => return State::Lost,
        }
    }
    State::Attached
}

fn add(
    program: &mut SchedClassifier,
    name: &str,
    direction: Direction,
) -> Result<SchedClassifierLink, ProgramError> {
    let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
    let id =
        program.attach_with_options(name, hook(direction), TcAttachOptions::Netlink(options))?;
    program.take_link(id)
}

fn replace(
    program: &mut SchedClassifier,
    name: &str,
    direction: Direction,
) -> Result<SchedClassifierLink, ProgramError> {
    let old = SchedClassifierLink::attached(name, hook(direction), PRIORITY, HANDLE, None)
        .map_err(TcError::IoError)?;
    let id = program.attach_to_link(old)?;
    program.take_link(id)
}

/// Removes our filter; the qdisc stays, others may use it.
pub(super) fn detach(name: &str, direction: Direction) -> Result<(), Error> {
    match SchedClassifierLink::attached(name, hook(direction), PRIORITY, HANDLE, None) {
        Ok(link) => match aya::programs::links::Link::detach(link) {
            Ok(()) => Ok(()),
            Err(e) => Err(Error::new(format!("detaching from {name}"), e)),
        },
        // The interface is gone, and its filters with it.
        Err(_) => Ok(()),
    }
}

/// Removes our filters of some directions from every interface of this thread's network namespace.
pub(super) fn detach_all(directions: &[Direction]) -> Result<(), Error> {
    let interfaces = nix::net::if_::if_nameindex()
        .map_err(|e| Error::new("listing the network interfaces", e))?;
    for interface in &interfaces {
        let name = interface.name().to_string_lossy();
        for &direction in directions {
            // By the name of our programs: a filter of another's at the same place is not ours.
            for program in names(direction) {
                if let Err(e) = tc::qdisc_detach_program(&name, hook(direction), &program) {
                    tracing::trace!("no filter {program} at {name}: {e}");
                }
            }
        }
    }
    Ok(())
}
