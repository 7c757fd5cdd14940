//! The table: on the terminal, and as bench/results.md with what it was measured on.

use std::fmt::Write;

use crate::rows::Row;
use crate::sample::Figure;

/// What one server cost in one row, or why that is not known.
pub type Cell = Result<Figure, String>;

/// One row with both servers.
pub struct Line {
    /// Which row.
    pub row: Row,
    /// Rempart's figure.
    pub rempart: Cell,
    /// The peer's.
    pub peer: Cell,
    /// Microseconds of the floor.
    pub floor: f64,
}

/// What stands above the table.
pub struct Circumstances {
    /// Processor, cores, kernel.
    pub machine: String,
    /// Rempart's version and settings.
    pub rempart: String,
    /// The peer's.
    pub peer: String,
    /// Commit of this tree.
    pub commit: String,
    /// Repetitions and seconds of each.
    pub effort: String,
}

const HEAD: [&str; 10] = [
    "server CPU per unit",
    "Rempart, us",
    "Kamailio, us",
    "Kamailio / Rempart",
    "floor, us",
    "Rempart / floor",
    "units/s, Rempart and Kamailio",
    "spread",
    "foreign",
    "failed",
];

/// The figures are brought to the speed that the machine had in the middle of the session.
fn at_speed(figure: &Figure, speed_ns: f64) -> f64 {
    let measured = figure.median.speed_ns;
    if measured > 0.0 { figure.median.micros * speed_ns / measured } else { figure.median.micros }
}

/// The table as Markdown, which is also readable on a terminal.
pub fn table(lines: &[Line], speed_ns: f64) -> String {
    let mut rows = vec![HEAD.map(String::from)];
    rows.extend(lines.iter().map(|line| cells(line, speed_ns)));
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        write_row(&mut text, row, &widths);
        if number == 0 {
            let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            let _ = writeln!(text, "| {} |", rule.join(" | "));
        }
    }
    text
}

fn write_row(text: &mut String, row: &[String], widths: &[usize]) {
    let padded = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
        if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    });
    // Writing to a String cannot fail.
    let _ = writeln!(text, "| {} |", padded.collect::<Vec<_>>().join(" | "));
}

fn cells(line: &Line, speed_ns: f64) -> [String; 10] {
    let micros = |cell: &Cell| cell.as_ref().ok().map(|figure| at_speed(figure, speed_ns));
    let (rempart, peer) = (micros(&line.rempart), micros(&line.peer));
    let ratio = |above: Option<f64>, below: Option<f64>| match (above, below) {
        (Some(above), Some(below)) if below > 0.0 => format!("{:.2}", above / below),
        _ => "-".into(),
    };
    let shown = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.2}"));
    let pair = |of: fn(&Figure) -> String| {
        let of = |cell: &Cell| cell.as_ref().map_or("-".into(), of);
        format!("{}, {}", of(&line.rempart), of(&line.peer))
    };
    [
        line.row.title().into(),
        shown(rempart),
        shown(peer),
        ratio(peer, rempart),
        shown(Some(line.floor).filter(|floor| *floor > 0.0)),
        ratio(rempart, Some(line.floor)),
        pair(|figure| format!("{:.0}", figure.median.per_sec)),
        pair(|figure| format!("{:.0} %", figure.spread * 100.0)),
        pair(|figure| format!("{:.0} %", figure.median.foreign * 100.0)),
        pair(|figure| figure.median.failed.to_string()),
    ]
}

/// The whole results.md.
pub fn page(lines: &[Line], speed_ns: f64, about: &Circumstances) -> String {
    let mut text = String::from("# Results of bench/run\n\n");
    let facts = [
        ("Machine", &about.machine),
        ("Commit", &about.commit),
        ("Rempart", &about.rempart),
        ("Peer", &about.peer),
        ("Effort", &about.effort),
    ];
    for (name, fact) in facts {
        let _ = writeln!(text, "- {name}: {fact}");
    }
    let _ = writeln!(text, "- Fixed piece of work: {speed_ns:.0} ns\n");
    text.push_str(&table(lines, speed_ns));
    for line in lines {
        for (name, cell) in [("Rempart", &line.rempart), ("Kamailio", &line.peer)] {
            if let Err(reason) = cell {
                let _ = writeln!(text, "\n{}, {name}: not measured: {reason}", line.row.title());
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;

    fn figure(micros: f64, speed_ns: f64) -> Figure {
        let median = Sample { micros, speed_ns, per_sec: 1000.0, ..Sample::default() };
        Figure { median, spread: 0.05 }
    }

    #[test]
    fn a_row_has_both_servers_their_ratio_and_the_floor() {
        let (rempart, peer) = (Ok(figure(6.0, 400.0)), Ok(figure(12.0, 400.0)));
        let line = Line { row: Row::Options, rempart, peer, floor: 4.0 };
        let row = table(&[line], 400.0).lines().last().map(String::from).expect("a row");
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells[1..7], ["OPTIONS answered", "6.00", "12.00", "2.00", "4.00", "1.50"]);
    }

    #[test]
    fn a_slow_moment_is_taken_out_of_the_figure() {
        assert_eq!(at_speed(&figure(12.0, 500.0), 400.0), 9.6);
    }

    #[test]
    fn what_could_not_be_measured_is_said() {
        let line = Line {
            row: Row::Call,
            rempart: Err("no unit completed".into()),
            peer: Ok(figure(1.0, 1.0)),
            floor: 0.0,
        };
        let about = Circumstances {
            machine: "m".into(),
            rempart: "r".into(),
            peer: "p".into(),
            commit: "c".into(),
            effort: "e".into(),
        };
        let page = page(&[line], 1.0, &about);
        let wanted = "authenticated call relayed, Rempart: not measured: no unit completed";
        assert!(page.contains(wanted), "{page}");
    }
}
