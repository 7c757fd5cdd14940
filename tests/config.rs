//! The config file as an operator meets it: the shipped one loads, and whatever is wrong is refused
//! with file, line, column and key path.

use std::path::{Path, PathBuf};

use rempart::config::ranges::{RANGES, Range, Ranged};
use rempart::config::{Config, schema};
use serde_json::{Map, Value, json};

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn shipped_text() -> String {
    std::fs::read_to_string(shipped("config.json")).expect("config.json is shipped")
}

fn refused(text: &str) -> String {
    match Config::parse(text, Path::new("config.json")) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_shipped_config_is_the_defaults() {
    let config = Config::parse(&shipped_text(), Path::new("config.json")).expect("it loads");
    assert_eq!(config, Config::default());
    assert_eq!(Config::parse("{}", Path::new("config.json")), Ok(Config::default()));
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let config = Config::load(&shipped("config.json")).expect("it loads");
    assert_eq!(config.storage.folder(), Some(shipped("data").as_path()));
    assert_eq!(config.control, shipped("data/control.sock"));
}

#[test]
fn the_shipped_schema_is_that_of_the_types() {
    let file = shipped("config.schema.json");
    if std::env::var_os("REMPART_WRITE_SCHEMA").is_some() {
        std::fs::write(&file, schema::text()).expect("the schema is writable");
    }
    let stored = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        stored == schema::text(),
        "config.schema.json is old; run REMPART_WRITE_SCHEMA=1 cargo test --test config"
    );
}

/// A config with an object in every place that can hold one.
fn full() -> Value {
    let mut config: Value = serde_json::from_str(&shipped_text()).expect("JSON");
    config["domains"] = json!(["sip.example.org"]);
    config["trusted"] = json!([{ "net": "192.0.2.1", "port": 5060, "transport": "tcp" }]);
    config["auth"]["domains"] = json!({ "sip.example.org": { "algorithms": ["SHA-256", "MD5"] } });
    config["routing"]["pstn"]["gateways"] =
        json!([{ "uri": "sip:192.0.2.1", "prefixes": ["+33"], "weight": 2 }]);
    config["tls"]["profiles"] = json!([{ "server": "192.0.2.1:5061" }]);
    config
}

/// The paths of all objects in which keys are fixed.
fn objects(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if path != "/auth/domains" {
                found.push(path.to_owned());
            }
            for (key, value) in map {
                objects(value, &format!("{path}/{key}"), found);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                objects(value, &format!("{path}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// `/trusted/0/port` as errors write it: `trusted[0].port`.
fn key_path(pointer: &str) -> String {
    let mut path = String::new();
    for step in pointer.split('/').skip(1) {
        match step.parse::<usize>() {
            Ok(index) => path.push_str(&format!("[{index}]")),
            Err(_) if path.is_empty() => path.push_str(step),
            Err(_) => path.push_str(&format!(".{step}")),
        }
    }
    path
}

#[test]
fn a_stray_key_in_any_object_is_refused_with_its_line() {
    let full = full();
    Config::parse(&full.to_string(), Path::new("config.json")).expect("the full config loads");
    let mut places = Vec::new();
    objects(&full, "", &mut places);
    assert!(places.len() > 20, "{places:?}");
    for place in places {
        let mut config = full.clone();
        let object = config.pointer_mut(&place).and_then(Value::as_object_mut).expect("an object");
        object.insert("stray".to_owned(), json!(1));
        let text = format!("{config:#}");
        let error = refused(&text);
        let line = 1 + text.lines().position(|line| line.contains("\"stray\"")).expect("a line");
        let path = key_path(&format!("{place}/stray"));
        let start = format!("config.json:{line}:");
        assert!(error.starts_with(&start), "{place}: {error}");
        assert!(error.contains(&format!(": {path}: unknown key; ")), "{place}: {error}");
    }
}

#[test]
fn a_repeated_key_in_any_object_is_refused() {
    let text = full().to_string();
    let twice = text.replacen("\"failures\":3", "\"failures\":3,\"failures\":4", 1);
    assert_ne!(text, twice);
    assert!(refused(&twice).contains(": guard.failures: stands twice"));
}

/// The config of one key: `{"trusted": [{"port": value}]}`.
fn config_of(ranged: &Ranged, value: &Value) -> Value {
    let keys: Vec<&str> = ranged.path.split('.').collect();
    keys.iter().rev().fold(value.clone(), |inner, key| {
        let (name, inner) = match key.strip_suffix("[]") {
            Some(name) => (name, json!([inner])),
            None => (*key, inner),
        };
        Value::Object(Map::from_iter([(name.to_owned(), inner)]))
    })
}

#[test]
fn every_ranged_key_is_refused_below_and_above() {
    for ranged in &RANGES {
        let beyond = match ranged.range {
            Range::Number(min, max) => {
                vec![json!(min - 1), json!(max + 1), json!(-1), json!(1e30)]
            }
            Range::Millis(min, max) => vec![
                json!(format!("{}ms", min - 1)),
                json!(format!("{}ms", max + 1)),
                json!(-1),
                json!(max),
            ],
        };
        for value in beyond {
            let error = refused(&config_of(ranged, &value).to_string());
            let path = ranged.path.replace("[]", "[0]");
            let expected = format!(": {path}: {value} is outside {}; ", ranged.range);
            assert!(error.starts_with("config.json:1:"), "{error}");
            assert!(error.contains(&expected), "{error}\n{expected}");
        }
    }
}

#[test]
fn every_number_and_duration_has_a_range() {
    let defaults = serde_json::to_value(Config::default()).expect("JSON");
    let mut unranged = Vec::new();
    numbers(&defaults, "", &mut unranged);
    unranged.retain(|path| RANGES.iter().all(|ranged| ranged.path != path));
    assert!(unranged.is_empty(), "{unranged:?}");
}

fn numbers(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                numbers(value, &path, found);
            }
        }
        Value::Number(_) => found.push(path.to_owned()),
        Value::String(text) if rempart::config::period::parse(text).is_some() => {
            found.push(path.to_owned());
        }
        _ => {}
    }
}

#[test]
fn errors_name_the_place_and_the_way_out() {
    for (text, expected) in [
        ("", "config.json:1:0: this is no JSON: EOF while parsing a value"),
        ("{\n  \"flood\": {\n", "config.json:3:0: this is no JSON: EOF"),
        ("{\n \"listen\": [],,\n}", "config.json:2:15: this is no JSON: "),
        ("3", "config.json:1:1: invalid type: integer `3`, expected struct Config"),
        ("[]", "config.json:1:1: no list belongs here"),
        ("{\"flood\": [20]}", "config.json:1:11: flood: no list belongs here"),
        ("{\"trusted\": [[\"::1\"]]}", "config.json:1:14: trusted[0]: no list belongs here"),
        (
            "{\n  \"flood\": {\n    \"requets\": 20\n  }\n}",
            "config.json:3:5: flood.requets: unknown key; did you mean \"requests\"?",
        ),
        (
            "{\n  \"flood\": {\n    \"requests\": 0\n  }\n}",
            "config.json:3:17: flood.requests: 0 is outside 1 to 1000000; to switch",
        ),
        ("{\"guard\": {\"mode\": \"on\"}}", "config.json:1:20: guard.mode: unknown variant `on`"),
        ("{\"timers\": {\"t1\": \"fast\"}}", "config.json:1:19: timers.t1: invalid value: string"),
        ("{\"timers\": {\"t1\": null}}", "config.json:1:19: timers.t1: invalid type: null"),
        ("{\"flood\": {\"requests\": 2.5}}", "config.json:1:24: flood.requests: invalid type"),
        ("{\"listen\": [\"udp:0.0.0.0\", \"x\"]}", "config.json:1:28: listen[1]: \"x\" is no list"),
        ("{\"trusted\": [{}]}", "config.json:1:14: trusted[0]: missing field `net`"),
        (
            "{\"routing\": {\"pstn\": {\"gateways\": [{\"uri\": \"sip:a\", \"wieght\": 1}]}}}",
            "config.json:1:53: routing.pstn.gateways[0].wieght: unknown key; did you mean",
        ),
        (
            "{\"routing\": {\"pstn\": {\"numbers\": \"(\"}}}",
            "config.json:1:34: routing.pstn.numbers: no regular expression: unclosed group",
        ),
        (
            "{\"advertise\": [null, \"a b\", null, null]}",
            "config.json:1:22: advertise[1]: \"a b\" is no host name or address",
        ),
        ("{\"tls\": {\"ca\": 3}}", "config.json:1:16: tls.ca: invalid type: integer `3`, expected"),
    ] {
        let error = refused(text);
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
}

#[test]
fn a_missing_file_says_how_to_get_one() {
    let error = Config::load(Path::new("no-such/config.json")).expect_err("no file");
    let text = error.to_string();
    assert!(text.starts_with("no-such/config.json: cannot read it: "), "{text}");
    assert!(text.contains("rempart init DOMAIN"), "{text}");
}

#[test]
fn r37_the_shipped_config_listens_for_tls_on_5061() {
    let config: Value = serde_json::from_str(&shipped_text()).expect("JSON");
    let listen = config["listen"].as_array().expect("a list");
    let tls: Vec<&str> =
        listen.iter().filter_map(Value::as_str).filter(|one| one.starts_with("tls:")).collect();
    assert_eq!(tls, ["tls:0.0.0.0:5061", "tls:[::]:5061"]);
}
