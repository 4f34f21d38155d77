//! The programs on a real device: one end of a cable in a namespace of its own, whose other end the
//! test holds.

use std::{
    io::{Error, Read, Write},
    process::Command,
    time::{Duration, Instant},
};

use aya::programs::tc::{self, SchedClassifierLinkId, TcAttachType};
use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{Hook, Lab};

/// The end with the programs; it has the MAC address that test packets go to.
const INSIDE: &str = "inside";
/// The other end.
const OUTSIDE: &str = "outside";

/// How long the kernel may take to carry a frame.
const PATIENCE: Duration = Duration::from_secs(5);

/// A cable between a node's network stack and the test.
pub struct Cable {
    /// The programs on it, and their maps.
    pub lab: Lab,
    links: Vec<(Hook, SchedClassifierLinkId)>,
    inside: Socket,
    outside: Socket,
}

impl Cable {
    /// Runs a test in a namespace with a cable. `commands` are for `ip`, such as
    /// `addr add 10.244.1.2/24 dev inside`.
    pub fn lay(commands: &[&str], test: impl FnOnce(&mut Self) + Send) {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).expect("a namespace for this thread");
                test(&mut Self::new(commands));
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    }

    fn new(commands: &[&str]) -> Self {
        ip("link add inside address 02:00:00:00:00:02 type veth peer name outside");
        for device in ["lo", INSIDE, OUTSIDE] {
            ip(&format!("link set {device} up"));
        }
        for command in commands {
            ip(command);
        }
        // Before 6.6 programs are filters of this qdisc; later ones do without.
        tc::qdisc_add_clsact(INSIDE).expect("a clsact qdisc");
        let mut lab = Lab::new();
        let ends = [(Hook::Ingress, TcAttachType::Ingress), (Hook::Egress, TcAttachType::Egress)];
        let links = ends.map(|(hook, kind)| {
            (hook, lab.bpf.program(hook.name()).attach(INSIDE, kind).expect("attaching"))
        });
        Self { lab, links: links.into(), inside: tap(INSIDE), outside: tap(OUTSIDE) }
    }

    /// Lets a frame come from outside.
    pub fn arrive(&mut self, frame: &[u8]) {
        self.outside.write_all(frame).expect("sending a frame in");
    }

    /// Lets the node send a frame.
    pub fn leave(&mut self, frame: &[u8]) {
        self.inside.write_all(frame).expect("sending a frame out");
    }

    /// The next frame that came out and that the test takes for what it waits for.
    pub fn came_out<T>(&mut self, mut wanted: impl FnMut(&[u8]) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        let mut frame = [0; 2048];
        while Instant::now() < end {
            // A read that times out is the loop's affair.
            let length = self.outside.read(&mut frame).unwrap_or(0);
            if let Some(found) = wanted(&frame[..length]) {
                return found;
            }
        }
        panic!("no such frame came out");
    }
}

/// The programs go on to the next test, which may attach them to a device of the same index: where
/// there is no tcx, aya would take the two for one.
impl Drop for Cable {
    fn drop(&mut self) {
        for (hook, link) in self.links.drain(..) {
            if let Err(error) = self.lab.bpf.program(hook.name()).detach(link) {
                eprintln!("detaching {} from {INSIDE}: {error}", hook.name());
            }
        }
    }
}

/// A socket for the frames of a device.
fn tap(device: &str) -> Socket {
    let every = (libc::ETH_P_ALL as u16).to_be();
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(every))))
        .expect("a packet socket");
    let index = if_nametoindex(device).expect("a device");
    // SAFETY: the storage has room for every kind of address, and a zeroed `sockaddr_ll` is valid.
    let address = unsafe {
        SockAddr::try_init(|storage, length| {
            let link = storage.cast::<libc::sockaddr_ll>();
            (*link).sll_family = libc::AF_PACKET as u16;
            (*link).sll_protocol = every;
            (*link).sll_ifindex = index as i32;
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok::<_, Error>(())
        })
    };
    socket.bind(&address.expect("an address").1).expect("binding to a device");
    socket.set_read_timeout(Some(PATIENCE / 10)).expect("a timeout");
    socket
}

pub(super) fn ip(command: &str) {
    let output = Command::new("ip").args(command.split(' ')).output().expect("ip, of iproute2");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {command}: {}", error.trim());
}
