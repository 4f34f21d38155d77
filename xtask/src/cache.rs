//! Where what was fetched or built once is kept: outside the clone, so that a second clone need
//! not do it again.

use std::{env, path::PathBuf};

use crate::cargo;

/// The folder of one thing, under a name that changes with what the thing was made from. The
/// variable `SLUICE_TOOLS` names another place for all of them.
pub(crate) fn folder(name: &str) -> PathBuf {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let user = || env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    env::var_os("SLUICE_TOOLS")
        .map(PathBuf::from)
        .or_else(|| Some(user()?.join("sluice/tools")))
        .map_or_else(|| cargo::root().join(".tools"), |tools| cargo::root().join(tools))
        .join(name)
}
