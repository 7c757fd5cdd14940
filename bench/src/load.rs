//! The closed loop: a fixed number of units of work are under way at any time, and each one that
//! ends makes room for the next. Nothing is retransmitted; a lost datagram is a failed unit.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use crate::message::Message;
use crate::socket::{Socket, wait};

/// A unit that got no answer for so long has failed.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often units are looked at for that.
const SWEEP: Duration = Duration::from_millis(100);

/// Where the server is and what it serves.
#[derive(Clone, Debug)]
pub struct Target {
    /// UDP address.
    pub address: SocketAddrV4,
    /// The served domain.
    pub domain: String,
}

/// One unit under way: its place in the window, and its number, which no other unit has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// 0 to window - 1.
    pub place: usize,
    /// Counted from 0 over all units of the run.
    pub serial: u64,
}

/// What a message meant for its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More is to come.
    Going,
    /// The unit is complete.
    Done,
    /// The server answered something else than it should.
    Failed,
}

/// A kind of work: the caller's side of each unit.
pub trait Work {
    /// The tag in every Call-ID of this run.
    fn run(&self) -> &str;
    /// Sends the unit's first request.
    fn begin(&mut self, unit: Unit, socket: &mut Socket) -> io::Result<()>;
    /// Takes a message that carries the unit's Call-ID.
    fn advance(
        &mut self,
        unit: Unit,
        message: Message<'_>,
        socket: &mut Socket,
    ) -> io::Result<Progress>;
}

/// The phones that are called, on a socket of their own.
pub trait Answering {
    /// Answers a request that the server has relayed.
    fn answer(
        &self,
        message: Message<'_>,
        from: SocketAddrV4,
        socket: &mut Socket,
    ) -> io::Result<()>;
}

/// How long the loop runs.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Units under way at any time.
    pub window: usize,
    /// No unit begins after this time.
    pub duration: Duration,
    /// No unit begins after this many.
    pub units_max: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Units that completed.
    pub done: u64,
    /// Units that failed, the unanswered included.
    pub failed: u64,
}

/// The Call-ID of a unit; `run` keeps apart what an earlier run left in the server.
pub fn call_id(run: &str, unit: Unit) -> String {
    format!("{run}.{}.{}", unit.place, unit.serial)
}

/// The unit that a Call-ID names.
pub fn unit_of(run: &str, call_id: &str) -> Option<Unit> {
    let (place, serial) = call_id.strip_prefix(run)?.strip_prefix('.')?.split_once('.')?;
    Some(Unit { place: place.parse().ok()?, serial: serial.parse().ok()? })
}

/// An address of 127.0.0.0/8, counted from a base.
pub fn source(base: Ipv4Addr, number: u64) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(base).wrapping_add(number as u32))
}

struct Place {
    serial: u64,
    since: Option<Instant>,
}

/// A loop over one socket, with another for the called phones where the work has any.
pub struct Loop<'a> {
    /// Where requests leave and answers come.
    pub socket: &'a mut Socket,
    /// The called phones.
    pub callees: Option<(&'a mut Socket, &'a dyn Answering)>,
}

impl Loop<'_> {
    /// Runs the plan to its end: units under way at the end of the time are still completed.
    pub fn drive(&mut self, work: &mut dyn Work, plan: &Plan) -> io::Result<Tally> {
        let (begun, mut tally) = (Instant::now(), Tally::default());
        let mut serial = 0;
        let mut places: Vec<Place> =
            (0..plan.window).map(|_| Place { serial: 0, since: None }).collect();
        let mut swept = begun;
        loop {
            let now = Instant::now();
            let more = now - begun < plan.duration;
            for (number, place) in places.iter_mut().enumerate() {
                if place.since.is_none() && more && serial < plan.units_max {
                    *place = Place { serial, since: Some(now) };
                    work.begin(Unit { place: number, serial }, self.socket)?;
                    serial += 1;
                }
            }
            self.socket.flush()?;
            if places.iter().all(|place| place.since.is_none()) {
                return Ok(tally);
            }
            self.rest()?;
            self.take(work, &mut places, &mut tally)?;
            if now - swept > SWEEP {
                swept = now;
                tally.failed += give_up(&mut places, now);
            }
        }
    }

    fn rest(&self) -> io::Result<()> {
        match &self.callees {
            Some((callees, _)) => wait(&[&*self.socket, &**callees], SWEEP),
            None => wait(&[&*self.socket], SWEEP),
        }
    }

    /// Everything that has arrived on both sockets.
    fn take(
        &mut self,
        work: &mut dyn Work,
        places: &mut [Place],
        tally: &mut Tally,
    ) -> io::Result<()> {
        if let Some((callees, answering)) = &mut self.callees {
            for (bytes, from) in arrived(callees)? {
                if let Some(message) = Message::new(&bytes) {
                    answering.answer(message, from, callees)?;
                }
            }
            callees.flush()?;
        }
        for (bytes, _) in arrived(self.socket)? {
            let Some(message) = Message::new(&bytes) else { continue };
            let unit = message.header("Call-ID").and_then(|id| unit_of(work.run(), id));
            let Some(unit) = unit else { continue };
            let Some(place) = places.get_mut(unit.place) else { continue };
            if place.serial != unit.serial || place.since.is_none() {
                continue;
            }
            match work.advance(unit, message, self.socket)? {
                Progress::Going => continue,
                Progress::Done => tally.done += 1,
                Progress::Failed => tally.failed += 1,
            }
            place.since = None;
        }
        Ok(())
    }
}

/// One batch from a socket, copied so that the socket is free for the answers.
fn arrived(socket: &mut Socket) -> io::Result<Vec<(Vec<u8>, SocketAddrV4)>> {
    let mut batch = Vec::new();
    socket.receive(|bytes, from| batch.push((bytes.to_vec(), from)))?;
    Ok(batch)
}

fn give_up(places: &mut [Place], now: Instant) -> u64 {
    let mut failed = 0;
    for place in places {
        if place.since.is_some_and(|since| now - since > PATIENCE) {
            place.since = None;
            failed += 1;
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_names_its_unit_and_no_other_runs() {
        let unit = Unit { place: 3, serial: 1_234_567 };
        let id = call_id("r1", unit);
        assert_eq!(unit_of("r1", &id), Some(unit));
        assert_eq!(unit_of("r2", &id), None);
        assert_eq!(unit_of("r1", "r1.x.1"), None);
    }

    #[test]
    fn sources_are_counted_over_octets() {
        assert_eq!(source(Ipv4Addr::new(127, 10, 0, 250), 10), Ipv4Addr::new(127, 10, 1, 4));
    }
}
