//! Room among the process's open files for the connections that the config allows: running out of
//! them would stop `accept` for everyone.

/// Descriptors for everything but connections: the store, listeners, the control socket.
const RESERVE: usize = 256;

/// Raises the process's own limit as far as it may, and returns how many of `wanted` connections
/// fit under it.
pub(super) fn make_room(wanted: usize) -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the system writes one `rlimit` to the address of ours.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return wanted;
    }
    let needed = (wanted + RESERVE) as libc::rlim_t;
    if limit.rlim_cur < needed {
        let raised = libc::rlimit { rlim_cur: needed.min(limit.rlim_max), ..limit };
        // SAFETY: the system reads one `rlimit` from the address of ours.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
            limit = raised;
        }
    }
    let fit = usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX).saturating_sub(RESERVE);
    if fit < wanted {
        tracing::warn!(
            wanted,
            fit,
            "limits.tcp_connections is more than this process may have open; raise its limit of \
             open files (LimitNOFILE= in systemd, ulimit -n)"
        );
    }
    wanted.min(fit).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modest_wish_is_granted_and_a_wild_one_cut_to_what_there_is() {
        assert_eq!(make_room(16), 16);
        assert!(make_room(usize::MAX / 4) < usize::MAX / 4);
    }
}
