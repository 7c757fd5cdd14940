//! A registration with digest: REGISTER, 401, REGISTER with credentials, 200. Each unit writes
//! its user's binding again.

use std::io;

use super::{Contact, Phones, Request, user_name};
use crate::load::{Progress, Unit, Work};
use crate::message::Message;
use crate::socket::Socket;

/// Two requests and two answers.
pub struct Register(pub Phones);

impl Register {
    fn send(
        &self,
        unit: Unit,
        cseq: u32,
        refused: Option<Message<'_>>,
        socket: &mut Socket,
    ) -> io::Result<Progress> {
        let phones = &self.0;
        let domain = &phones.target.domain;
        let uri = format!("sip:{domain}");
        let to = format!("<sip:{}@{domain}>", user_name(phones.user(unit)));
        let mut request = Request::new("REGISTER", &uri, &to, cseq);
        request.contact = Contact::Given;
        let mut extra = String::from("Expires: 3600\r\n");
        if let Some(refused) = refused {
            match phones.credentials(unit, refused, &request) {
                Some(credentials) => extra.push_str(&credentials),
                None => return Ok(Progress::Failed),
            }
        }
        request.extra = &extra;
        phones.send(unit, &request, socket)?;
        Ok(Progress::Going)
    }
}

impl Work for Register {
    fn run(&self) -> &str {
        &self.0.run
    }

    fn begin(&mut self, unit: Unit, socket: &mut Socket) -> io::Result<()> {
        self.send(unit, 1, None, socket).map(|_| ())
    }

    fn advance(
        &mut self,
        unit: Unit,
        message: Message<'_>,
        socket: &mut Socket,
    ) -> io::Result<Progress> {
        match (message.status(), message.cseq()) {
            (Some(401), Some((1, _))) => self.send(unit, 2, Some(message), socket),
            (Some(200), Some((2, _))) => Ok(Progress::Done),
            (Some(100..200), _) => Ok(Progress::Going),
            _ => Ok(Progress::Failed),
        }
    }
}
