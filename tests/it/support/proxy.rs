//! A connection's bad days: a proxy before the server that is late, cuts what passes, or loses it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::free_port;

pub struct Proxy {
    pub port: u16,
    /// How many bytes clients have sent.
    sent: Arc<AtomicUsize>,
}

impl Proxy {
    /// Begins to listen only after a while, on a port that refuses until then.
    pub fn late(server: u16, after: Duration) -> Proxy {
        let (port, sent) = (free_port(), Arc::default());
        let count = Arc::clone(&sent);
        std::thread::spawn(move || {
            std::thread::sleep(after);
            serve(TcpListener::bind(("127.0.0.1", port)).unwrap(), server, usize::MAX, End::Cut, count);
        });
        Proxy { port, sent }
    }

    /// Brings everything, and counts what clients send.
    pub fn counting(server: u16) -> Proxy {
        Proxy::over(TcpListener::bind("127.0.0.1:0").unwrap(), server, usize::MAX, End::Cut)
    }

    /// How many bytes clients have sent since that was asked.
    pub fn sent(&self) -> usize {
        self.sent.swap(0, Ordering::Relaxed)
    }

    fn over(listener: TcpListener, server: u16, after: usize, end: End) -> Proxy {
        let (port, sent) = (listener.local_addr().unwrap().port(), Arc::default());
        let count = Arc::clone(&sent);
        std::thread::spawn(move || serve(listener, server, after, end, count));
        Proxy { port, sent }
    }

    /// Cuts every connection once the server has sent so many bytes over all of them.
    pub fn cutting(server: u16, after: usize) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Proxy::over(listener, server, after, End::Cut)
    }

    /// Brings nothing more of one connection, once the server has sent so many bytes over all of them, and keeps it.
    pub fn losing(server: u16, after: usize) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Proxy::over(listener, server, after, End::Lost)
    }
}

/// What becomes of connections when enough has passed.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Cut,
    /// One of them keeps silent, and the others go on.
    Lost,
}

fn serve(listener: TcpListener, server: u16, most: usize, end: End, sent: Arc<AtomicUsize>) {
    let passed = Arc::new(AtomicUsize::new(0));
    for client in listener.incoming() {
        let (Ok(client), Ok(upstream)) = (client, TcpStream::connect(("127.0.0.1", server))) else {
            continue;
        };
        let (passed, sent) = (Arc::clone(&passed), Arc::clone(&sent));
        let (there, back) = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
        std::thread::spawn(move || carry(client, there, &sent, usize::MAX, End::Cut));
        std::thread::spawn(move || carry(upstream, back, &passed, most, end));
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, passed: &AtomicUsize, most: usize, end: End) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let before = passed.fetch_add(read, Ordering::Relaxed);
        if end == End::Lost && before <= most && before + read > most {
            std::thread::sleep(Duration::from_secs(600));
        }
        if (end == End::Cut && before > most) || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
