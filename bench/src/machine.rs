//! What the kernel tells: CPU time of a process tree, drops at a socket, how busy the machine
//! was besides, and how fast its core is just now.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::Duration;

use crate::digest::hash;

/// The core that a server under test has to itself.
pub const SERVER_CPU: usize = 0;
/// The core of the load generator.
pub const LOAD_CPU: usize = 1;
/// Kernel clock ticks per second, fixed for user space on Linux.
const TICKS_PER_SEC: f64 = 100.0;
/// How long the speed of a core is measured.
const SPEED_TIME: Duration = Duration::from_millis(60);

/// Binds this thread to one core.
pub fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: all zeroes is an empty set, CPU_SET stays inside it, and its size is passed.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A process with all its descendants.
pub fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for pid in numbers("/proc") {
        if let Some(parent) = fields_of_stat(pid).get(1).and_then(|field| field.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found
}

/// Run time of all threads of these processes, from /proc/PID/task/*/schedstat.
pub fn cpu_time(pids: &[u32]) -> Duration {
    let threads = pids.iter().flat_map(|pid| {
        numbers(&format!("/proc/{pid}/task"))
            .into_iter()
            .map(move |thread| format!("/proc/{pid}/task/{thread}/schedstat"))
    });
    let nanos = threads.filter_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Datagrams that the kernel dropped at the sockets on this port.
pub fn drops(port: u16) -> u64 {
    let table = fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let wanted = format!(":{port:04X}");
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = lines.filter(|fields| fields.get(1).is_some_and(|local| local.ends_with(&wanted)));
    ours.filter_map(|fields| fields.last()?.parse::<u64>().ok()).sum()
}

/// Time that all cores of the machine were busy since it started.
pub fn busy_time() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or("").split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, irq, softirq; idle and iowait stand between.
    let busy: f64 = [0, 1, 2, 5, 6].iter().filter_map(|place| ticks.get(*place)).sum();
    Duration::from_secs_f64(busy / TICKS_PER_SEC)
}

/// CPU nanoseconds of a fixed piece of work on the server's core: a slow moment shows. Time spent
/// waiting for the core is not in it, as it is not in a server's figure.
pub fn speed_ns() -> io::Result<f64> {
    pin(SERVER_CPU)?;
    let (begun, mut rounds) = (thread_time()?, 0u32);
    let mut used = Duration::ZERO;
    while used < SPEED_TIME {
        for _ in 0..1000 {
            let text = std::hint::black_box("0123456789abcdef0123456789abcdef:nonce:response");
            std::hint::black_box(hash(text));
        }
        rounds += 1000;
        used = thread_time()?.saturating_sub(begun);
    }
    pin(LOAD_CPU)?;
    Ok(used.as_nanos() as f64 / f64::from(rounds))
}

/// CPU time of this thread.
fn thread_time() -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that outlives the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let (secs, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Ok(Duration::from_secs(secs) + Duration::from_nanos(nanos))
}

/// Cores of the machine, whatever this thread is bound to.
pub fn cores() -> u32 {
    // SAFETY: sysconf only reads.
    let cores = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    u32::try_from(cores).unwrap_or(1)
}

/// Processor, cores and kernel in one line.
pub fn description() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, name)| name);
    let cores = cores();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}

fn numbers(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The fields of /proc/PID/stat after the command, which may itself hold spaces and brackets.
fn fields_of_stat(pid: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_time_and_is_its_own_tree() {
        let me = std::process::id();
        assert!(tree(me).contains(&me));
        assert!(cpu_time(&[me]) > Duration::ZERO);
        assert!(busy_time() > Duration::ZERO);
    }

    #[test]
    fn a_process_that_is_gone_has_used_nothing() {
        assert_eq!(cpu_time(&[u32::MAX]), Duration::ZERO);
    }
}
