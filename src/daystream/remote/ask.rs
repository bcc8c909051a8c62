//! What another host says of a stream, without a line of it.

use std::time::Duration;

use super::client::Client;
use super::reader::{interrupted, of};
use super::{Fault, Frame, Hello, Reason};
use crate::daystream::Error;
use crate::interrupt;
use crate::limits::REMOTE_STOP_MS;

/// What a stream is, without any of its lines: one request.
///
/// # Errors
/// [`Error::Remote`].
pub fn ask(url: &str) -> Result<Hello, Error> {
    let words = ["-info", "1"].map(str::to_owned);
    let mut client = Client::start(url, &words).map_err(|fault| of(url, fault))?;
    loop {
        let line = client.line().map_err(|fault| of(url, fault))?;
        let frame = line.and_then(|line| Frame::decode(client.bytes(line)));
        match frame {
            Some(Frame::Stream(hello)) => return Ok(*hello),
            Some(Frame::Error(fault)) => return Err(of(url, fault)),
            _ if client.has_ended() => {
                let fault = Fault::new(Reason::Lost, "the client ended without an answer");
                return Err(of(url, client.end().err().unwrap_or(fault)));
            }
            _ if interrupt::has_come() => return Err(of(url, interrupted())),
            _ => {}
        }
        let slept = client.sleep(Duration::from_millis(REMOTE_STOP_MS), None);
        slept.map_err(|error| Error::io(url, "wait for", error))?;
    }
}
