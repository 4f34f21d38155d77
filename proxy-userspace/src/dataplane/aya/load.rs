//! Loads the programs, on the maps that are pinned already or on new ones.
//!
//! Maps outlive the controller by their pins. Programs are loaded anew at every start, so that an
//! upgrade replaces them; the links that hold them are what is pinned, so they need no pin.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
};

use aya::{
    Ebpf, EbpfError, EbpfLoader, include_bytes_aligned,
    maps::{Map, MapData},
    programs::{Program, ProgramError},
};
use aya_obj::{EbpfSectionKind, Object};

use super::{Error, attach, pin::Pins, rights, sys};

/// The ELF object with every program and map, as build.rs compiled them.
pub static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sluice-ebpf"));

/// How to load.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A folder on bpffs (`--bpf-root`).
    pub bpf_root: PathBuf,
    /// Sizes that differ from [`sluice_common::limits`], by the map's name without `_V4`/`_V6`:
    /// `BACKENDS` → 65536.
    pub map_sizes: BTreeMap<String, u32>,
}

impl Options {
    /// The defaults, under this folder.
    pub fn new(bpf_root: impl Into<PathBuf>) -> Self {
        Self { bpf_root: bpf_root.into(), map_sizes: BTreeMap::new() }
    }

    fn size(&self, map: &str) -> Option<u32> {
        let family = map.strip_suffix("_V4").or_else(|| map.strip_suffix("_V6"));
        self.map_sizes.get(family.unwrap_or(map)).copied()
    }
}

/// The loaded programs.
#[derive(Debug)]
pub struct Programs {
    /// Where their maps and links are pinned.
    pub pins: Pins,
    ebpf: Ebpf,
}

impl Programs {
    /// The descriptor of a program.
    pub fn fd(&self, name: &str) -> Result<BorrowedFd<'_>, Error> {
        let missing = || Error::new(format!("finding program {name}"), "it is not in the object");
        let program = self.ebpf.program(name).ok_or_else(missing)?;
        let fd = program.fd().map_err(|e| Error::new(format!("using program {name}"), e))?;
        Ok(fd.as_fd())
    }

    /// Pins again the maps whose pins are gone (A93): without them a restart would begin with empty
    /// ones. Returns what was missing.
    pub fn repin(&self) -> Result<Vec<String>, Error> {
        let mut missing = Vec::new();
        for (name, map) in self.ebpf.maps() {
            let path = self.pins.map(name);
            // Names with a dot are the programs' own data.
            if name.starts_with('.') || path.exists() {
                continue;
            }
            self.pins.prepare()?;
            let failed = |e| Error::os(format!("pinning {}", path.display()), &e);
            sys::pin(map_fd(name, map)?, &path).map_err(failed)?;
            missing.push(format!("the pin of map {name}"));
        }
        Ok(missing)
    }

    /// Loads XDP's program, or the variant of a tc program that a kind of device needs, when the
    /// first such device appears: the verifier takes a fifth of a second for each.
    pub fn ensure(&mut self, name: &str) -> Result<(), Error> {
        match self.ebpf.program_mut(name) {
            Some(Program::SchedClassifier(program)) if program.fd().is_err() => {
                program.load().map_err(|e| verifying(name, &e))
            }
            Some(Program::Xdp(program)) if program.fd().is_err() => {
                program.load().map_err(|e| verifying(name, &e))
            }
            Some(_) => Ok(()),
            None => Err(Error::new(format!("loading program {name}"), "it is not in the object")),
        }
    }

    /// A program, to attach it through aya.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Program> {
        self.ebpf.program_mut(name)
    }
}

fn map_fd<'a>(name: &str, map: &'a Map) -> Result<BorrowedFd<'a>, Error> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LpmTrie(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data) => Ok(data.fd().as_fd()),
        other => Err(Error::new(format!("pinning map {name}"), format!("{other:?} has no pin"))),
    }
}

/// Loads what every node needs. Attaches nothing.
pub fn load(options: &Options) -> Result<Programs, Error> {
    let pins = Pins::new(&options.bpf_root);
    pins.prepare()?;
    let names = check_maps(&pins, options)?;
    let mut loader = EbpfLoader::new();
    for name in &names {
        loader.map_pin_path(name, pins.map(name));
        if let Some(size) = options.size(name) {
            loader.map_max_entries(name, size);
        }
    }
    let mut ebpf = loader.load(OBJECT).map_err(|e| loading(&e))?;
    for (name, program) in ebpf.programs_mut() {
        let result = match program {
            Program::SchedClassifier(_) if !attach::is_everywhere(name) => continue,
            Program::Xdp(_) => continue,
            Program::SchedClassifier(program) => program.load(),
            Program::CgroupSockAddr(program) => program.load(),
            other => {
                let kind = other.prog_type();
                return Err(Error::new(format!("loading program {name}"), format!("{kind:?}?")));
            }
        };
        result.map_err(|e| verifying(name, &e))?;
    }
    Ok(Programs { pins, ebpf })
}

/// Names of the maps to pin; fails if one is pinned with another layout, which aya would take
/// unseen.
fn check_maps(pins: &Pins, options: &Options) -> Result<Vec<String>, Error> {
    let object = Object::parse(OBJECT).map_err(|e| Error::new("reading the kernel programs", e))?;
    let mut names = Vec::new();
    for (name, map) in &object.maps {
        if !matches!(map.section_kind(), EbpfSectionKind::Maps | EbpfSectionKind::BtfMaps) {
            continue;
        }
        let wanted = Layout {
            map_type: map.map_type(),
            key_size: map.key_size(),
            value_size: map.value_size(),
            max_entries: options.size(name).unwrap_or_else(|| map.max_entries()),
        };
        check_map(pins, name, &wanted)?;
        names.push(name.clone());
    }
    Ok(names)
}

/// What two maps must have in common to be one.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

fn check_map(pins: &Pins, name: &str, wanted: &Layout) -> Result<(), Error> {
    let path = pins.map(name);
    if !path.exists() {
        return Ok(());
    }
    let action = || format!("reusing map {}", path.display());
    let failed = |e| Error::new(action(), e).advise("run `sluice cleanup` if it is not Sluice's");
    let info = MapData::from_pin(&path).and_then(|map| map.info()).map_err(failed)?;
    let found = Layout {
        map_type: info.map_type().map_err(failed)? as u32,
        key_size: info.key_size(),
        value_size: info.value_size(),
        max_entries: info.max_entries(),
    };
    if found == *wanted {
        return Ok(());
    }
    Err(Error::new(action(), format!("it has {found:?}, and {wanted:?} is wanted"))
        .advise("set the size back, or run `sluice cleanup` first, which interrupts services"))
}

fn loading(error: &EbpfError) -> Error {
    advised(Error::new("loading the kernel programs", chain(error)))
}

/// The verifier's log is long, and its end tells why.
fn verifying(name: &str, error: &ProgramError) -> Error {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        tracing::debug!("verifier log of {name}:\n{verifier_log}");
        let log = verifier_log.to_string();
        let lines: Vec<&str> = log.lines().rev().take(12).collect();
        let end = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
        return advised(Error::new(
            format!("loading program {name}"),
            format!("{io_error}\n{end}"),
        ));
    }
    advised(Error::new(format!("loading program {name}"), chain(error)))
}

fn advised(error: Error) -> Error {
    // Without CAP_PERFMON it is the verifier that refuses.
    if error.cause.contains("os error 1)") || rights::lacking() {
        return error.advise(rights::advice());
    }
    error
}

/// An error with its causes: aya's own words leave out the system's.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}
