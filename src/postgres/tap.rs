//! A tap on a connection's stream: the rows of a COPY go straight from the socket's buffer to whoever
//! takes them, in their frames, with no allocation, channel or wake-up for a row. Everything else goes
//! the way that tokio-postgres reads it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::auth::Demand;
use super::traffic::{Requests, Traffic};

/// Takes one row's bytes; an error ends the connection.
pub type Taker = Box<dyn FnMut(&[u8]) -> io::Result<()> + Send>;

/// The handle of a stream's tap, shared with it.
#[derive(Clone, Default)]
pub struct Tap(Arc<Mutex<Option<Taker>>>);

impl Tap {
    /// From now on rows go there.
    pub fn open(&self, taker: Taker) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(taker);
    }

    /// Rows go the common way again; what took them is dropped.
    pub fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Read at once; a frame that is larger grows its buffer.
const BUFFER: usize = 128 << 10;
/// A frame's type, and its length, which counts itself.
const HEADER: usize = 5;
const COPY_DATA: u8 = b'd';
const AUTHENTICATION: u8 = b'R';
const BACKEND_KEY: u8 = b'K';
const READY: u8 = b'Z';
/// The server expects rows now.
const COPY_IN: u8 = b'G';

/// A stream of the server's frames, of which the tap takes some.
pub struct Tapped<L = Line> {
    line: L,
    tap: Tap,
    /// What is held against the server's first words.
    demand: Option<Demand>,
    traffic: Arc<Traffic>,
    requests: Requests,
    buffer: Vec<u8>,
    /// What of the buffer is filled, and how much of that is done with.
    filled: usize,
    done: usize,
    /// Bytes from `done` on that go the common way.
    passing: usize,
}

/// The encrypted line, or the bare one.
pub enum Line {
    Bare(Socket),
    Encrypted(Box<<MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>),
}

impl<L> Tapped<L> {
    fn new(line: L, tap: Tap, demand: Option<Demand>, traffic: Arc<Traffic>) -> Tapped<L> {
        let requests = Requests::default();
        Tapped {
            line,
            tap,
            demand,
            traffic,
            requests,
            buffer: vec![0; BUFFER],
            filled: 0,
            done: 0,
            passing: 0,
        }
    }

    /// Walks the whole frames at hand. Stops before one that goes the common way, or is not whole.
    fn walk(&mut self) -> io::Result<()> {
        let tap = self.tap.clone();
        let mut taker = tap.0.lock().unwrap_or_else(PoisonError::into_inner);
        while self.passing == 0 {
            let Some(frame) = frame(&self.buffer[self.done..self.filled])? else { break };
            match (&mut *taker, self.buffer[self.done] == COPY_DATA) {
                (Some(take), true) => {
                    if self.done + frame > self.filled {
                        break;
                    }
                    take(&self.buffer[self.done + HEADER..self.done + frame])?;
                    self.done += frame;
                }
                (_, _) => {
                    if !self.noted(self.buffer[self.done], frame)? {
                        break;
                    }
                    self.passing = frame;
                }
            }
        }
        Ok(())
    }

    /// Notes what a frame that goes the common way says of the session; false while it is not whole.
    fn noted(&mut self, kind: u8, frame: usize) -> io::Result<bool> {
        let known = &self.buffer[self.done..self.filled.min(self.done + frame)];
        match kind {
            AUTHENTICATION if self.demand.is_some() => {
                let [_, _, _, _, _, a, b, c, d, rest @ ..] = known else { return Ok(false) };
                if known.len() < frame {
                    return Ok(false);
                }
                let code = i32::from_be_bytes([*a, *b, *c, *d]);
                if let Some(demand) = &mut self.demand
                    && demand.hold(code, rest)?
                {
                    self.demand = None;
                }
            }
            BACKEND_KEY => {
                let [_, _, _, _, _, a, b, c, d, ..] = known else { return Ok(false) };
                self.traffic.is_of(i32::from_be_bytes([*a, *b, *c, *d]));
            }
            READY => self.traffic.answered(),
            // The Sync that asked for it is answered by nothing.
            COPY_IN if self.requests.by_sync() => drop(self.traffic.settled()),
            _ => {}
        }
        Ok(true)
    }

    /// Makes room behind what is filled, for the rest of a frame at least.
    fn make_room(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.done..self.filled, 0);
        self.filled -= self.done;
        self.done = 0;
        let wanted = frame(&self.buffer[..self.filled])?.unwrap_or(0).max(BUFFER);
        let room = self.buffer.len();
        if self.filled == room {
            // What a frame says of its length is believed as its bytes come.
            self.buffer.resize(wanted.min(2 * room), 0);
        } else if wanted == BUFFER && room > 16 * BUFFER {
            // A large row's buffer is not kept for the small ones after it.
            self.buffer.truncate(BUFFER);
            self.buffer.shrink_to_fit();
        }
        Ok(())
    }
}

/// The length of the frame at the front, with its header; none while the header is not whole.
fn frame(bytes: &[u8]) -> io::Result<Option<usize>> {
    let [_, a, b, c, d, ..] = bytes else { return Ok(None) };
    match usize::try_from(i32::from_be_bytes([*a, *b, *c, *d])) {
        Ok(length @ 4..) => Ok(Some(length + 1)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of Postgres's without a length")),
    }
}

impl<L: AsyncRead + Unpin> AsyncRead for Tapped<L> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            this.traffic.at_work(true);
            let walked = this.walk();
            this.traffic.at_work(false);
            walked?;
            let ready = this.passing.min(this.filled - this.done).min(out.remaining());
            if ready > 0 {
                out.put_slice(&this.buffer[this.done..this.done + ready]);
                this.done += ready;
                this.passing -= ready;
                return Poll::Ready(Ok(()));
            }
            this.make_room()?;
            let mut rest = ReadBuf::new(&mut this.buffer[this.filled..]);
            ready!(Pin::new(&mut this.line).poll_read(cx, &mut rest))?;
            let read = rest.filled().len();
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
            this.filled += read;
            this.traffic.moved();
        }
    }
}

impl<L: AsyncWrite + Unpin> AsyncWrite for Tapped<L> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.line).poll_write(cx, bytes))?;
        let requests = self.requests.count(&bytes[..written]);
        self.traffic.asked(requests);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_shutdown(cx)
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Line::Bare(line) => Pin::new(line).poll_read(cx, out),
            Line::Encrypted(line) => Pin::new(line.as_mut()).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Line::Bare(line) => Pin::new(line).poll_write(cx, bytes),
            Line::Encrypted(line) => Pin::new(line.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Line::Bare(line) => Pin::new(line).poll_flush(cx),
            Line::Encrypted(line) => Pin::new(line.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Line::Bare(line) => Pin::new(line).poll_shutdown(cx),
            Line::Encrypted(line) => Pin::new(line.as_mut()).poll_shutdown(cx),
        }
    }
}

impl TlsStream for Tapped {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.line {
            Line::Bare(_) => ChannelBinding::none(),
            Line::Encrypted(line) => line.channel_binding(),
        }
    }
}

/// Puts a tap on a connection, and encryption below it if there is to be some. To tokio-postgres both
/// are TLS; a bare line is "TLS" that is negotiated directly and encrypts nothing.
#[derive(Clone)]
pub struct Connector {
    pub tls: Option<MakeRustlsConnect>,
    pub tap: Tap,
    pub demand: Option<Demand>,
    pub traffic: Arc<Traffic>,
}

type Handshake = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;

/// A connection about to be made.
pub struct Connecting {
    handshake: Option<Handshake>,
    tap: Tap,
    demand: Option<Demand>,
    traffic: Arc<Traffic>,
}

impl MakeTlsConnect<Socket> for Connector {
    type Stream = Tapped;
    type TlsConnect = Connecting;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Connecting, Self::Error> {
        let handshake = match &mut self.tls {
            Some(tls) => Some(MakeTlsConnect::<Socket>::make_tls_connect(tls, domain)?),
            None => None,
        };
        Ok(Connecting {
            handshake,
            tap: self.tap.clone(),
            demand: self.demand.clone(),
            traffic: Arc::clone(&self.traffic),
        })
    }
}

impl TlsConnect<Socket> for Connecting {
    type Stream = Tapped;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Tapped, Self::Error>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let line = match self.handshake {
                Some(handshake) => Line::Encrypted(Box::new(handshake.connect(socket).await?)),
                None => Line::Bare(socket),
            };
            Ok(Tapped::new(line, self.tap, self.demand, self.traffic))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    /// A line that brings what it has in pieces.
    struct Pieces {
        bytes: Vec<u8>,
        at: usize,
        piece: usize,
    }

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let end = (self.at + self.piece.min(out.remaining())).min(self.bytes.len());
            out.put_slice(&self.bytes[self.at..end]);
            self.at = end;
            Poll::Ready(Ok(()))
        }
    }

    fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind];
        frame.extend_from_slice(&(payload.len() as i32 + 4).to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    async fn run(bytes: Vec<u8>, piece: usize, open: bool) -> (io::Result<Vec<u8>>, Vec<Vec<u8>>) {
        let (tap, taken) = (Tap::default(), Arc::new(Mutex::new(Vec::new())));
        if open {
            let rows = Arc::clone(&taken);
            tap.open(Box::new(move |row| {
                rows.lock().unwrap().push(row.to_vec());
                if row == b"stop" { Err(io::Error::other("stopped")) } else { Ok(()) }
            }));
        }
        let mut tapped = Tapped::new(Pieces { bytes, at: 0, piece }, tap, None, Arc::default());
        let mut passed = Vec::new();
        let read = tapped.read_to_end(&mut passed).await;
        let rows = taken.lock().unwrap().clone();
        (read.map(|_| passed), rows)
    }

    #[tokio::test]
    async fn rows_are_taken_and_all_else_passes_however_the_bytes_come() {
        let rows = [vec![7; 3], Vec::new(), vec![9; 300_000], vec![1; 20]];
        let (before, after) = (framed(b'H', &[0, 0, 0]), [framed(b'c', &[]), framed(b'Z', b"T")].concat());
        let frames: Vec<u8> = rows.iter().flat_map(|row| framed(b'd', row)).collect();
        let all = [before.clone(), frames, after.clone()].concat();
        for piece in [1, 2, 5, 7, 4_096, 1 << 20] {
            let (passed, taken) = run(all.clone(), piece, true).await;
            assert_eq!(passed.unwrap(), [before.clone(), after.clone()].concat(), "pieces of {piece}");
            assert_eq!(taken, rows, "pieces of {piece}");
            let (passed, taken) = run(all.clone(), piece, false).await;
            assert_eq!(
                (passed.unwrap(), taken),
                (all.clone(), Vec::<Vec<u8>>::new()),
                "a closed tap takes none"
            );
        }
    }

    #[tokio::test]
    async fn a_row_that_is_not_taken_and_a_frame_without_a_length_end_the_connection() {
        let all = [framed(b'd', b"go"), framed(b'd', b"stop"), framed(b'd', b"never")].concat();
        let (passed, taken) = run(all, 4_096, true).await;
        assert!(passed.is_err());
        assert_eq!(taken, [b"go".to_vec(), b"stop".to_vec()]);
        assert!(run(vec![b'd', 0, 0, 0, 1, 0], 4_096, true).await.0.is_err());
        assert!(run(vec![b'd', 255, 255, 255, 255, 0], 4_096, true).await.0.is_err());
    }

    #[tokio::test]
    async fn a_length_is_believed_only_as_its_bytes_come() {
        let mut all = vec![b'd'];
        all.extend_from_slice(&i32::MAX.to_be_bytes());
        all.extend_from_slice(&[0; 1_000]);
        let mut tapped =
            Tapped::new(Pieces { bytes: all, at: 0, piece: 64 }, Tap::default(), None, Arc::default());
        tapped.tap.open(Box::new(|_| Ok(())));
        let mut passed = Vec::new();
        tapped.read_to_end(&mut passed).await.unwrap();
        assert!(tapped.buffer.len() <= 2 * BUFFER, "{}", tapped.buffer.len());
    }
}
