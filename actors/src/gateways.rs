//! The ways to the telephone network: in which order a number's gateways are tried, and which of
//! them work, as far as calls and probes have told. Pure: time and chance come as arguments.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::settings::Gateway;

/// Probes in a row that fail before a gateway counts as down. Each is an OPTIONS repeated like any
/// other request, so one lost may be a moment's trouble and two are not.
pub const PROBES_FAILED_MAX: u32 = 2;

/// Longer than any probe is under way: should its outcome be lost, another is sent.
const PROBE_LOST: Duration = Duration::from_secs(60);

/// The gateways that serve `number`, in the order to try them.
///
/// The longest matching prefix first. Among equals the order of the list, except that neighbours
/// with a weight are drawn by lot, each in proportion to its weight, as RFC 2782 does among
/// records of one priority; the first drawn is tried first. `draw(n)` is any of 0 to n - 1.
pub fn order<'a>(
    gateways: &'a [Gateway],
    number: &str,
    draw: &mut dyn FnMut(u64) -> u64,
) -> Vec<&'a Gateway> {
    let fitness = |gateway: &'a Gateway| Some((fitness(gateway, number)?, gateway));
    let mut fitting: Vec<(usize, &Gateway)> = gateways.iter().filter_map(fitness).collect();
    fitting.sort_by_key(|(length, _)| Reverse(*length));
    let by_lot = |one: &(usize, &Gateway), next: &(usize, &Gateway)| {
        one.0 == next.0 && one.1.weight.is_some() && next.1.weight.is_some()
    };
    fitting.chunk_by_mut(by_lot).for_each(|neighbours| draw_lots(neighbours, draw));
    fitting.into_iter().map(|(_, gateway)| gateway).collect()
}

/// The length of the longest prefix that the number begins with; `None`: not this gateway's.
fn fitness(gateway: &Gateway, number: &str) -> Option<usize> {
    let served = gateway.prefixes.iter().filter(|prefix| number.starts_with(*prefix));
    served.map(String::len).max().or(gateway.prefixes.is_empty().then_some(0))
}

/// Puts the gateways into a random order, heavier ones more often in front.
fn draw_lots(neighbours: &mut [(usize, &Gateway)], draw: &mut dyn FnMut(u64) -> u64) {
    let weight = |gateway: &Gateway| u64::from(gateway.weight.unwrap_or_default());
    for first in 0..neighbours.len().saturating_sub(1) {
        let rest = &mut neighbours[first..];
        let total: u64 = rest.iter().map(|(_, gateway)| weight(gateway)).sum();
        let mut lot = draw(total.max(1));
        let drawn = rest.iter().position(|(_, gateway)| match lot.checked_sub(weight(gateway)) {
            Some(left) => {
                lot = left;
                false
            }
            None => true,
        });
        rest[..=drawn.unwrap_or_default()].rotate_right(1);
    }
}

/// What is known of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayState {
    /// Its URI, as the settings write it.
    pub uri: Arc<str>,
    /// Whether calls are sent there.
    pub up: bool,
    /// Since when.
    pub since: Instant,
    /// Why it failed last, if it ever did.
    pub reason: Option<&'static str>,
    /// Probes in a row that failed.
    failed: u32,
    /// When the next probe is due.
    due: Instant,
    /// A probe is under way.
    probing: bool,
}

/// The state of every gateway in the settings, and no other: that bounds it.
#[derive(Debug, Default)]
pub struct Health {
    states: Vec<GatewayState>,
}

impl Health {
    /// Takes over the list in force: what stays keeps its state, what is new is taken to work and
    /// probed at once, what is gone is forgotten.
    pub fn keep<'a>(&mut self, uris: impl Iterator<Item = &'a str>, now: Instant) {
        let mut kept: Vec<GatewayState> = Vec::new();
        for uri in uris {
            if kept.iter().any(|state| &*state.uri == uri) {
                continue;
            }
            let known = self.states.iter().find(|state| &*state.uri == uri).cloned();
            kept.push(known.unwrap_or_else(|| GatewayState::new(uri, now)));
        }
        self.states = kept;
    }

    /// Every gateway, in the order of the settings.
    pub fn states(&self) -> &[GatewayState] {
        &self.states
    }

    /// Whether calls had better not be sent there.
    pub fn is_down(&self, uri: &str) -> bool {
        self.states.iter().any(|state| &*state.uri == uri && !state.up)
    }

    /// A call found it failing. Whether that is news.
    pub fn on_call_failed(&mut self, uri: &str, reason: &'static str, now: Instant) -> bool {
        self.find(uri).is_some_and(|state| state.go_down(reason, now))
    }

    /// A probe was not answered, or with a 503. Whether it went down for that.
    pub fn on_probe_failed(&mut self, uri: &str, reason: &'static str, now: Instant) -> bool {
        let Some(state) = self.find(uri) else { return false };
        state.probing = false;
        state.failed = state.failed.saturating_add(1);
        state.failed >= PROBES_FAILED_MAX && state.go_down(reason, now)
    }

    /// A call was answered there. Whether it was down.
    pub fn on_call_answered(&mut self, uri: &str, now: Instant) -> bool {
        self.find(uri).is_some_and(|state| state.come_up(now))
    }

    /// A probe was answered. Whether it was down.
    pub fn on_probe_answered(&mut self, uri: &str, now: Instant) -> bool {
        let Some(state) = self.find(uri) else { return false };
        state.probing = false;
        state.come_up(now)
    }

    /// The gateways to probe now; the next time comes `interval` later.
    pub fn take_due(&mut self, now: Instant, interval: Duration) -> Vec<Arc<str>> {
        let mut due = Vec::new();
        for state in &mut self.states {
            let waited = if state.probing { PROBE_LOST } else { Duration::ZERO };
            if state.due + waited <= now {
                (state.due, state.probing) = (now + interval, true);
                due.push(state.uri.clone());
            }
        }
        due
    }

    fn find(&mut self, uri: &str) -> Option<&mut GatewayState> {
        self.states.iter_mut().find(|state| &*state.uri == uri)
    }
}

impl GatewayState {
    fn new(uri: &str, now: Instant) -> Self {
        let (up, reason, failed, probing) = (true, None, 0, false);
        Self { uri: uri.into(), up, since: now, reason, failed, due: now, probing }
    }

    fn come_up(&mut self, now: Instant) -> bool {
        self.failed = 0;
        let was_down = !self.up;
        if was_down {
            (self.up, self.since) = (true, now);
        }
        was_down
    }

    fn go_down(&mut self, reason: &'static str, now: Instant) -> bool {
        self.reason = Some(reason);
        if self.up {
            (self.up, self.since) = (false, now);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(uri: &str, prefixes: &[&str], weight: Option<u32>) -> Gateway {
        let prefixes = prefixes.iter().map(ToString::to_string).collect();
        Gateway { uri: uri.to_owned(), prefixes, weight }
    }

    fn tried(gateways: &[Gateway], number: &str, lot: u64) -> Vec<String> {
        let mut draw = |below: u64| lot.min(below - 1);
        order(gateways, number, &mut draw).iter().map(|gateway| gateway.uri.clone()).collect()
    }

    #[test]
    fn without_weights_the_list_is_the_order() {
        let list = ["a", "b", "c"].map(|uri| gateway(uri, &[], None));
        assert_eq!(tried(&list, "+33123", 9), ["a", "b", "c"]);
    }

    #[test]
    fn the_longest_prefix_comes_first_and_the_shorter_ones_follow() {
        let list = [
            gateway("any", &[], None),
            gateway("france", &["+33", "+590"], None),
            gateway("mobile", &["+336", "+337"], None),
            gateway("britain", &["+44"], None),
        ];
        assert_eq!(tried(&list, "+33612345678", 0), ["mobile", "france", "any"]);
        assert_eq!(tried(&list, "+33123456789", 0), ["france", "any"]);
        assert_eq!(tried(&list, "+49301234567", 0), ["any"]);
        assert_eq!(tried(&list[1..], "+49301234567", 0), Vec::<String>::new());
    }

    #[test]
    fn weights_share_among_neighbours_and_one_without_stays_where_it_stands() {
        let list =
            [gateway("a", &[], Some(3)), gateway("b", &[], Some(1)), gateway("last", &[], None)];
        assert_eq!(tried(&list, "+33123", 0), ["a", "b", "last"]);
        assert_eq!(tried(&list, "+33123", 2), ["a", "b", "last"]);
        assert_eq!(tried(&list, "+33123", 3), ["b", "a", "last"]);
    }

    /// A small generator, for a proportion that is the same in every run.
    fn lots() -> impl FnMut(u64) -> u64 {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        move |below| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        }
    }

    #[test]
    fn calls_are_shared_in_proportion_to_the_weights() {
        const CALLS: usize = 60_000;
        let list = [("a", 1), ("b", 2), ("c", 3)];
        let list = list.map(|(uri, weight)| gateway(uri, &[], Some(weight)));
        let (mut draw, mut first, mut second) = (lots(), [0_usize; 3], [0_usize; 3]);
        for _ in 0..CALLS {
            let tried = order(&list, "+33123", &mut draw);
            let place = |at: usize| list.iter().position(|one| one.uri == tried[at].uri);
            first[place(0).expect("of the list")] += 1;
            second[place(1).expect("of the list")] += 1;
        }
        let near = |count: usize, share: f64| {
            let expected = CALLS as f64 * share;
            assert!((count as f64 - expected).abs() < 0.02 * CALLS as f64, "{count} {expected}");
        };
        for (count, share) in first.into_iter().zip([1.0 / 6.0, 2.0 / 6.0, 3.0 / 6.0]) {
            near(count, share);
        }
        // b is second after a with 2/5 of a's sixth, after c with 2/3 of c's half.
        near(second[1], 1.0 / 6.0 * 2.0 / 5.0 + 3.0 / 6.0 * 2.0 / 3.0);
    }

    #[test]
    fn every_lot_gives_each_gateway_once() {
        let list = [("a", 1), ("b", 1_000), ("c", 7), ("d", 1)];
        let list = list.map(|(uri, weight)| gateway(uri, &[], Some(weight)));
        let mut draw = lots();
        for _ in 0..1_000 {
            let mut uris: Vec<&str> =
                order(&list, "+1", &mut draw).iter().map(|one| one.uri.as_str()).collect();
            uris.sort_unstable();
            assert_eq!(uris, ["a", "b", "c", "d"]);
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    fn health(now: Instant) -> Health {
        let mut health = Health::default();
        health.keep(["a", "b"].into_iter(), now);
        health
    }

    #[test]
    fn one_failed_call_or_two_failed_probes_take_a_gateway_down() {
        let now = Instant::now();
        let mut health = health(now);
        assert!(!health.is_down("a"), "nothing is known against it");
        assert!(health.on_call_failed("a", "503", now));
        assert!(!health.on_call_failed("a", "503", now), "no news");
        assert!(!health.on_probe_failed("b", "no answer", now));
        assert!(!health.is_down("b"));
        assert!(health.on_probe_failed("b", "no answer", now + MINUTE));
        let state = &health.states()[1];
        let expected = (false, now + MINUTE, Some("no answer"));
        assert_eq!((state.up, state.since, state.reason), expected);
    }

    #[test]
    fn any_answer_brings_it_back_and_starts_the_count_anew() {
        let now = Instant::now();
        let mut health = health(now);
        health.on_probe_failed("a", "no answer", now);
        assert!(!health.on_probe_answered("a", now), "it was not down");
        assert!(!health.on_probe_failed("a", "no answer", now), "the first in a row");
        assert!(health.on_probe_failed("a", "no answer", now));
        assert!(health.on_call_answered("a", now + MINUTE));
        let state = &health.states()[0];
        assert_eq!((state.up, state.since), (true, now + MINUTE));
        assert_eq!(state.reason, Some("no answer"), "the last failure stays to be read");
    }

    #[test]
    fn probes_are_due_at_once_then_by_the_interval_and_never_two_at_a_time() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut health = health(now);
        assert_eq!(health.take_due(now, second).len(), 2);
        health.on_probe_answered("a", now);
        assert_eq!(health.take_due(now, second).len(), 0);
        let due: Vec<_> = health.take_due(now + second, second);
        assert_eq!(due, ["a".into()], "b's is under way");
        assert_eq!(health.take_due(now + 2 * MINUTE, second).len(), 2, "an outcome was lost");
    }

    #[test]
    fn another_list_keeps_what_stays_and_forgets_the_rest() {
        let now = Instant::now();
        let mut health = health(now);
        health.on_call_failed("a", "503", now);
        health.on_call_failed("b", "503", now);
        health.keep(["c", "a", "c"].into_iter(), now + MINUTE);
        let seen: Vec<_> = health.states().iter().map(|one| (&*one.uri, one.up)).collect();
        assert_eq!(seen, [("c", true), ("a", false)]);
        assert!(!health.on_call_failed("b", "503", now), "it is no gateway any more");
    }
}
