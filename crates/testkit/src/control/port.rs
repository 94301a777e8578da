//! A port of our own on loopback.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use socket2::{Domain, Socket, Type};

/// A loopback port that the kernel chose and that nobody else is given while this lives.
///
/// The socket is bound and never listens: a server that sets `SO_REUSEADDR` (every Go server does) can listen on the
/// port, also again after it was killed; a client that connects meanwhile is refused; and the kernel hands the port
/// out to no other socket.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _hold: Socket,
}

impl Port {
    pub(crate) fn reserve() -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("opening a socket")?;
        socket.set_reuse_address(true)?;
        socket
            .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
            .context("reserving a loopback port")?;
        let number = socket
            .local_addr()?
            .as_socket()
            .context("a loopback port")?
            .port();
        Ok(Self {
            number,
            _hold: socket,
        })
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
