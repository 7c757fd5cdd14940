//! The measurable house rules over the whole tree (CONTRIBUTING.md): sizes, names, openings,
//! and words that production code does without. Each rule is shown to find a planted fault.

use std::path::{Path, PathBuf};

const LINES_MAX: usize = 600;
const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;

/// File names that say nothing about what is in the file.
const VAGUE: [&str; 9] =
    ["utils", "util", "common", "helpers", "types", "models", "manager", "service", "misc"];

/// What no source file may hold; written in two halves so that this file holds none of it.
const BANNED: [&str; 8] = [
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("db", "g!("),
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
    concat!("#[ig", "nore"),
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
];

/// A source file and its text.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn planted(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// Code above the unit tests.
    fn production(&self) -> &str {
        let marks = self.text.match_indices("#[cfg(test)]\n");
        let opens = |at: usize| {
            let next = self.text[at..].lines().nth(1).unwrap_or("");
            next.contains("mod ") && next.ends_with('{')
        };
        let tests = marks.map(|(at, _)| at).find(|at| opens(*at)).unwrap_or(self.text.len());
        &self.text[..tests]
    }

    fn is_test(&self) -> bool {
        let parts = ["tests", "benches", "examples", "fuzz"];
        self.path.components().any(|part| parts.iter().any(|name| part.as_os_str() == *name))
            || self.path.file_stem().is_some_and(|stem| stem == "tests")
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the project, paths relative to its root.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for folder in ["src", "sip", "storage", "actors", "tests", "bench"] {
        collect(&root().join(folder), &mut found);
    }
    assert!(found.len() > 30, "the tree is there: {} files", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "target" {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file is UTF-8");
            let relative = path.strip_prefix(root()).unwrap_or(&path).to_path_buf();
            found.push(Source { path: relative, text });
        }
    }
}

/// Fails with every fault that the rule finds in the tree.
fn hold(rule: impl Fn(&Source) -> Vec<String>) {
    let faults: Vec<String> = sources()
        .iter()
        .flat_map(|source| {
            let found = rule(source).into_iter();
            found.map(|fault| format!("{}: {fault}", source.path.display())).collect::<Vec<_>>()
        })
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Shows that the rule finds what is wrong with this text.
fn finds(rule: impl Fn(&Source) -> Vec<String>, path: &str, text: &str) {
    assert!(!rule(&Source::planted(path, text)).is_empty(), "blind to: {text}");
}

fn long_files(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    (lines > LINES_MAX).then(|| format!("{lines} lines")).into_iter().collect()
}

#[test]
fn no_file_is_longer_than_600_lines() {
    finds(long_files, "x.rs", &"\n".repeat(601));
    hold(long_files);
}

fn wide_lines(source: &Source) -> Vec<String> {
    let numbered = source.text.lines().enumerate();
    let wide = numbered.filter(|(_, line)| line.chars().count() > COLUMNS_MAX);
    wide.map(|(number, _)| format!("line {} is too wide", number + 1)).collect()
}

#[test]
fn no_line_is_wider_than_100_columns() {
    finds(wide_lines, "x.rs", &"x".repeat(101));
    hold(wide_lines);
}

/// Name and length of every function with a body.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let starts = lines.iter().enumerate().filter_map(|(at, line)| Some((at, name_of(line)?)));
    starts.filter_map(|(at, name)| Some((name, length_from(&lines[at..])?))).collect()
}

/// The function that a line begins to define.
fn name_of(line: &str) -> Option<String> {
    let words = line.trim_start().split_inclusive("fn ").collect::<Vec<_>>();
    let [before, rest, ..] = words.as_slice() else { return None };
    let before = before.strip_suffix("fn ")?;
    let known = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern", "\"C\""];
    if !before.split_whitespace().all(|word| known.contains(&word)) {
        return None;
    }
    let name = rest.split(['(', '<']).next()?;
    Some(name.to_string())
}

/// Lines up to the brace that closes at the function's own indentation.
fn length_from(lines: &[&str]) -> Option<usize> {
    let first = lines.first()?;
    let indent = first.len() - first.trim_start().len();
    for (at, line) in lines.iter().enumerate() {
        let own = line.len() - line.trim_start().len() == indent;
        if line.trim_end().ends_with(';') && own {
            return None;
        }
        if (at == 0 || own) && line.trim_end().ends_with('}') {
            return Some(at + 1);
        }
    }
    None
}

fn long_functions(source: &Source) -> Vec<String> {
    let long = functions(&source.text).into_iter().filter(|(_, lines)| *lines > FUNCTION_LINES_MAX);
    long.map(|(name, lines)| format!("{name} has {lines} lines")).collect()
}

#[test]
fn no_function_is_longer_than_70_lines() {
    let long = format!("pub async fn long() {{\n{}}}\n", "    step();\n".repeat(70));
    finds(long_functions, "x.rs", &long);
    hold(long_functions);
}

#[test]
fn half_of_the_functions_have_under_10_lines_and_nine_in_ten_under_35() {
    let production = sources().into_iter().filter(|source| !source.is_test());
    let mut lengths: Vec<usize> = production
        .flat_map(|source| functions(source.production()))
        .map(|(_, lines)| lines)
        .collect();
    lengths.sort_unstable();
    assert!(lengths.len() > 100, "functions are found: {}", lengths.len());
    let (median, ninety) = (lengths[lengths.len() / 2], lengths[lengths.len() * 9 / 10]);
    assert!(median < 10, "median {median}");
    assert!(ninety < 35, "nine in ten {ninety}");
}

fn silent_openings(source: &Source) -> Vec<String> {
    let opens = source.text.starts_with("//! ");
    (!opens).then(|| "does not say what it is for".to_string()).into_iter().collect()
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    finds(silent_openings, "x.rs", "use std::fmt;\n");
    hold(silent_openings);
}

fn vague_names(source: &Source) -> Vec<String> {
    let stem = source.path.file_stem().unwrap_or_default();
    let vague = VAGUE.iter().filter(|name| stem == **name);
    vague.map(|name| format!("\"{name}\" says nothing")).collect()
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    finds(vague_names, "src/utils.rs", "");
    hold(vague_names);
}

fn banned_words(source: &Source) -> Vec<String> {
    let numbered = source.text.lines().enumerate();
    let found = numbered.flat_map(|(number, line)| {
        let words = BANNED.iter().filter(move |word| line.contains(**word));
        words.map(move |word| format!("line {}: {word}", number + 1))
    });
    found.collect()
}

#[test]
fn no_unfinished_work_no_skipped_test_no_path_of_one_machine() {
    for word in BANNED {
        finds(banned_words, "x.rs", &format!("    {word}"));
    }
    hold(banned_words);
}

/// Calls that turn a surprise into a panic.
fn panicking_calls(source: &Source) -> Vec<String> {
    if source.is_test() {
        return Vec::new();
    }
    let strict = source.path.starts_with("sip");
    let code = source.production().lines().enumerate();
    let code = code.filter(|(_, line)| !line.trim_start().starts_with("//"));
    let found = code.filter(|(_, line)| {
        line.contains(".unwrap()") || strict && (line.contains(".expect(") || has_panic(line))
    });
    found.map(|(number, line)| format!("line {}: {}", number + 1, line.trim())).collect()
}

/// What a const block or debug build checks cannot be reached from the network.
fn has_panic(line: &str) -> bool {
    ["panic!(", "unreachable!(", "assert!(", "assert_eq!("].iter().any(|call| {
        line.find(call)
            .is_some_and(|at| !line[..at].ends_with("debug_") && !line[..at].contains("const"))
    })
}

#[test]
fn production_code_does_not_unwrap_and_the_protocol_never_panics() {
    finds(panicking_calls, "src/x.rs", "    let a = b.unwrap();\n");
    finds(panicking_calls, "sip/src/x.rs", "    let a = b.expect(\"c\");\n");
    finds(panicking_calls, "sip/src/x.rs", "    unreachable!()\n");
    hold(panicking_calls);
}

/// Tests that wait for the clock on the wall.
fn sleeping_tests(source: &Source) -> Vec<String> {
    // The harness has the suite's only waits; crash.rs chooses the moment of death.
    let allowed = ["tests/harness/mod.rs", "tests/crash.rs"];
    if allowed.iter().any(|path| source.path == Path::new(path)) {
        return Vec::new();
    }
    let own = if source.is_test() { 0 } else { source.production().len() };
    let sleeps = source.text[own..].lines().filter(|line| line.contains(concat!("sle", "ep(")));
    sleeps.map(|line| format!("a test sleeps: {}", line.trim())).collect()
}

#[test]
fn no_test_sleeps() {
    finds(sleeping_tests, "tests/x.rs", concat!("thread::sle", "ep(one);"));
    let unit = concat!("#[cfg(test)]\nmod tests {\n    sle", "ep(one);\n}");
    finds(sleeping_tests, "sip/src/x.rs", unit);
    hold(sleeping_tests);
}

/// Dependencies that a protocol without sockets and clocks cannot have.
fn impure(manifest: &str) -> Vec<&str> {
    let names = ["actix", "tokio", "sled", "socket2", "mio", "hickory-resolver", "tracing"];
    let lines = manifest.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    lines.filter(|name| names.iter().any(|impure| name.starts_with(impure))).collect()
}

#[test]
fn the_protocol_knows_no_socket_no_clock_and_no_store() {
    assert!(!impure("tokio.workspace = true").is_empty());
    let manifest = std::fs::read_to_string(root().join("sip/Cargo.toml")).expect("sip/Cargo.toml");
    assert_eq!(impure(&manifest), Vec::<&str>::new());
    let storage = std::fs::read_to_string(root().join("storage/Cargo.toml"));
    let storage = storage.expect("storage/Cargo.toml");
    assert!(!storage.contains("actix"), "actix types stay out of storage/");
}

fn clocks(source: &Source) -> Vec<String> {
    if !source.path.starts_with("sip/src") {
        return Vec::new();
    }
    let calls = ["Instant::now()", "SystemTime::now()", "std::net::UdpSocket", "thread::spawn"];
    let found = calls.iter().filter(|call| source.production().contains(**call));
    found.map(|call| format!("{call} in the protocol")).collect()
}

#[test]
fn time_enters_the_protocol_as_an_argument() {
    finds(clocks, "sip/src/x.rs", "let now = Instant::now();");
    hold(clocks);
}

#[test]
fn versions_are_written_in_one_place() {
    for member in ["sip", "storage", "actors"] {
        let path = root().join(member).join("Cargo.toml");
        let manifest = std::fs::read_to_string(path).expect("a manifest");
        let own = manifest.lines().filter(|line| line.contains("version = \""));
        assert_eq!(own.collect::<Vec<_>>(), Vec::<&str>::new(), "{member}/Cargo.toml");
    }
}
