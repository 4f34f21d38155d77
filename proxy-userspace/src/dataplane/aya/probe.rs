//! What this kernel can do.

use std::{io, os::fd::AsFd};

use aya_obj::generated::{bpf_attach_type, bpf_insn, bpf_prog_type};

use super::{Error, sys};

/// What depends on the kernel's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// tcx links (6.6, e420bed02507); without them a clsact qdisc and a filter.
    pub tcx: bool,
    /// `bpf_l4_csum_replace` takes `BPF_F_IPV6` (6.16, ead7f9b8de65): goes into
    /// [`sluice_common::settings::flags::CSUM_IPV6`].
    pub csum_ipv6: bool,
    /// Programs become machine code. Without that everything works, slowly.
    pub jit: bool,
}

/// The loopback interface: index 1 in every network namespace.
const LOOPBACK: u32 = 1;

/// Asks the kernel, by trying.
pub fn features() -> Result<Features, Error> {
    let tcx = sys::tcx_links(LOOPBACK, bpf_attach_type::BPF_TCX_INGRESS);
    let program = sys::load_program(bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS, &csum_program())
        .map_err(|e| Error::os("loading a first small program", &e))?;
    let run = |e: io::Error| Error::os("running a first small program", &e);
    Ok(Features {
        tcx: tcx.is_ok(),
        csum_ipv6: sys::test_run(program.as_fd(), &[0; 64]).map_err(run)? == 0,
        jit: sys::jited_len(program.as_fd()).map_err(run)? > 0,
    })
}

/// `return bpf_l4_csum_replace(skb, 32, 0, 0, BPF_F_IPV6)`: changes nothing, and is refused by a
/// kernel that does not know the flag.
fn csum_program() -> [bpf_insn; 6] {
    const MOV_IMMEDIATE: u8 = 0xb7;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    const L4_CSUM_REPLACE: i32 = 11;
    const BPF_F_IPV6: i32 = 1 << 7;
    let set = |register, value| instruction(MOV_IMMEDIATE, register, value);
    [
        set(2, 32),
        set(3, 0),
        set(4, 0),
        set(5, BPF_F_IPV6),
        instruction(CALL, 0, L4_CSUM_REPLACE),
        instruction(EXIT, 0, 0),
    ]
}

fn instruction(code: u8, register: u8, imm: i32) -> bpf_insn {
    let registers = bpf_insn::new_bitfield_1(register, 0);
    bpf_insn { code, _bitfield_align_1: [], _bitfield_1: registers, off: 0, imm }
}

/// Cookie of this thread's network namespace: the socket hooks compare it
/// ([`sluice_common::settings::Settings::netns_cookie`]).
pub fn netns_cookie() -> Result<u64, Error> {
    use std::{net::UdpSocket, os::fd::AsRawFd};

    const SO_NETNS_COOKIE: libc::c_int = 71;
    let failed = |e: io::Error| Error::os("reading the network namespace's cookie", &e);
    let socket = UdpSocket::bind(("::", 0)).or_else(|_| UdpSocket::bind(("0.0.0.0", 0)));
    let socket = socket.map_err(failed)?;
    let mut cookie = 0_u64;
    let mut len = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the option's value is eight bytes, and `cookie` and `len` say and hold just that.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(failed(io::Error::last_os_error())) }
}
