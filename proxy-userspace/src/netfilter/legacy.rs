//! Legacy iptables' tables, read and replaced through the socket options that `iptables-legacy` uses
//! itself (linux/netfilter_ipv4/ip_tables.h).

use std::{
    ffi::c_int,
    fs::File,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::fcntl::{Flock, FlockArg};

use super::{
    Family,
    blob::{HOOKS, Table},
    chains::{Jump, Removal, TABLES},
};

/// What whoever changes legacy tables locks, and the variable that names another.
const LOCK: (&str, &str) = ("XTABLES_LOCKFILE", "/run/xtables.lock");
/// How long somebody else may hold the lock.
const LOCK_WITHIN: Duration = Duration::from_secs(10);

const NAME: usize = 32;
/// Bytes of `struct ipt_getinfo`, of `struct ipt_get_entries` and `struct xt_counters_info` before
/// what follows them, and of `struct ipt_replace`.
const INFO: usize = NAME + 4 * (1 + 2 * HOOKS + 2);
const HEAD: usize = 40;
const REPLACE: usize = 96;

/// Socket options: the same numbers for both families.
mod option {
    pub(super) const GET_INFO: i32 = 64;
    pub(super) const GET_ENTRIES: i32 = 65;
    pub(super) const SET_REPLACE: i32 = 64;
    pub(super) const SET_ADD_COUNTERS: i32 = 65;
}

/// What kube-proxy has in the tables of one family.
#[derive(Clone, Debug)]
pub struct Leftovers {
    /// The family.
    pub family: Family,
    /// By table: what is to go, and the rules that go with it from chains that stay.
    pub tables: Vec<(&'static str, Removal, Vec<Jump>)>,
}

impl Leftovers {
    /// Looks for them. Tables that this network namespace does not have are not made by looking.
    pub fn find(family: Family) -> io::Result<Self> {
        let mut tables = Vec::new();
        for table in instantiated(family) {
            let (removal, jumps) =
                Socket::open(family)?.read(table)?.leftovers(table).ok_or_else(unread)?;
            if !removal.chains.is_empty() || !removal.kept.is_empty() {
                tables.push((table, removal, jumps));
            }
        }
        Ok(Self { family, tables })
    }

    /// Removes what is kube-proxy's now, a table at a time, each in one step.
    pub fn remove(&self) -> io::Result<()> {
        if self.tables.iter().all(|(_, removal, _)| removal.chains.is_empty()) {
            return Ok(());
        }
        let _lock = lock()?;
        let socket = Socket::open(self.family)?;
        for (name, ..) in &self.tables {
            let table = socket.read(name)?;
            let (removal, _) = table.leftovers(name).ok_or_else(unread)?;
            let (rest, counters) = table.without(&removal).ok_or_else(unread)?;
            socket.replace(name, &rest, table.count)?;
            socket.add_counters(name, &counters)?;
        }
        Ok(())
    }
}

/// What the legacy nat table's chain serves, see [`Table::destinations`].
pub fn destinations(family: Family, chain: &str) -> io::Result<Vec<(Vec<u8>, u8, u16)>> {
    if !instantiated(family).contains(&"nat") {
        return Ok(Vec::new());
    }
    Ok(Socket::open(family)?.read("nat")?.destinations(chain))
}

fn unread() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's table could not be understood")
}

/// The tables that this network namespace has, of those that kube-proxy writes to. Asking the kernel
/// for another would make it.
fn instantiated(family: Family) -> Vec<&'static str> {
    let path = match family {
        Family::V4 => "/proc/thread-self/net/ip_tables_names",
        Family::V6 => "/proc/thread-self/net/ip6_tables_names",
    };
    // No such file: this kernel has no legacy tables.
    let names = std::fs::read_to_string(path).unwrap_or_default();
    TABLES.into_iter().filter(|table| names.lines().any(|name| name == *table)).collect()
}

/// The lock that iptables takes, too: between reading a table and replacing it, somebody else's change
/// would be lost. In a container without the host's /run there is none to take; then the kernel alone
/// notices most changes, by the number of entries.
fn lock() -> io::Result<Option<Flock<File>>> {
    let path = std::env::var_os(LOCK.0).map_or_else(|| PathBuf::from(LOCK.1), PathBuf::from);
    let mut file = match File::options().create(true).truncate(false).write(true).open(&path) {
        Ok(file) => file,
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::EROFS)) => {
            tracing::warn!(
                "changing legacy iptables tables without the lock {}: {e}",
                path.display()
            );
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    let deadline = Instant::now() + LOCK_WITHIN;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Some(lock)),
            Err((returned, nix::Error::EWOULDBLOCK)) if Instant::now() < deadline => {
                file = returned;
            }
            Err((_, error)) => return Err(error.into()),
        }
        sleep(Duration::from_millis(50));
    }
}

/// A socket that has the options. Of datagrams: a raw one would need CAP_NET_RAW.
struct Socket {
    fd: OwnedFd,
    family: Family,
}

impl Socket {
    fn open(family: Family) -> io::Result<Self> {
        let domain = match family {
            Family::V4 => libc::AF_INET,
            Family::V6 => libc::AF_INET6,
        };
        // SAFETY: the call takes three numbers.
        let fd = unsafe { libc::socket(domain, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call returned a new descriptor, which nobody else owns.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, family })
    }

    const fn level(&self) -> c_int {
        match self.family {
            Family::V4 => libc::IPPROTO_IP,
            Family::V6 => libc::IPPROTO_IPV6,
        }
    }

    fn get(&self, option: c_int, buffer: &mut [u8]) -> io::Result<()> {
        let mut length = buffer.len() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes, all of which are the buffer's.
        let result = unsafe {
            let value = buffer.as_mut_ptr().cast();
            libc::getsockopt(self.fd.as_raw_fd(), self.level(), option, value, &raw mut length)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn set(&self, option: c_int, buffer: &[u8]) -> io::Result<()> {
        let length = buffer.len() as libc::socklen_t;
        // SAFETY: the kernel reads `length` bytes, all of which are the buffer's; the pointer in it, if
        // there is one, is the caller's to keep valid, and both callers do.
        let result = unsafe {
            let value = buffer.as_ptr().cast();
            libc::setsockopt(self.fd.as_raw_fd(), self.level(), option, value, length)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Reads a table.
    fn read(&self, name: &str) -> io::Result<Table> {
        let mut info = [0; INFO];
        info[..name.len()].copy_from_slice(name.as_bytes());
        self.get(option::GET_INFO, &mut info)?;
        let word = |index: usize| {
            let at = NAME + 4 * index;
            u32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]])
        };
        let size = word(2 * HOOKS + 2);
        let mut answer = vec![0; HEAD + size as usize];
        answer[..name.len()].copy_from_slice(name.as_bytes());
        answer[NAME..NAME + 4].copy_from_slice(&size.to_ne_bytes());
        self.get(option::GET_ENTRIES, &mut answer)?;
        Ok(Table {
            family: self.family,
            valid_hooks: word(0),
            hook_entry: std::array::from_fn(|hook| word(1 + hook)),
            underflow: std::array::from_fn(|hook| word(1 + HOOKS + hook)),
            count: word(2 * HOOKS + 1),
            entries: answer.split_off(HEAD),
        })
    }

    /// Replaces a table that has `old_count` entries; the kernel refuses if it has another number.
    fn replace(&self, name: &str, table: &Table, old_count: u32) -> io::Result<()> {
        // The kernel hands the old counters out.
        let mut old = vec![[0_u64; 2]; old_count as usize];
        let mut message = vec![0; NAME];
        message[..name.len()].copy_from_slice(name.as_bytes());
        let words = [table.valid_hooks, table.count, table.entries.len() as u32];
        let offsets = table.hook_entry.iter().chain(&table.underflow).copied();
        for word in words.into_iter().chain(offsets).chain([old_count]) {
            message.extend(word.to_ne_bytes());
        }
        message.extend((old.as_mut_ptr() as usize).to_ne_bytes());
        debug_assert_eq!(message.len(), REPLACE);
        message.extend(&table.entries);
        // `old` lives until after the call.
        let result = self.set(option::SET_REPLACE, &message);
        drop(old);
        result
    }

    /// Gives the rules their counters back: a replaced table begins with zeros.
    fn add_counters(&self, name: &str, counters: &[[u64; 2]]) -> io::Result<()> {
        let mut message = vec![0; HEAD];
        message[..name.len()].copy_from_slice(name.as_bytes());
        message[NAME..NAME + 4].copy_from_slice(&(counters.len() as u32).to_ne_bytes());
        for counter in counters.iter().flatten() {
            message.extend(counter.to_ne_bytes());
        }
        self.set(option::SET_ADD_COUNTERS, &message)
    }
}
