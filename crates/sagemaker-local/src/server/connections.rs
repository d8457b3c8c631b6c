//! Connections to this server: not more than there are descriptors for, and
//! none for good that says nothing.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Connections at a time; the next ones wait until one is closed.
const MOST: usize = 256;
/// The time that a connection may stand still, also in the middle of a header. No answer takes
/// as long: a model has 60 s. Clients open another one when they need it.
const IDLE: Duration = Duration::from_secs(70);
/// The time to wait when the system has no more descriptors.
const BREATH: Duration = Duration::from_millis(200);

/// Takes connections one after the other, as long as there is room.
pub(crate) struct Connections {
    listener: TcpListener,
    room: Arc<Semaphore>,
    idle: Duration,
}

impl Connections {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self::limited(listener, MOST, IDLE)
    }

    fn limited(listener: TcpListener, most: usize, idle: Duration) -> Self {
        Self { listener, room: Arc::new(Semaphore::new(most)), idle }
    }
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // Nobody closes the semaphore.
            let Ok(room) = self.room.clone().acquire_owned().await else { continue };
            match self.listener.accept().await {
                Ok((stream, sender)) => {
                    // A small answer does not wait for the acknowledgement of the
                    // one before; where that cannot be set, it is only slower.
                    let _ = stream.set_nodelay(true);
                    let rest = Box::pin(sleep(self.idle));
                    return (Connection { stream, idle: self.idle, rest, _room: room }, sender);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection is not taken");
                    sleep(BREATH).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when nothing has come or gone for too long.
pub(crate) struct Connection {
    stream: TcpStream,
    idle: Duration,
    rest: Pin<Box<Sleep>>,
    _room: OwnedSemaphorePermit,
}

impl Connection {
    /// Something came or went, or still does not.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        done: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.rest.as_mut().reset(Instant::now() + self.idle);
            return done;
        }
        self.rest.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.watch(context, read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_silent_connection_ends_and_makes_room_for_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections = Connections::limited(listener, 1, Duration::from_millis(50));
        let mut silent = TcpStream::connect(address).await.unwrap();
        silent.write_all(b"half a requ").await.unwrap();
        let mut busy = TcpStream::connect(address).await.unwrap();
        busy.write_all(b"all").await.unwrap();

        let (mut taken, _) = connections.accept().await;
        assert_eq!(connections.room.available_permits(), 0);
        let mut said = Vec::new();
        let ended = taken.read_to_end(&mut said).await.unwrap_err();
        assert_eq!((ended.kind(), said.as_slice()), (io::ErrorKind::TimedOut, &b"half a requ"[..]));
        drop(taken);
        let (mut taken, _) = connections.accept().await;
        let mut said = [0; 3];
        taken.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"all");
    }
}
