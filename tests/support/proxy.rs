//! A proxy of connections before a server of this machine, on which something happens to what a client sends.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens, once, after so many bytes from the client.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    /// The connection breaks.
    Cut(usize),
    /// Nothing goes on for so long.
    Delay(usize, Duration),
    /// The next byte that is not ASCII, and so belongs to no header, is another.
    Corrupt(usize),
    /// What the server answers from then on does not arrive, and the connection breaks.
    LoseAnswers(usize),
}

/// A proxy; it ends when it is dropped, its connections with their ends.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    trouble: Arc<Mutex<Option<Trouble>>>,
    stopped: Arc<AtomicBool>,
}

impl Proxy {
    /// A proxy before `host` (`127.0.0.1:port`).
    pub fn start(host: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let trouble = Arc::new(Mutex::new(None));
        let stopped = Arc::new(AtomicBool::new(false));
        let (shared, ends, host) = (Arc::clone(&trouble), Arc::clone(&stopped), host.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                if let (Ok(client), Ok(server)) = (client, TcpStream::connect(&host)) {
                    connect(client, server, Arc::clone(&shared));
                }
            }
        });
        Self {
            address,
            trouble,
            stopped,
        }
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// What is to happen.
    pub fn set(&self, trouble: Option<Trouble>) {
        *self.trouble.lock().expect("the trouble") = trouble;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // The listener wakes up to see that it has ended.
        let _ = TcpStream::connect(self.address);
    }
}

fn connect(client: TcpStream, server: TcpStream, trouble: Arc<Mutex<Option<Trouble>>>) {
    let mute = Arc::new(AtomicBool::new(false));
    let (from, to) = (
        server.try_clone().expect("a socket"),
        client.try_clone().expect("a socket"),
    );
    let muted = Arc::clone(&mute);
    std::thread::spawn(move || back(from, to, &muted));
    std::thread::spawn(move || forth(client, server, &trouble, &mute));
}

fn back(mut from: TcpStream, mut to: TcpStream, mute: &AtomicBool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if mute.load(Ordering::Relaxed) || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

fn forth(
    mut from: TcpStream,
    mut to: TcpStream,
    trouble: &Mutex<Option<Trouble>>,
    mute: &AtomicBool,
) {
    let mut buffer = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let (mut pass, mut breaks, mut wait) = (read, false, Duration::ZERO);
        {
            let mut trouble = trouble.lock().expect("the trouble");
            let left = |after: usize| after.checked_sub(read).filter(|left| *left > 0);
            *trouble = match trouble.take() {
                None => None,
                Some(Trouble::Cut(after)) => left(after).map(Trouble::Cut).or_else(|| {
                    (pass, breaks) = (after.min(read), true);
                    None
                }),
                Some(Trouble::Delay(after, time)) => left(after)
                    .map(|left| Trouble::Delay(left, time))
                    .or_else(|| {
                        wait = time;
                        None
                    }),
                Some(Trouble::Corrupt(after)) => left(after).map(Trouble::Corrupt).or_else(|| {
                    let rest = &mut buffer[after.min(read)..read];
                    match rest.iter_mut().find(|byte| !byte.is_ascii()) {
                        Some(byte) => {
                            *byte ^= 1;
                            None
                        }
                        None => Some(Trouble::Corrupt(0)),
                    }
                }),
                Some(Trouble::LoseAnswers(after)) => {
                    left(after).map(Trouble::LoseAnswers).or_else(|| {
                        mute.store(true, Ordering::Relaxed);
                        None
                    })
                }
            };
        }
        std::thread::sleep(wait);
        if to.write_all(&buffer[..pass]).is_err() || breaks {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
