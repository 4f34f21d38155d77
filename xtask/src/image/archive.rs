//! Tar archives that are the same bytes each time: no owner, no clock, entries as given.

use std::io::Write;

use anyhow::{Context, Result};
use tar::{Builder, EntryType, Header};

/// What a path of an archive is.
pub(super) enum Entry {
    /// A folder.
    Folder,
    /// A file with its mode.
    File(u32, Vec<u8>),
    /// A symbolic link, and where it leads.
    Link(&'static str),
}

/// Writes an archive of entries of the superuser, all as old as `time`.
pub(super) fn write<W: Write>(
    to: W,
    time: u64,
    entries: impl IntoIterator<Item = (String, Entry)>,
) -> Result<W> {
    let mut archive = Builder::new(to);
    for (path, entry) in entries {
        append(&mut archive, time, &path, &entry)
            .with_context(|| format!("writing {path} into an archive"))?;
    }
    archive.into_inner().context("ending an archive")
}

fn append<W: Write>(
    archive: &mut Builder<W>,
    time: u64,
    path: &str,
    entry: &Entry,
) -> std::io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    match entry {
        Entry::Folder => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            archive.append_data(&mut header, path, std::io::empty())
        }
        Entry::File(mode, bytes) => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(*mode);
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, path, bytes.as_slice())
        }
        Entry::Link(to) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            archive.append_link(&mut header, path, to)
        }
    }
}
