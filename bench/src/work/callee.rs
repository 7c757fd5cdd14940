//! The called phones: stateless, each request is answered from what it carries.

use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::SDP;
use crate::load::Answering;
use crate::message::Message;
use crate::socket::Socket;

/// Every callee of the row: rings and answers at once, and accepts the BYE.
pub struct Callees;

impl Answering for Callees {
    fn answer(
        &self,
        message: Message<'_>,
        from: SocketAddrV4,
        socket: &mut Socket,
    ) -> io::Result<()> {
        let Some((method, uri)) = message.request() else { return Ok(()) };
        // The phone's own address is the host of the Request-URI, its registered contact.
        let Some(address) = host(uri) else { return Ok(()) };
        let contact = format!("Contact: <{uri}>\r\n");
        let mut send = |status: &str, extra: &str, body: &str| -> io::Result<()> {
            let text = response(message, status, extra, body);
            socket.queue(address, from)?.extend_from_slice(text.as_bytes());
            Ok(())
        };
        match method {
            "INVITE" => {
                send("180 Ringing", &contact, "")?;
                send("200 OK", &format!("{contact}Content-Type: application/sdp\r\n"), SDP)
            }
            "BYE" => send("200 OK", "", ""),
            _ => Ok(()),
        }
    }
}

fn host(uri: &str) -> Option<Ipv4Addr> {
    let (_, place) = uri.split_once('@')?;
    place.split([':', ';']).next()?.parse().ok()
}

fn response(request: Message<'_>, status: &str, extra: &str, body: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for (name, value) in request.headers() {
        let line = match name.to_ascii_lowercase().as_str() {
            "via" | "v" | "record-route" | "from" | "f" | "call-id" | "i" | "cseq" => "",
            "to" | "t" if value.contains(";tag=") => "",
            "to" | "t" => ";tag=callee",
            _ => continue,
        };
        // Writing to a String cannot fail.
        let _ = write!(text, "{name}: {value}{line}\r\n");
    }
    let _ = write!(text, "{extra}Content-Length: {}\r\n\r\n{body}", body.len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_copies_what_the_rfc_asks_for() {
        let request = b"INVITE sip:b@127.20.0.1:5080 SIP/2.0\r\nVia: a\r\nVia: b\r\n\
            Record-Route: <sip:p;lr>\r\nFrom: f\r\nTo: <sip:b@d>\r\nCall-ID: c\r\n\
            CSeq: 2 INVITE\r\nUser-Agent: x\r\n\r\n";
        let request = Message::new(request).expect("text");
        let expected = "SIP/2.0 180 Ringing\r\nVia: a\r\nVia: b\r\nRecord-Route: <sip:p;lr>\r\n\
            From: f\r\nTo: <sip:b@d>;tag=callee\r\nCall-ID: c\r\nCSeq: 2 INVITE\r\n\
            Content-Length: 0\r\n\r\n";
        assert_eq!(response(request, "180 Ringing", "", ""), expected);
    }

    #[test]
    fn a_phone_answers_from_the_host_of_the_request_uri() {
        assert_eq!(host("sip:b@127.20.0.1:5080;ob"), Some(Ipv4Addr::new(127, 20, 0, 1)));
        assert_eq!(host("sip:b@d.test"), None);
    }
}
