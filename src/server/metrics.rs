//! The admin listener: `/metrics` (Prometheus text), `/live` (the process runs) and `/ready` (it
//! serves). Plain HTTP/1.0 for one scraper at a time; it belongs on a private address.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tracing::{info, warn};

use super::live::LiveServer;
use crate::admin::StatusRow;

/// A request head longer than this is no scraper's.
const HEAD_MAX: usize = 4_096;

/// How long a scraper may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Serves until the task is dropped. A taken port is a warning: calls matter more than metrics.
pub async fn serve(address: SocketAddr, live: Rc<LiveServer>) {
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => return warn!(%address, %error, "no metrics: admin.listen is taken"),
    };
    info!(address = %listener.local_addr().unwrap_or(address), "metrics");
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            timeout(DEADLINE, answer(stream, &live)).await.ok();
        }
    }
}

async fn answer(mut stream: TcpStream, live: &LiveServer) {
    let mut head = vec![0; HEAD_MAX];
    let mut length = 0;
    while !head[..length].windows(2).any(|end| end == b"\r\n") && length < HEAD_MAX {
        match stream.read(&mut head[length..]).await {
            Ok(0) | Err(_) => return,
            Ok(read) => length += read,
        }
    }
    let (status, body) = match path(&head[..length]) {
        b"/metrics" => ("200 OK", metrics(&live.status_row().await, live.in_flight())),
        b"/live" | b"/ready" => ("200 OK", "ok\n".to_owned()),
        _ => ("404 Not Found", "/metrics /live /ready\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.0 {status}\r\nContent-Type: text/plain; version=0.0.4\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    // A scraper that has gone away misses nothing that the next one does not get.
    stream.write_all(head.as_bytes()).await.ok();
    stream.write_all(body.as_bytes()).await.ok();
    stream.shutdown().await.ok();
}

fn path(head: &[u8]) -> &[u8] {
    let mut words = head.split(|octet| *octet == b' ');
    if words.next() == Some(b"GET") { words.next().unwrap_or_default() } else { b"" }
}

/// The names of contract section 5. One family stands together under its type, as the text format
/// asks.
fn metrics(status: &StatusRow, in_flight: u64) -> String {
    let mut text = String::with_capacity(4_096);
    let gauges = [
        ("rempart_suspensions", status.suspensions),
        ("rempart_registrations", status.registrations),
        ("rempart_transactions", status.transactions),
        ("rempart_calls", status.calls),
        ("rempart_in_flight", in_flight),
        ("rempart_uptime_seconds", status.uptime_secs),
        ("process_resident_memory_bytes", resident_octets()),
    ];
    family(&mut text, "rempart_bans", "gauge");
    sample(&mut text, "rempart_bans{scope=\"source\"}", status.bans);
    family(&mut text, "rempart_decisions", "gauge");
    sample(&mut text, "rempart_decisions{ring=\"known\"}", status.decisions.known);
    sample(&mut text, "rempart_decisions{ring=\"strangers\"}", status.decisions.strangers);
    for (name, value) in gauges {
        family(&mut text, name, "gauge");
        sample(&mut text, name, value);
    }
    if !status.gateways.is_empty() {
        family(&mut text, "rempart_gateway_up", "gauge");
    }
    for gateway in &status.gateways {
        let uri = gateway.uri.replace('\\', "\\\\").replace('"', "\\\"");
        let series = format!("rempart_gateway_up{{gateway=\"{uri}\"}}");
        sample(&mut text, &series, u64::from(gateway.state == "up"));
    }
    let mut last = String::new();
    for (name, count) in &status.counters {
        let Some(series) = series(name) else { continue };
        let of = series.split('{').next().unwrap_or_default();
        if of != last {
            family(&mut text, of, "counter");
            of.clone_into(&mut last);
        }
        sample(&mut text, &series, *count);
    }
    text
}

fn family(text: &mut String, name: &str, kind: &str) {
    // Writing to a String cannot fail.
    writeln!(text, "# TYPE {name} {kind}").ok();
}

fn sample(text: &mut String, series: &str, value: u64) {
    writeln!(text, "{series} {value}").ok();
}

/// `request:METHOD:TRANSPORT`, `refusal:ID`, `shed:REASON` and some that stand alone as Prometheus
/// series. The bare totals
/// are sums of these, or of no use beside them.
fn series(name: &str) -> Option<String> {
    let mut parts = name.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("request"), Some(method), Some(transport)) => {
            Some(format!("rempart_requests_total{{method=\"{method}\",transport=\"{transport}\"}}"))
        }
        (Some("refusal"), Some(id), None) => {
            Some(format!("rempart_refusals_total{{reason=\"{id}\"}}"))
        }
        (Some("shed"), Some(reason), None) => {
            Some(format!("rempart_shed_total{{reason=\"{reason}\"}}"))
        }
        (Some("tls-reload-failures"), None, None) => Some("rempart_tls_reload_failures".to_owned()),
        _ => None,
    }
}

/// Resident memory in octets; 0 where the system does not tell.
fn resident_octets() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::GatewayRow;

    #[test]
    fn counters_become_the_contracts_series() {
        let requests = "rempart_requests_total{method=\"REGISTER\",transport=\"udp\"}";
        assert_eq!(series("request:REGISTER:udp").as_deref(), Some(requests));
        let refusals = "rempart_refusals_total{reason=\"not-relaying\"}";
        assert_eq!(series("refusal:not-relaying").as_deref(), Some(refusals));
        let shed = "rempart_shed_total{reason=\"in-flight\"}";
        assert_eq!(series("shed:in-flight").as_deref(), Some(shed));
        assert_eq!(series("requests"), None);
    }

    #[test]
    fn a_family_is_typed_once_however_many_series_it_has() {
        let counters = ["refusal:banned", "refusal:not-found", "shed:x"];
        let counters = counters.map(|name| (name.to_owned(), 1)).into();
        let text = metrics(&StatusRow { counters, ..StatusRow::default() }, 3);
        assert_eq!(text.matches("# TYPE rempart_refusals_total counter").count(), 1);
        assert!(text.contains("\nrempart_in_flight 3\n"), "{text}");
    }

    #[test]
    fn every_gateway_has_a_gauge_of_its_own() {
        let gateways = [("sip:192.0.2.1", "up"), ("sip:\"a\"@192.0.2.2", "down")];
        let row = |(uri, state): (&str, &str)| GatewayRow {
            uri: uri.to_owned(),
            state: state.to_owned(),
            ..GatewayRow::default()
        };
        let gateways = gateways.map(row).to_vec();
        let text = metrics(&StatusRow { gateways, ..StatusRow::default() }, 0);
        assert!(text.contains("\nrempart_gateway_up{gateway=\"sip:192.0.2.1\"} 1\n"), "{text}");
        let quoted = "{gateway=\"sip:\\\"a\\\"@192.0.2.2\"} 0\n";
        assert!(text.contains(quoted), "{text}");
    }

    #[test]
    fn only_get_has_a_path() {
        assert_eq!(path(b"GET /metrics HTTP/1.1\r\n"), b"/metrics");
        assert_eq!(path(b"POST /metrics HTTP/1.1\r\n"), b"");
    }
}
