//! The loaded programs, which one test hands to the next with empty maps: loading them again
//! would take the verifier longer than all the tests.

use std::{
    io,
    ops::{Deref, DerefMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    sync::Mutex,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, MapData},
    programs::{Program, SchedClassifier, TestRun, TestRunOptions, TestRunResult},
};
use sluice::dataplane::aya::load::OBJECT;
use sluice_common::backend::Backend;

/// Slots and backends of each family, which are moderate, so that emptying them is quick.
const ELEMENTS: u32 = 1024;
/// Flow entries of each family.
const FLOWS: u32 = 8192;
/// Slots: room for some Maglev tables.
pub const SLOTS: u32 = 32_768;

static IDLE: Mutex<Vec<Ebpf>> = Mutex::new(Vec::new());

/// Programs that are loaded, or will be when they are first wanted.
pub(super) struct Loaded {
    bpf: Option<Ebpf>,
    /// Whether they are for the next test.
    kept: bool,
}

impl Loaded {
    /// Programs whose maps are empty.
    pub(super) fn take() -> Self {
        let idle = IDLE.lock().expect("no test panics with it").pop();
        Self { bpf: Some(idle.unwrap_or_else(|| load(FLOWS))), kept: true }
    }

    /// Programs with a flow table of another size, which are nobody else's.
    pub(super) fn with_flows(flows: u32) -> Self {
        Self { bpf: Some(load(flows)), kept: false }
    }

    /// Runs the program `name` on a packet.
    pub(super) fn test_run(&mut self, name: &str, options: TestRunOptions<'_>) -> TestRunResult {
        let result = match self.program_mut(name).expect(name) {
            Program::Xdp(program) => {
                if program.fd().is_err() {
                    program.load().expect("the verifier's consent");
                }
                program.test_run(options)
            }
            _ => self.program(name).test_run(options),
        };
        result.expect("a test run")
    }

    /// The tc program `name`.
    pub(super) fn program(&mut self, name: &str) -> &mut SchedClassifier {
        let program: &mut SchedClassifier =
            self.program_mut(name).expect(name).try_into().expect(name);
        if program.fd().is_err() {
            program.load().expect("the verifier's consent");
        }
        program
    }
}

impl Deref for Loaded {
    type Target = Ebpf;

    fn deref(&self) -> &Ebpf {
        self.bpf.as_ref().expect("there until the end")
    }
}

impl DerefMut for Loaded {
    fn deref_mut(&mut self) -> &mut Ebpf {
        self.bpf.as_mut().expect("there until the end")
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let Some(mut bpf) = self.bpf.take().filter(|_| self.kept) else { return };
        for (name, map) in bpf.maps_mut() {
            empty(name, map);
        }
        if let Ok(mut idle) = IDLE.lock() {
            idle.push(bpf);
        }
    }
}

fn load(flows: u32) -> Ebpf {
    let mut loader = EbpfLoader::new();
    for family in ["V4", "V6"] {
        for (map, size) in
            [("SLOTS", SLOTS), ("BACKENDS", ELEMENTS), ("FLOWS", flows), ("AFFINITIES", 1024)]
        {
            loader.map_max_entries(format!("{map}_{family}").leak(), size);
        }
    }
    loader.load(OBJECT).expect("loading the programs")
}

/// Counters are left: tests look at how they grow.
fn empty(name: &str, map: &mut Map) {
    match (name, map) {
        (_, Map::HashMap(data) | Map::LruHashMap(data) | Map::LpmTrie(data)) => delete_all(data),
        ("BACKENDS_V4", map) => free::<4>(map),
        ("BACKENDS_V6", map) => free::<16>(map),
        _ => {}
    }
}

/// A backend without flags is none.
fn free<const N: usize>(map: &mut Map)
where
    Backend<N>: aya::Pod,
{
    let mut backends: Array<&mut MapData, Backend<N>> =
        Array::try_from(map).expect("an array of backends");
    for id in 0..ELEMENTS {
        let mut backend = backends.get(&id, 0).expect("a backend");
        if backend.flags != 0 {
            backend.flags = 0;
            backends.set(id, backend, 0).expect("a backend");
        }
    }
}

/// What the two commands below read of `union bpf_attr`.
#[repr(C)]
struct Attributes {
    map: u32,
    pad: u32,
    key: u64,
    next_key: u64,
}

const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
const BPF_MAP_GET_NEXT_KEY: libc::c_int = 4;

fn delete_all(map: &MapData) {
    let size = map.info().expect("the map's description").key_size();
    let mut key = vec![0_u8; size as usize];
    while first_key(map.fd().as_fd(), &mut key).is_ok() {
        let attributes = Attributes {
            map: map.fd().as_fd().as_raw_fd() as u32,
            pad: 0,
            key: key.as_ptr() as u64,
            next_key: 0,
        };
        bpf(BPF_MAP_DELETE_ELEM, &attributes).expect("deleting an element that is there");
    }
}

fn first_key(map: BorrowedFd<'_>, key: &mut [u8]) -> io::Result<()> {
    let next_key = key.as_mut_ptr() as u64;
    bpf(BPF_MAP_GET_NEXT_KEY, &Attributes { map: map.as_raw_fd() as u32, pad: 0, key: 0, next_key })
}

fn bpf(command: libc::c_int, attributes: &Attributes) -> io::Result<()> {
    // SAFETY: the attributes outlive the call, and the keys they point to are as long as the map's.
    let code = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<Attributes>(),
        )
    };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
