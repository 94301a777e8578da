//! The message that every run sends: a binary CloudEvent with 1 KB of data, and the ticket it carries.

use std::{fmt, str::FromStr};

use anyhow::{Context as _, Error};

/// Bytes of data in each message.
pub(crate) const DATA_BYTES: usize = 1024;
/// The CloudEvents extension attribute that carries the [`Ticket`]: a header that everything on the way keeps.
pub(crate) const TICKET_HEADER: &str = "ce-benchticket";

/// Which message this is, and when it was to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The run it belongs to: what arrives late from an earlier run is told apart.
    pub(crate) run: u32,
    /// Counts from 0 within a run, without gaps.
    pub(crate) number: u64,
    /// When the schedule wanted it sent, by [`crate::clock::now`]. Latency counts from here.
    pub(crate) due: u64,
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.run, self.number, self.due)
    }
}

impl FromStr for Ticket {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parts = text.splitn(3, '-');
        let mut next = || parts.next().context("a ticket is run-number-due");
        Ok(Self {
            run: next()?.parse()?,
            number: next()?.parse()?,
            due: next()?.parse()?,
        })
    }
}

/// Renders requests: all but the ticket is the same each time.
#[derive(Debug)]
pub(crate) struct Template {
    head: Vec<u8>,
    data: Vec<u8>,
}

impl Template {
    /// Requests to `path` at `host`.
    pub(crate) fn new(path: &str, host: &str) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\n\
             host: {host}\r\n\
             content-type: application/octet-stream\r\n\
             content-length: {DATA_BYTES}\r\n\
             ce-specversion: 1.0\r\n\
             ce-type: dev.busway.bench.message\r\n\
             ce-source: /benches\r\n"
        );
        Self {
            head: head.into_bytes(),
            data: (b'a'..=b'z').cycle().take(DATA_BYTES).collect(),
        }
    }

    /// Replaces what is in `into` by the request for `ticket`.
    pub(crate) fn render(&self, ticket: Ticket, into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(&self.head);
        let Ticket { run, number, .. } = ticket;
        let last = format!("ce-id: {run}-{number}\r\n{TICKET_HEADER}: {ticket}\r\n\r\n");
        into.extend_from_slice(last.as_bytes());
        into.extend_from_slice(&self.data);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const TICKET: Ticket = Ticket {
        run: 3,
        number: 41,
        due: 123_456_789_012_345,
    };

    #[test]
    fn a_ticket_survives_its_header() {
        assert_eq!(TICKET.to_string().parse::<Ticket>().unwrap(), TICKET);
        for broken in ["", "1", "1-2", "1-2-x", "1-2-3-4", "-1-2-3"] {
            assert!(broken.parse::<Ticket>().is_err(), "{broken}");
        }
    }

    #[test]
    fn a_rendered_request_is_http_with_a_kilobyte_of_data() {
        let mut bytes = b"left over".to_vec();
        Template::new("/ns/chan", "127.0.0.1:1").render(TICKET, &mut bytes);
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut headers);
        let head = request.parse(&bytes).unwrap().unwrap();
        assert_eq!(bytes.len() - head, DATA_BYTES);
        assert_eq!(request.path, Some("/ns/chan"));
        let ticket = request.headers.iter().find(|h| h.name == TICKET_HEADER);
        assert_eq!(ticket.unwrap().value, TICKET.to_string().as_bytes());
    }
}
