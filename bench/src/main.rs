//! What a SIP server costs per unit of work: a load generator and a runner that measures
//! Rempart and Debian's Kamailio back to back on one machine. bench/README.md has the method.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Parser, Subcommand};

mod adapter;
mod digest;
mod flood;
mod floor;
mod load;
mod machine;
mod message;
mod report;
mod rows;
mod sample;
mod socket;
mod work;

use adapter::Adapter;
use floor::{Floor, Manner};
use load::Target;
use machine::{LOAD_CPU, pin};
use report::{Cell, Circumstances, Line};
use rows::{Row, Subject};
use sample::{Figure, median, repeat};

/// The served domain; nothing resolves it.
const DOMAIN: &str = "perf.test";

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Wanted,
}

#[derive(Subcommand)]
enum Wanted {
    /// Measures both servers, prints the table and writes the results
    Compare(Effort),
    /// Puts load on a server that runs already
    Load {
        /// What to do
        row: Row,
        /// UDP port on 127.0.0.1
        #[arg(long, default_value_t = 5060)]
        port: u16,
        /// Seconds
        #[arg(long, default_value_t = 5)]
        secs: u64,
        /// The server's pid, to measure its CPU time
        #[arg(long)]
        pid: Option<u32>,
    },
    /// Answers or drops datagrams and does nothing else
    #[command(hide = true)]
    Floor { manner: Manner, port: u16 },
}

#[derive(Parser)]
struct Effort {
    /// Rows to measure, all of them by default
    #[arg(long, value_delimiter = ',')]
    rows: Vec<Row>,
    /// Repetitions of each row and server
    #[arg(long, default_value_t = 3)]
    reps: usize,
    /// Seconds of each repetition
    #[arg(long, default_value_t = 4)]
    secs: u64,
    /// UDP port on 127.0.0.1 for the servers
    #[arg(long, default_value_t = 5160)]
    port: u16,
    /// Folder with the adapters rempart and kamailio
    #[arg(long, default_value = "bench/adapter")]
    adapters: PathBuf,
    /// Folder for the servers' files
    #[arg(long, default_value = "target/bench")]
    work: PathBuf,
    /// Where the results are written
    #[arg(long, default_value = "bench/results.md")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Wanted::Compare(effort) => compare(&effort),
        Wanted::Load { row, port, secs, pid } => load(row, port, secs, pid),
        Wanted::Floor { manner, port } => floor::run(port, manner).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn target(port: u16) -> Target {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    Target { address, domain: DOMAIN.into() }
}

/// One row against a running server; its figures on standard output.
fn load(row: Row, port: u16, secs: u64, pid: Option<u32>) -> io::Result<bool> {
    pin(LOAD_CPU)?;
    let pids = pid.map(machine::tree).unwrap_or_default();
    let subject = Subject { pids, target: target(port) };
    row.prepare(&subject)?;
    let sample = row.measure(&subject, Duration::from_secs(secs))?;
    println!(
        "{}: {:.2} us of server CPU, {:.0} per second, {} failed, {:.0} % of the machine foreign",
        row.title(),
        sample.micros,
        sample.per_sec,
        sample.failed,
        sample.foreign * 100.0
    );
    Ok(true)
}

/// The whole table; false when a row could not be measured.
fn compare(effort: &Effort) -> io::Result<bool> {
    pin(LOAD_CPU)?;
    let rows = if effort.rows.is_empty() { Row::ALL.to_vec() } else { effort.rows.clone() };
    let adapter = |name| Adapter::new(&effort.adapters, name, effort.port, DOMAIN);
    let (rempart, peer) = (adapter("rempart"), adapter("kamailio"));
    let about = circumstances(effort, &rempart, &peer);
    let answered = floor_of(effort, Manner::Answer)?;
    let dropped = floor_of(effort, Manner::Drop)?;
    let mut lines = Vec::new();
    for row in rows {
        let floor = row.floor(answered.median.micros, dropped.median.micros);
        let peer = cell(effort, &peer, row);
        let rempart = cell(effort, &rempart, row);
        lines.push(Line { row, rempart, peer, floor });
    }
    let speed = session_speed(&lines, &[answered, dropped]);
    print!("{}", report::table(&lines, speed));
    std::fs::write(&effort.out, report::page(&lines, speed, &about))?;
    Ok(lines.iter().all(|line| line.rempart.is_ok() && line.peer.is_ok()))
}

fn session_speed(lines: &[Line], floors: &[Figure]) -> f64 {
    let cells = lines.iter().flat_map(|line| [&line.rempart, &line.peer]);
    let figures = cells.filter_map(|cell| cell.as_ref().ok()).chain(floors);
    median(figures.map(|figure| figure.median.speed_ns).collect())
}

/// One server in one row: started fresh, measured, stopped.
fn cell(effort: &Effort, adapter: &Adapter, row: Row) -> Cell {
    eprintln!("{}: {}", row.title(), adapter.name());
    measured(effort, adapter, row).map_err(|error| {
        eprintln!("  {error}");
        error.to_string()
    })
}

fn measured(effort: &Effort, adapter: &Adapter, row: Row) -> io::Result<Figure> {
    let folder = std::path::absolute(&effort.work)?.join(adapter.name());
    let running = adapter.start(&folder, row.wants())?;
    let subject = Subject { pids: running.pids.clone(), target: target(effort.port) };
    row.prepare(&subject)?;
    let figure = repeat(effort.reps, || row.measure(&subject, Duration::from_secs(effort.secs)))?;
    let Figure { median, spread } = figure;
    eprintln!("  {:.2} us, spread {:.0} %", median.micros, spread * 100.0);
    Ok(figure)
}

fn floor_of(effort: &Effort, manner: Manner) -> io::Result<Figure> {
    eprintln!("floor: {manner:?}");
    let floor = Floor::start(effort.port, manner)?;
    let subject = Subject { pids: vec![floor.pid()], target: target(effort.port) };
    let row = if manner == Manner::Answer { Row::Options } else { Row::Banned };
    repeat(effort.reps, || row.measure(&subject, Duration::from_secs(effort.secs)))
}

fn circumstances(effort: &Effort, rempart: &Adapter, peer: &Adapter) -> Circumstances {
    // A server that cannot even say what it is shows as such in its cells.
    let said = |adapter: &Adapter| adapter.describe().unwrap_or_else(|error| error.to_string());
    Circumstances {
        machine: machine::description(),
        rempart: said(rempart),
        peer: format!("{}, 2 workers, plain allocator", said(peer)),
        commit: commit(),
        effort: format!("median of {} repetitions of {} s", effort.reps, effort.secs),
    }
}

/// The commit of the tree that this runs in.
fn commit() -> String {
    let words = ["describe", "--always", "--dirty", "--abbrev=12"];
    let output = Command::new("git").args(words).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".into())
}
