//! The dispatcher's way out, which can be reset.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use busway_core::world::Clock;
use busway_dataplane::{
    Network,
    connect::{BoxIo, Connect, Resolve, Trust},
    listen::Accept,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net;

use super::bus::wall;

pub(crate) struct SimClock;

impl Clock for SimClock {
    fn now(&self) -> std::time::SystemTime {
        wall(turmoil::sim_elapsed().unwrap_or_default())
    }
}

/// The receiver's way in.
pub(crate) struct Listening(pub(crate) net::TcpListener);

#[async_trait(?Send)]
impl Accept for Listening {
    async fn accept(&mut self) -> io::Result<BoxIo> {
        let (stream, _) = self.0.accept().await?;
        Ok(Box::new(stream))
    }
}

/// The open connections. Cloning shares them.
#[derive(Clone, Default)]
pub(crate) struct Wires(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    last: u64,
    /// To whom, whether it is broken, who waits on it.
    wires: BTreeMap<u64, (IpAddr, bool, Option<Waker>)>,
}

impl Wires {
    pub(crate) fn network(&self) -> Network {
        Network::new(Arc::new(Names), Arc::new(self.clone()), Trust::mozilla())
    }

    /// Breaks what is open to an address; how many that were.
    pub(crate) fn reset(&self, address: IpAddr) -> u64 {
        let mut open = self.0.lock().unwrap();
        let mut reset = 0;
        for (to, broken, waker) in open.wires.values_mut() {
            if *to == address && !*broken {
                *broken = true;
                reset += 1;
                if let Some(waker) = waker.take() {
                    waker.wake();
                }
            }
        }
        reset
    }
}

#[async_trait]
impl Connect for Wires {
    async fn connect(&self, address: SocketAddr) -> io::Result<BoxIo> {
        let stream = net::TcpStream::connect(address).await?;
        let mut open = self.0.lock().unwrap();
        open.last += 1;
        let number = open.last;
        open.wires.insert(number, (address.ip(), false, None));
        Ok(Box::new(Wire {
            stream,
            number,
            open: self.clone(),
        }))
    }
}

struct Names;

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let host = host.split('.').next().unwrap_or(host);
        Ok(vec![turmoil::lookup(host)])
    }
}

struct Wire {
    stream: net::TcpStream,
    number: u64,
    open: Wires,
}

impl Wire {
    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        let mut open = self.open.0.lock().unwrap();
        let Some((_, broken, waker)) = open.wires.get_mut(&self.number) else {
            return Ok(());
        };
        if *broken {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        *waker = Some(cx.waker().clone());
        Ok(())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.open.0.lock().unwrap().wires.remove(&self.number);
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
