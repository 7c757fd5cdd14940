//! The rows of the table: what each asks of a server, and one repetition of it.

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::adapter::Wants;
use crate::flood::{Flooded, flood};
use crate::load::{Answering, Loop, Plan, Tally, Target, Work};
use crate::machine::{busy_time, cpu_time, drops};
use crate::sample::{Sample, Used};
use crate::socket::Socket;
use crate::work::{Call, Callees, Options, Phones, Register};

/// Ports of the load generator, fixed because contacts name them, and unusual because other
/// phones on the machine have theirs near 5060.
const CALLER_PORT: u16 = 5170;
const CALLEE_PORT: u16 = 5180;
const FLOOD_PORT: u16 = 5199;
/// The called phones stand behind the callers, user by user.
const CALLERS: u64 = 1000;
const FLOODER: Ipv4Addr = Ipv4Addr::new(127, 66, 0, 1);
/// Faster than any server here reads, so that its socket is never empty.
const FLOOD_PER_SEC: u64 = 100_000;

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Row {
    /// OPTIONS to the domain, 200.
    Options,
    /// REGISTER, 401, REGISTER, 200.
    Register,
    /// INVITE to BYE through the server between two registered users.
    Call,
    /// A datagram from an address that is banned.
    Banned,
}

/// A server that is measured: its processes and its address.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Every process whose time counts.
    pub pids: Vec<u32>,
    /// Where it answers.
    pub target: Target,
}

impl Row {
    /// All of them, in the table's order.
    pub const ALL: [Self; 4] = [Self::Options, Self::Register, Self::Call, Self::Banned];

    /// The first column.
    pub fn title(self) -> &'static str {
        match self {
            Self::Options => "OPTIONS answered",
            Self::Register => "digest registration",
            Self::Call => "authenticated call relayed",
            Self::Banned => "datagram from a banned source",
        }
    }

    /// What the server needs before it starts.
    pub fn wants(self) -> Wants {
        match self {
            Self::Options => Wants { users: 10, antiflood: false },
            Self::Register => Wants { users: 10_000, antiflood: false },
            Self::Call => Wants { users: 2 * CALLERS, antiflood: false },
            Self::Banned => Wants { users: 10, antiflood: true },
        }
    }

    /// The floor of this row, microseconds, from one answered and one dropped datagram.
    pub fn floor(self, answered: f64, dropped: f64) -> f64 {
        match self {
            Self::Options => answered,
            Self::Register => 2.0 * answered,
            Self::Call => 8.0 * answered,
            Self::Banned => dropped,
        }
    }

    /// Brings a started server into the state in which the row is measured, and checks it.
    pub fn prepare(self, subject: &Subject) -> io::Result<()> {
        match self {
            Self::Options | Self::Register => self.measure(subject, Duration::from_secs(1)),
            Self::Call => register_callees(&subject.target).map(|()| Sample::default()),
            Self::Banned => earn_a_ban(&subject.target).map(|()| Sample::default()),
        }
        .map(|_| ())
    }

    /// One repetition.
    pub fn measure(self, subject: &Subject, duration: Duration) -> io::Result<Sample> {
        let plan = Plan { window: 64, duration, units_max: u64::MAX };
        match self {
            Self::Options => closed(subject, &plan, None, |target| {
                Box::new(Options(phones(target, 0, 64, [127, 10, 0, 0])))
            }),
            Self::Register => closed(subject, &plan, None, |target| {
                Box::new(Register(phones(target, 0, 10_000, [127, 10, 0, 0])))
            }),
            Self::Call => {
                let plan = Plan { window: 32, ..plan };
                closed(subject, &plan, Some(&Callees), |target| {
                    let callers = phones(target, 0, CALLERS, [127, 10, 0, 0]);
                    Box::new(Call { callers, callees_first: CALLERS })
                })
            }
            Self::Banned => banned(subject, duration),
        }
    }
}

fn phones(target: &Target, first: u64, count: u64, base: [u8; 4]) -> Phones {
    let (target, base) = (target.clone(), base.into());
    Phones { target, first, count, base, run: run_tag() }
}

/// A tag that no earlier loop has used.
fn run_tag() -> String {
    use std::time::{SystemTime, UNIX_EPOCH};
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}", now.as_micros())
}

/// Time used by the server and by this process while `work` runs.
fn metered<T>(subject: &Subject, work: impl FnOnce() -> io::Result<T>) -> io::Result<(T, Used)> {
    let me = [std::process::id()];
    let before = (cpu_time(&subject.pids), cpu_time(&me), busy_time(), Instant::now());
    let done = work()?;
    let wall = before.3.elapsed();
    let used = Used {
        server: cpu_time(&subject.pids).saturating_sub(before.0),
        load: cpu_time(&me).saturating_sub(before.1),
        busy: busy_time().saturating_sub(before.2),
        wall,
    };
    Ok((done, used))
}

fn closed(
    subject: &Subject,
    plan: &Plan,
    answering: Option<&dyn Answering>,
    work: impl FnOnce(&Target) -> Box<dyn Work>,
) -> io::Result<Sample> {
    let mut socket = Socket::bind(CALLER_PORT)?;
    let mut callees = answering.map(|_| Socket::bind(CALLEE_PORT)).transpose()?;
    let mut work = work(&subject.target);
    let (tally, used): (Tally, Used) = metered(subject, || {
        let callees = callees.as_mut().zip(answering);
        Loop { socket: &mut socket, callees }.drive(work.as_mut(), plan)
    })?;
    if tally.done == 0 {
        return Err(io::Error::other(format!("no unit completed, {} failed", tally.failed)));
    }
    Ok(used.sample(tally.done, tally.failed))
}

/// The called users register from where they will be called.
fn register_callees(target: &Target) -> io::Result<()> {
    let mut socket = Socket::bind(CALLEE_PORT)?;
    let mut work = Register(phones(target, CALLERS, CALLERS, [127, 20, 0, 0]));
    let plan = Plan { window: 16, duration: Duration::from_secs(20), units_max: CALLERS };
    let tally = Loop { socket: &mut socket, callees: None }.drive(&mut work, &plan)?;
    match tally.done {
        CALLERS => Ok(()),
        done => Err(io::Error::other(format!("{done} of {CALLERS} callees registered"))),
    }
}

fn earn_a_ban(target: &Target) -> io::Result<()> {
    let mut socket = Socket::bind(FLOOD_PORT)?;
    let second = Duration::from_secs(1);
    flood(target, FLOODER, 2000, second, &mut socket)?;
    let after = flood(target, FLOODER, 100, second / 2, &mut socket)?;
    // A guard may leave a banned address a narrow way to prove itself: two challenges a second.
    if after.answered * 10 < after.sent {
        return Ok(());
    }
    let Flooded { sent, answered, .. } = after;
    Err(io::Error::other(format!("the flooder is not banned: {answered} of {sent} answered")))
}

fn banned(subject: &Subject, duration: Duration) -> io::Result<Sample> {
    let mut socket = Socket::bind(FLOOD_PORT)?;
    let port = subject.target.address.port();
    let before = drops(port);
    let (flooded, used) =
        metered(subject, || flood(&subject.target, FLOODER, FLOOD_PER_SEC, duration, &mut socket))?;
    // What the socket had no room for cost the server nothing.
    let handled = flooded.sent.saturating_sub(drops(port) - before);
    Ok(used.sample(handled, flooded.answered))
}
