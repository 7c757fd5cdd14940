//! An authenticated call from beginning to end: INVITE, 407, ACK, INVITE, 100, 180, 200, ACK,
//! BYE, 200. The server takes in eight datagrams and sends eight.

use std::io;

use super::{Contact, Phones, Request, SDP, user_name};
use crate::load::{Progress, Unit, Work};
use crate::message::Message;
use crate::socket::Socket;

/// Calls of the n-th caller to the n-th callee.
pub struct Call {
    /// Who calls.
    pub callers: Phones,
    /// Number of the first callee.
    pub callees_first: u64,
}

impl Call {
    fn callee(&self, unit: Unit) -> String {
        let number = self.callees_first + self.callers.user(unit) - self.callers.first;
        format!("sip:{}@{}", user_name(number), self.callers.target.domain)
    }

    fn invite(
        &self,
        unit: Unit,
        cseq: u32,
        refused: Option<Message<'_>>,
        socket: &mut Socket,
    ) -> io::Result<Progress> {
        let uri = self.callee(unit);
        let to = format!("<{uri}>");
        let mut request = Request::new("INVITE", &uri, &to, cseq);
        request.contact = Contact::Given;
        request.body = SDP;
        let mut extra = String::from("Allow: INVITE, ACK, BYE, CANCEL, OPTIONS\r\n");
        if let Some(refused) = refused {
            match self.callers.credentials(unit, refused, &request) {
                Some(credentials) => extra.push_str(&credentials),
                None => return Ok(Progress::Failed),
            }
        }
        request.extra = &extra;
        self.callers.send(unit, &request, socket)?;
        Ok(Progress::Going)
    }

    /// The ACK that ends a refused INVITE.
    fn acknowledge(&self, unit: Unit, refused: Message<'_>, socket: &mut Socket) -> io::Result<()> {
        let cseq = refused.cseq().map_or(1, |(number, _)| number);
        let (uri, to) = (self.callee(unit), refused.header("To").unwrap_or(""));
        self.callers.send(unit, &Request::new("ACK", &uri, to, cseq), socket)
    }

    /// ACK and BYE of an answered call, by the route that the answer shows.
    fn hang_up(
        &self,
        unit: Unit,
        answer: Message<'_>,
        socket: &mut Socket,
    ) -> io::Result<Progress> {
        let (Some(to), Some(uri)) = (answer.header("To"), answer.contact()) else {
            return Ok(Progress::Failed);
        };
        let mut routes: Vec<&str> = answer.lines("Record-Route").collect();
        routes.reverse();
        let routes: String = routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
        let mut ack = Request::new("ACK", uri, to, 2);
        ack.contact = Contact::Acknowledges;
        ack.extra = &routes;
        self.callers.send(unit, &ack, socket)?;
        let mut bye = Request::new("BYE", uri, to, 3);
        bye.extra = &routes;
        self.callers.send(unit, &bye, socket)?;
        Ok(Progress::Going)
    }
}

impl Work for Call {
    fn run(&self) -> &str {
        &self.callers.run
    }

    fn begin(&mut self, unit: Unit, socket: &mut Socket) -> io::Result<()> {
        self.invite(unit, 1, None, socket).map(|_| ())
    }

    fn advance(
        &mut self,
        unit: Unit,
        message: Message<'_>,
        socket: &mut Socket,
    ) -> io::Result<Progress> {
        let (Some(status), Some((cseq, method))) = (message.status(), message.cseq()) else {
            return Ok(Progress::Failed);
        };
        match (cseq, method, status) {
            (_, _, 100..200) => Ok(Progress::Going),
            (1, "INVITE", 407) => {
                self.acknowledge(unit, message, socket)?;
                self.invite(unit, 2, Some(message), socket)
            }
            (2, "INVITE", 200) => self.hang_up(unit, message, socket),
            (3, "BYE", 200) => Ok(Progress::Done),
            (_, "INVITE", _) => {
                self.acknowledge(unit, message, socket)?;
                Ok(Progress::Failed)
            }
            _ => Ok(Progress::Failed),
        }
    }
}
