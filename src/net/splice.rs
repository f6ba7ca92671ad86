//! Bytes on their way from one TCP connection to another, passed on by the kernel and never seen here.

use std::future::Future;
use std::io;

use super::stream::{ReadHalf, WriteHalf};

/// Both connections, neither with TLS, and what bytes stand in between.
#[derive(Debug)]
pub struct Splice<'a>(imp::Splice<'a>);

/// Why bytes were not passed on.
#[derive(Debug)]
pub enum Broken {
    /// The connection that they come from.
    From(io::Error),
    /// The connection that they go to.
    To(io::Error),
}

impl<'a> Splice<'a> {
    /// Takes both connections; `None` where the kernel can't see the bytes of one, or where there are
    /// too many pipes already: then they have to be read and written.
    pub fn new(from: &'a ReadHalf, to: &'a WriteHalf) -> Option<Self> {
        match (from, to) {
            (ReadHalf::Plain(from), WriteHalf::Plain(to)) => {
                imp::Splice::new(from.as_ref(), to.as_ref()).map(Splice)
            }
            _ => None,
        }
    }

    /// Waits for bytes, and passes on those that are there, of the next `most`; returns how many, 0 at
    /// the end of what comes. None of them is left in between.
    ///
    /// # Errors
    /// Either connection's.
    pub fn some(&self, most: usize) -> impl Future<Output = Result<usize, Broken>> {
        self.0.some(most)
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
    use tokio::io::Interest;
    use tokio::net::TcpStream;

    use super::Broken;
    use crate::limits;

    #[derive(Debug)]
    pub(super) struct Splice<'a> {
        from: &'a TcpStream,
        to: &'a TcpStream,
        out: OwnedFd,
        into: OwnedFd,
        _counted: Counted,
    }

    const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

    impl<'a> Splice<'a> {
        pub(super) fn new(from: &'a TcpStream, to: &'a TcpStream) -> Option<Self> {
            let counted = Counted::one()?;
            let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
            Some(Self { from, to, out, into, _counted: counted })
        }

        pub(super) async fn some(&self, most: usize) -> Result<usize, Broken> {
            // Other connections of this thread need not wait for long.
            let most = most.min(limits::GATEWAY_SPLICE_BYTES);
            let mut passed = 0;
            while passed < most {
                let length = match self.take(most - passed) {
                    Err(error) if !passes(&error) => return Err(Broken::From(error)),
                    Err(_) if passed > 0 => break,
                    Err(_) => {
                        self.from.readable().await.map_err(Broken::From)?;
                        continue;
                    }
                    Ok(0) => break,
                    Ok(length) => length,
                };
                self.give(length).await.map_err(Broken::To)?;
                passed += length;
            }
            Ok(passed)
        }

        fn take(&self, most: usize) -> io::Result<usize> {
            let read = || Ok(splice(self.from, None, &self.into, None, most, FLAGS)?);
            self.from.try_io(Interest::READABLE, read)
        }

        /// Empties the pipe.
        async fn give(&self, mut length: usize) -> io::Result<()> {
            while length > 0 {
                let write = || Ok(splice(&self.out, None, self.to, None, length, FLAGS)?);
                match self.to.try_io(Interest::WRITABLE, write) {
                    Err(error) if passes(&error) => self.to.writable().await?,
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    written => length -= written?,
                }
            }
            Ok(())
        }
    }

    /// The pipes that there are.
    static PIPES: AtomicUsize = AtomicUsize::new(0);

    /// One of not too many pipes.
    #[derive(Debug)]
    struct Counted;

    impl Counted {
        fn one() -> Option<Self> {
            let free = |count: usize| (count < limits::GATEWAY_PIPES_MAX).then_some(count + 1);
            PIPES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok().map(|_| Counted)
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            PIPES.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn passes(error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::marker::PhantomData;

    use tokio::net::TcpStream;

    use super::Broken;

    #[derive(Debug)]
    pub(super) struct Splice<'a>(PhantomData<&'a TcpStream>);

    impl<'a> Splice<'a> {
        pub(super) fn new(_: &'a TcpStream, _: &'a TcpStream) -> Option<Self> {
            None
        }

        pub(super) async fn some(&self, _: usize) -> Result<usize, Broken> {
            Ok(0)
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::net::stream::Stream;

    /// More than sockets and a pipe take at once.
    const LENGTH: usize = 20 << 20;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_pass_in_their_order_and_none_beyond_what_was_asked() {
        let ((mut source, from), (to, mut sink)) = (pair().await, pair().await);
        let bytes: Vec<u8> = (0_u8..251).cycle().take(LENGTH + 5).collect();
        let sent = bytes.clone();
        let sending = tokio::spawn(async move {
            source.write_all(&sent).await.unwrap();
            source
        });
        let receiving = tokio::spawn(async move {
            let mut received = vec![0; LENGTH];
            sink.read_exact(&mut received).await.unwrap();
            (sink, received)
        });
        let (mut from, _keep) = Stream::Plain(from).into_split();
        let (_kept, mut to) = Stream::Plain(to).into_split();
        let mut left = LENGTH;
        {
            let splice = Splice::new(&from, &to).unwrap();
            while left > 0 {
                left -= splice.some(left).await.unwrap();
            }
        }
        let (mut sink, received) = receiving.await.unwrap();
        assert!(received == bytes[..LENGTH]);
        // What follows is read and written as ever.
        let mut rest = bytes::BytesMut::new();
        while rest.len() < 5 {
            assert!(from.read_into(&mut rest, 100).await.unwrap() > 0);
        }
        assert_eq!(rest[..], bytes[LENGTH..]);
        to.write_all(b"behind").await.unwrap();
        let mut behind = [0; 6];
        sink.read_exact(&mut behind).await.unwrap();
        assert_eq!(&behind, b"behind");
        drop(sending.await.unwrap());
        let splice = Splice::new(&from, &to).unwrap();
        assert_eq!(splice.some(1).await.unwrap(), 0, "the end");
    }

    #[tokio::test]
    async fn the_side_that_broke_is_told() {
        let ((mut source, from), (to, sink)) = (pair().await, pair().await);
        let (from, _keep) = Stream::Plain(from).into_split();
        let (_kept, to) = Stream::Plain(to).into_split();
        drop(sink);
        let sending = tokio::spawn(async move {
            let _ = source.write_all(&vec![0; LENGTH]).await;
        });
        let splice = Splice::new(&from, &to).unwrap();
        let broken = loop {
            match splice.some(LENGTH).await {
                Ok(0) => unreachable!("the source has more"),
                Ok(_) => {}
                Err(broken) => break broken,
            }
        };
        assert!(matches!(broken, Broken::To(_)), "{broken:?}");
        sending.abort();
    }
}
