//! A received message, read in the plainest way: enough for a phone, and independent of the
//! server's own scanner.

use std::net::SocketAddr;

/// One SIP message as it came in.
#[derive(Clone, Debug)]
pub struct Message {
    /// The octets as received.
    pub raw: Vec<u8>,
    /// The first line, without its line end.
    pub start: String,
    /// Header fields in order, names in full lower-case form.
    pub fields: Vec<(String, String)>,
    /// What stands after the blank line.
    pub body: Vec<u8>,
    /// Who sent it.
    pub source: SocketAddr,
}

impl Message {
    /// Reads one message; `None` when it has no blank line.
    pub fn parse(raw: &[u8], source: SocketAddr) -> Option<Self> {
        let end = find(raw, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&raw[..end]).replace("\r\n ", " ");
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_string();
        let fields = lines.filter_map(|line| line.split_once(':')).map(named).collect();
        Some(Self { raw: raw.to_vec(), start, fields, body: raw[end + 4..].to_vec(), source })
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        !self.start.starts_with("SIP/2.0 ")
    }

    /// The status code; 0 for a request.
    pub fn status(&self) -> u16 {
        let code = self.start.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3));
        code.and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// Status code and reason phrase, such as `403 Not relaying`.
    pub fn answer(&self) -> &str {
        self.start.strip_prefix("SIP/2.0 ").unwrap_or(&self.start)
    }

    /// The method: of a response, the one in its CSeq.
    pub fn method(&self) -> &str {
        if self.is_request() {
            return self.start.split(' ').next().unwrap_or("");
        }
        self.header("cseq").and_then(|cseq| cseq.split_whitespace().nth(1)).unwrap_or("")
    }

    /// The Request-URI.
    pub fn uri(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or("")
    }

    /// The first header field of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Every value of a list header, over all its lines and commas.
    pub fn values(&self, name: &str) -> Vec<String> {
        let lines = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        lines.flat_map(|(_, value)| split_list(value)).collect()
    }

    /// The number in CSeq.
    pub fn cseq(&self) -> u32 {
        let number = self.header("cseq").and_then(|cseq| cseq.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// Call-ID, empty when absent.
    pub fn call_id(&self) -> &str {
        self.header("call-id").unwrap_or("")
    }

    /// The topmost Via's branch.
    pub fn branch(&self) -> String {
        let top = self.values("via").into_iter().next().unwrap_or_default();
        parameter(&top, "branch").unwrap_or_default()
    }

    /// The tag of To.
    pub fn to_tag(&self) -> Option<String> {
        self.header("to").and_then(|to| parameter(to, "tag"))
    }

    /// The URI of the first Contact, without brackets.
    pub fn contact(&self) -> String {
        self.values("contact").first().map(|value| bare_uri(value)).unwrap_or_default()
    }
}

/// The URI between angle brackets, or all of the value before its parameters.
pub fn bare_uri(value: &str) -> String {
    let inner = value.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    match inner {
        Some((uri, _)) => uri.to_string(),
        None => value.split(';').next().unwrap_or("").trim().to_string(),
    }
}

/// A header parameter, looked for behind the closing bracket.
pub fn parameter(value: &str, name: &str) -> Option<String> {
    let behind = value.rsplit_once('>').map_or(value, |(_, rest)| rest);
    behind.split(';').skip(1).find_map(|part| {
        let (key, text) = part.split_once('=').unwrap_or((part, ""));
        key.trim().eq_ignore_ascii_case(name).then(|| text.trim().to_string())
    })
}

/// Splits at commas outside quotes and angle brackets.
pub fn split_list(value: &str) -> Vec<String> {
    let (mut parts, mut current, mut quoted, mut depth) = (Vec::new(), String::new(), false, 0);
    for letter in value.chars() {
        match letter {
            '"' => quoted = !quoted,
            '<' if !quoted => depth += 1,
            '>' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.push(current.trim().to_string());
                current.clear();
                continue;
            }
            _ => {}
        }
        current.push(letter);
    }
    parts.push(current.trim().to_string());
    parts
}

/// Position of `needle` in `hay`.
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}

fn named((name, value): (&str, &str)) -> (String, String) {
    let name = name.trim().to_ascii_lowercase();
    let full = match name.as_str() {
        "v" => "via",
        "f" => "from",
        "t" => "to",
        "i" => "call-id",
        "m" => "contact",
        "l" => "content-length",
        "c" => "content-type",
        "k" => "supported",
        other => other,
    };
    (full.to_string(), value.trim().to_string())
}
