//! The files of a folder, each with its last good content.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
};

use super::parse::{self, Object};

/// A file as it was read last.
#[derive(Debug, Default)]
pub(super) struct File {
    /// The content that is in force.
    pub(super) objects: Vec<Object>,
    /// Why newer content is not.
    pub(super) broken: Option<String>,
    digest: Option<u64>,
}

/// A folder's files, by path.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    files: BTreeMap<PathBuf, File>,
}

impl Folder {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, files: BTreeMap::new() }
    }

    pub(super) fn files(&self) -> &BTreeMap<PathBuf, File> {
        &self.files
    }

    /// Reads what changed. On an error nothing is forgotten.
    pub(super) fn read(&mut self) -> io::Result<()> {
        let mut old = BTreeMap::new();
        let paths = list(&self.dir)?;
        std::mem::swap(&mut self.files, &mut old);
        for path in paths {
            let mut file = old.remove(&path).unwrap_or_default();
            file.refresh(&path);
            self.files.insert(path, file);
        }
        Ok(())
    }
}

impl File {
    /// A file read for the first time.
    #[cfg(test)]
    pub(super) fn read(path: &Path) -> Self {
        let mut file = Self::default();
        file.refresh(path);
        file
    }

    fn refresh(&mut self, path: &Path) {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.digest = None;
                self.broken = Some(format!("reading it failed: {error}; check its permissions"));
                return;
            }
        };
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let digest = Some(hasher.finish());
        if self.digest == digest {
            return;
        }
        self.digest = digest;
        match parse::objects(path, &bytes) {
            Ok(objects) => *self = Self { objects, broken: None, digest },
            Err(cause) => self.broken = Some(cause),
        }
    }
}

/// Hidden files are an editor's or a ConfigMap volume's own affair.
fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes()[0] == b'.');
        let suffix = path.extension().and_then(|suffix| suffix.to_str());
        if !hidden && matches!(suffix, Some("yaml" | "yml" | "json")) && !path.is_dir() {
            paths.push(path);
        }
    }
    Ok(paths)
}
