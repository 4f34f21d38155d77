//! Maglev tables, computed and written to SLOTS a thousand slots at a time.

use std::os::fd::{AsFd, OwnedFd};

use super::{
    Error,
    maps::{self, NAMES_V4, NAMES_V6},
    pin::Pins,
    sys,
};
use crate::{
    dataplane::WriteError,
    model::{built::checksum, maglev, plan::Build},
};

/// Writes tables. It may do so in a thread of its own: a range is written by one at a time, and no
/// frontend names it, or it holds the same table already.
#[derive(Debug)]
pub struct TableWriter {
    v4: OwnedFd,
    v6: OwnedFd,
}

impl TableWriter {
    /// Opens the pinned maps.
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        Ok(Self { v4: open(pins, NAMES_V4.slots)?, v6: open(pins, NAMES_V6.slots)? })
    }

    /// Computes and writes a table; returns its checksum.
    pub fn write(&self, build: &Build) -> Result<u64, WriteError> {
        let (map, fd) = match build.v6 {
            false => (NAMES_V4.slots, &self.v4),
            true => (NAMES_V6.slots, &self.v6),
        };
        let ids = maglev::table(&build.members);
        if ids.len() != build.range.len as usize {
            let cause = format!("a table of {} does not fit {:?}", ids.len(), build.range);
            return Err(WriteError::Failed { map, cause });
        }
        sys::write_array(fd.as_fd(), build.range.start, &ids)
            .map_err(|e| WriteError::Failed { map, cause: e.to_string() })?;
        Ok(checksum(ids.into_iter()))
    }
}

fn open(pins: &Pins, name: &str) -> Result<OwnedFd, Error> {
    // Its element's size is checked where the map is opened by its type.
    maps::array::<u32>(pins, name, true)?;
    let failed = |e| Error::os(format!("opening map {}", pins.map(name).display()), &e);
    sys::open(&pins.map(name), false).map_err(failed)
}
