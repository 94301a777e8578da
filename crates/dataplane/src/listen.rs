//! Where senders' connections come from.

use std::{io, net::SocketAddr};

use async_trait::async_trait;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::connect::BoxIo;

/// Connections that wait to be accepted; the kernel bounds it further (`somaxconn`).
const WAITING: i32 = 4096;

/// Accepts connections, on one shard.
#[async_trait(?Send)]
pub trait Accept {
    /// The next connection. May be dropped at any await, without losing one.
    async fn accept(&mut self) -> io::Result<BoxIo>;
}

/// A listener on its way to its shard: made into an [`Accept`] there.
pub type Listener = Box<dyn FnOnce() -> io::Result<Box<dyn Accept>> + Send>;

/// One TCP socket per shard on the same address, among which the kernel spreads connections.
///
/// Port 0 takes a free port, the same for all; the address that was taken is returned.
///
/// # Errors
/// When the address cannot be bound.
pub fn tcp(address: SocketAddr, shards: usize) -> io::Result<(SocketAddr, Vec<Listener>)> {
    let mut bound = address;
    let mut listeners: Vec<Listener> = Vec::with_capacity(shards);
    for _ in 0..shards.max(1) {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        // A lone listener must notice that the port is somebody else's.
        if shards > 1 {
            socket.set_reuse_port(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&bound.into())?;
        socket.listen(WAITING)?;
        bound = std::net::TcpListener::from(socket.try_clone()?).local_addr()?;
        listeners.push(Box::new(move || {
            let listener = TcpListener::from_std(socket.into())?;
            Ok(Box::new(listener) as Box<dyn Accept>)
        }));
    }
    Ok((bound, listeners))
}

#[async_trait(?Send)]
impl Accept for TcpListener {
    async fn accept(&mut self) -> io::Result<BoxIo> {
        let (stream, _) = Self::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}
