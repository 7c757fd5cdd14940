//! Which shard a datagram belongs to, decided by the kernel: a classic BPF program on the group
//! of sockets that share a port reads the source address, as `shard_of` does.
//!
//! The kernel's own choice hashes address and port, which would spread one source over all shards.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use libc::{
    BPF_A, BPF_ABS, BPF_ALU, BPF_B, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_MISC, BPF_MOD, BPF_RET,
    BPF_RSH, BPF_TAX, BPF_W, BPF_X, BPF_XOR, SKF_NET_OFF, sock_filter, sock_fprog,
};

/// Attaches the program to the group that `socket` is in.
///
/// The program answers with an index in order of binding; while fewer sockets are bound the
/// kernel falls back to its hash.
pub(super) fn steer(socket: &UdpSocket, shards: usize) -> io::Result<()> {
    let shards = u32::try_from(shards).map_err(io::Error::other)?;
    let mut program = program(shards);
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = sock_fprog { len, filter: program.as_mut_ptr() };
    // SAFETY: the descriptor is open, the option's value is one `sock_fprog` of the size given,
    // and its filter points at `len` instructions that live until the call has copied them.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of::<sock_fprog>() as libc::socklen_t,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// IPv4: the address modulo shards. IPv6: the two words of the /64 mixed, modulo shards.
fn program(shards: u32) -> [sock_filter; 12] {
    // The header's first octet carries the version; the IPv4 source is at 12, the IPv6 one at 8.
    let header = |offset: u32| (SKF_NET_OFF as u32).wrapping_add(offset);
    [
        operation(BPF_LD | BPF_B | BPF_ABS, header(0)),
        operation(BPF_ALU | BPF_RSH | BPF_K, 4),
        sock_filter { jt: 3, ..operation(BPF_JMP | BPF_JEQ | BPF_K, 6) },
        operation(BPF_LD | BPF_W | BPF_ABS, header(12)),
        operation(BPF_ALU | BPF_MOD | BPF_K, shards),
        operation(BPF_RET | BPF_A, 0),
        operation(BPF_LD | BPF_W | BPF_ABS, header(8)),
        operation(BPF_MISC | BPF_TAX, 0),
        operation(BPF_LD | BPF_W | BPF_ABS, header(12)),
        operation(BPF_ALU | BPF_XOR | BPF_X, 0),
        operation(BPF_ALU | BPF_MOD | BPF_K, shards),
        operation(BPF_RET | BPF_A, 0),
    ]
}

fn operation(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}
