//! OPTIONS to the server itself, as monitors and trunks send it.

use std::io;

use super::{Contact, Phones, Request};
use crate::load::{Progress, Unit, Work};
use crate::message::Message;
use crate::socket::Socket;

/// One OPTIONS, one 200.
pub struct Options(pub Phones);

impl Work for Options {
    fn run(&self) -> &str {
        &self.0.run
    }

    fn begin(&mut self, unit: Unit, socket: &mut Socket) -> io::Result<()> {
        let uri = format!("sip:{}", self.0.target.domain);
        let to = format!("<{uri}>");
        let mut request = Request::new("OPTIONS", &uri, &to, 1);
        request.contact = Contact::Given;
        self.0.send(unit, &request, socket)
    }

    fn advance(
        &mut self,
        _unit: Unit,
        message: Message<'_>,
        _socket: &mut Socket,
    ) -> io::Result<Progress> {
        Ok(if message.status() == Some(200) { Progress::Done } else { Progress::Failed })
    }
}
