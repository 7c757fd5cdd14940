//! One measurement and how several become one figure: the noisy are thrown away, the median of
//! the rest counts.

use std::io;
use std::time::Duration;

use crate::machine::{cores, speed_ns};

/// More of the machine than this used by others, and a repetition is done again.
const FOREIGN_MAX: f64 = 0.15;
/// Repetitions that may be thrown away.
const REDONE_MAX: usize = 2;

/// One repetition.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Server CPU time per unit, microseconds.
    pub micros: f64,
    /// Units per second of wall time.
    pub per_sec: f64,
    /// Units that failed.
    pub failed: u64,
    /// Share of the machine used by neither server nor load generator.
    pub foreign: f64,
    /// The fixed piece of work around it, nanoseconds.
    pub speed_ns: f64,
}

/// What the repetitions say together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figure {
    /// Medians; `failed` is the sum.
    pub median: Sample,
    /// (largest - smallest) / median of the microseconds.
    pub spread: f64,
}

/// Server CPU, the machine's and our own over a stretch of time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Server CPU.
    pub server: Duration,
    /// Load generator CPU.
    pub load: Duration,
    /// All cores, by whatever.
    pub busy: Duration,
    /// Wall time.
    pub wall: Duration,
}

impl Used {
    /// The sample of `units` units done and `failed` ones.
    pub fn sample(&self, units: u64, failed: u64) -> Sample {
        let ours = (self.server + self.load).as_secs_f64();
        let machine = self.wall.as_secs_f64() * f64::from(cores());
        Sample {
            micros: self.server.as_secs_f64() * 1e6 / units.max(1) as f64,
            per_sec: units as f64 / self.wall.as_secs_f64().max(1e-9),
            failed,
            foreign: ((self.busy.as_secs_f64() - ours) / machine.max(1e-9)).max(0.0),
            speed_ns: 0.0,
        }
    }
}

/// Measures `repetitions` times; a noisy one is replaced, at most twice in all.
pub fn repeat(
    repetitions: usize,
    mut measure: impl FnMut() -> io::Result<Sample>,
) -> io::Result<Figure> {
    let (mut samples, mut redone) = (Vec::new(), 0);
    while samples.len() < repetitions {
        let before = speed_ns()?;
        let mut sample = measure()?;
        sample.speed_ns = (before + speed_ns()?) / 2.0;
        if sample.foreign > FOREIGN_MAX && redone < REDONE_MAX {
            redone += 1;
            eprintln!("  noisy, again: {:.0} % foreign", sample.foreign * 100.0);
            continue;
        }
        samples.push(sample);
    }
    Ok(figure(&samples))
}

fn figure(samples: &[Sample]) -> Figure {
    let of = |field: fn(&Sample) -> f64| median(samples.iter().map(field).collect());
    let micros = of(|sample| sample.micros);
    let all = samples.iter().map(|sample| sample.micros);
    let (least, most) = (all.clone().fold(f64::MAX, f64::min), all.fold(0.0, f64::max));
    Figure {
        median: Sample {
            micros,
            per_sec: of(|sample| sample.per_sec),
            failed: samples.iter().map(|sample| sample.failed).sum(),
            foreign: of(|sample| sample.foreign),
            speed_ns: of(|sample| sample.speed_ns),
        },
        spread: (most - least) / micros.max(1e-9),
    }
}

/// The middle value, the mean of the two middle ones, or 0 of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_counts() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert_eq!(median(Vec::new()), 0.0);
    }

    #[test]
    fn a_figure_has_medians_the_sum_of_failures_and_the_spread() {
        let sample = |micros, failed| Sample { micros, failed, ..Sample::default() };
        let figure = figure(&[sample(10.0, 1), sample(12.0, 0), sample(11.0, 2)]);
        assert_eq!((figure.median.micros, figure.median.failed), (11.0, 3));
        assert!((figure.spread - 2.0 / 11.0).abs() < 1e-9);
    }

    #[test]
    fn cpu_per_unit_is_the_servers_alone() {
        let secs = Duration::from_secs;
        let used = Used { server: secs(1), load: secs(1), busy: secs(2), wall: secs(2) };
        let sample = used.sample(100_000, 0);
        assert_eq!((sample.micros, sample.per_sec, sample.foreign), (10.0, 50_000.0, 0.0));
    }
}
