//! Sluice's kernel programs: one entry point per hook, which decides nothing.
#![no_std]
#![no_main]

mod clock;
mod family;
mod flow;
mod lb;
mod maps;
mod nat;
mod packet;
mod settings;
mod socket;
mod tc;
mod verdict;
mod xdp;

use aya_ebpf::{
    macros::{cgroup_sock_addr, classifier, xdp as xdp_program},
    programs::{SockAddrContext, TcContext, XdpContext},
};
use packet::{cursor::Skb, frame::Frame};
use socket::address::Call;
use tc::{ETHERNET, HEADERLESS, UPPER};

/// Packets entering by a device with an Ethernet header.
#[classifier]
pub fn ingress(ctx: TcContext) -> i32 {
    verdict::for_tc(tc::enter(&Skb { raw: ctx.skb.skb }, ETHERNET))
}

/// Packets leaving by a device with an Ethernet header.
#[classifier]
pub fn egress(ctx: TcContext) -> i32 {
    verdict::for_tc(tc::leave(&Skb { raw: ctx.skb.skb }, ETHERNET))
}

/// Packets entering by a device above another instrumented one.
#[classifier]
pub fn ingress_upper(ctx: TcContext) -> i32 {
    verdict::for_tc(tc::enter(&Skb { raw: ctx.skb.skb }, UPPER))
}

/// Packets leaving by a device above another instrumented one.
#[classifier]
pub fn egress_upper(ctx: TcContext) -> i32 {
    verdict::for_tc(tc::leave(&Skb { raw: ctx.skb.skb }, UPPER))
}

/// Packets entering by a device without a link-layer header.
#[classifier]
pub fn ingress_l3(ctx: TcContext) -> i32 {
    verdict::for_tc(tc::enter(&Skb { raw: ctx.skb.skb }, HEADERLESS))
}

/// Packets leaving by a device without a link-layer header.
#[classifier]
pub fn egress_l3(ctx: TcContext) -> i32 {
    verdict::for_tc(tc::leave(&Skb { raw: ctx.skb.skb }, HEADERLESS))
}

/// Frames that reach an uplink.
#[xdp_program]
pub fn uplink(ctx: XdpContext) -> u32 {
    xdp::enter(&Frame::new(ctx.ctx))
}

/// An IPv4 socket connects.
#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    verdict::for_socket(socket::forward::connect4(&Call { raw: ctx.sock_addr }))
}

/// An IPv6 socket connects.
#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    verdict::for_socket(socket::forward::connect6(&Call { raw: ctx.sock_addr }))
}

/// An IPv4 socket sends a datagram to an address.
#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(ctx: SockAddrContext) -> i32 {
    verdict::for_socket(socket::forward::send4(&Call { raw: ctx.sock_addr }))
}

/// An IPv6 socket sends a datagram to an address.
#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(ctx: SockAddrContext) -> i32 {
    verdict::for_socket(socket::forward::send6(&Call { raw: ctx.sock_addr }))
}

/// An IPv4 socket asks where a datagram came from.
#[cgroup_sock_addr(recvmsg4)]
pub fn recvmsg4(ctx: SockAddrContext) -> i32 {
    socket::reverse::name4(&Call { raw: ctx.sock_addr })
}

/// An IPv6 socket asks where a datagram came from.
#[cgroup_sock_addr(recvmsg6)]
pub fn recvmsg6(ctx: SockAddrContext) -> i32 {
    socket::reverse::name6(&Call { raw: ctx.sock_addr })
}

/// An IPv4 socket asks whom it is connected to.
#[cgroup_sock_addr(getpeername4)]
pub fn getpeername4(ctx: SockAddrContext) -> i32 {
    socket::reverse::name4(&Call { raw: ctx.sock_addr })
}

/// An IPv6 socket asks whom it is connected to.
#[cgroup_sock_addr(getpeername6)]
pub fn getpeername6(ctx: SockAddrContext) -> i32 {
    socket::reverse::name6(&Call { raw: ctx.sock_addr })
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
