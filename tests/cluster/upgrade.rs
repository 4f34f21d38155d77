//! Another build of `sluice`, made from the one under test: every program differs and does the same.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use sluice::dataplane::aya::load::OBJECT;

/// `dst = imm`, all 64 bits.
const MOV64: u8 = 0xb7;
/// `dst = imm`, the lower 32 bits; clears the upper ones.
const MOV32: u8 = 0xb4;
/// Bytes of an instruction. (A wide one has a second half, whose first byte is zero.)
const INSTRUCTION: usize = 8;

/// Writes the other build into a folder.
pub(crate) fn other_build(folder: &Path) -> Result<PathBuf> {
    let build = testbed::Sluice::build()?;
    let mut bytes = fs::read(&build).with_context(|| format!("reading {}", build.display()))?;
    let at = bytes
        .windows(64)
        .position(|window| window == &OBJECT[..64])
        .filter(|at| bytes[*at..].starts_with(OBJECT))
        .with_context(|| format!("{} has other programs than this test", build.display()))?;
    let changed = change(&mut bytes[at..at + OBJECT.len()]);
    ensure!(changed > 0, "no instruction could be changed");
    let path = folder.join("sluice");
    fs::write(&path, bytes)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// Replaces instructions by others that do the same: returns how many.
fn change(object: &mut [u8]) -> usize {
    let mut changed = 0;
    for code in code(object) {
        for instruction in object[code].chunks_exact_mut(INSTRUCTION) {
            // A negative number would be extended over all 64 bits.
            if instruction[0] == MOV64 && instruction[7] < 0x80 {
                instruction[0] = MOV32;
                changed += 1;
            }
        }
    }
    changed
}

/// Where an ELF object has instructions: sections of which the header says SHF_EXECINSTR.
fn code(object: &[u8]) -> Vec<std::ops::Range<usize>> {
    const SHF_EXECINSTR: usize = 4;
    let number = |at: usize, len: usize| {
        let bytes = &object[at..at + len];
        bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    let (table, size, count) = (number(0x28, 8), number(0x3a, 2), number(0x3c, 2));
    let sections = (0..count).map(|index| table + index * size);
    sections
        .filter(|at| number(at + 8, 8) & SHF_EXECINSTR != 0)
        .map(|at| {
            let start = number(at + 0x18, 8);
            start..start + number(at + 0x20, 8)
        })
        .collect()
}
