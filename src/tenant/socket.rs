//! A connection to the tenant, plain or over TLS, whose reads and writes can have a deadline.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use native_tls::TlsStream;

/// How far a socket's timeout may be off before it is set anew: a system call saved on most reads, for a deadline that
/// may come this much late.
const SLACK: Duration = Duration::from_millis(50);

/// A TCP connection whose reads and writes can have a deadline.
///
/// A timeout of the socket's own bounds one system call, and TLS makes as many as a record needs: a peer that sends a
/// byte now and then would never meet it. A deadline below TLS ends those too.
pub struct Socket {
    tcp: TcpStream,
    deadline: Option<Instant>,
    /// What the socket's own timeouts were last set to, where we know.
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

/// A connection to the tenant.
pub enum Stream {
    /// Without TLS: this host only, see [`super::Url`].
    Plain(Socket),
    /// Over TLS; boxed because it is the larger by far.
    Tls(Box<TlsStream<Socket>>),
}

impl Socket {
    /// Takes over a TCP connection, which has no timeouts from here.
    pub(super) fn new(tcp: TcpStream) -> Socket {
        Socket { tcp, deadline: None, read_timeout: None, write_timeout: None }
    }

    /// Returns the TCP connection.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Lets reads and writes fail with [`ErrorKind::TimedOut`] from this instant.
    ///
    /// `None` clears the socket's own timeouts too, for whoever sets them through [`Socket::tcp`].
    pub(super) fn set_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.deadline = deadline;
        if deadline.is_none() && (self.read_timeout.is_some() || self.write_timeout.is_some()) {
            self.tcp.set_read_timeout(None)?;
            self.tcp.set_write_timeout(None)?;
            (self.read_timeout, self.write_timeout) = (None, None);
        }
        Ok(())
    }

    /// Repeats `io` until it has done something or the deadline has passed.
    fn until_deadline(
        &mut self,
        last_set: fn(&mut Socket) -> &mut Option<Duration>,
        set: fn(&TcpStream, Option<Duration>) -> io::Result<()>,
        mut io: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let Some(deadline) = self.deadline else { return io(&self.tcp) };
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            if last_set(self).is_none_or(|last| last.abs_diff(left) > SLACK) {
                set(&self.tcp, Some(left))?;
                *last_set(self) = Some(left);
            }
            match io(&self.tcp) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => (),
                done => return done,
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.until_deadline(
            |socket| &mut socket.read_timeout,
            TcpStream::set_read_timeout,
            |mut tcp| tcp.read(into),
        )
    }
}

impl Write for Socket {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.until_deadline(
            |socket| &mut socket.write_timeout,
            TcpStream::set_write_timeout,
            |mut tcp| tcp.write(from),
        )
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // TCP has nothing to flush.
    }
}

impl Stream {
    /// Returns the TCP connection, to be shut down by another thread or to have timeouts set.
    pub fn tcp(&self) -> &TcpStream {
        self.socket().tcp()
    }

    /// Returns whether it runs over TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    /// Lets reads and writes fail with [`ErrorKind::TimedOut`] from this instant, however slowly the peer goes on.
    ///
    /// After such a failure a TLS stream can't be used any more. With `None`, which is how [`super::Net::dial`] returns
    /// it, the socket's own timeouts hold, as set through [`Stream::tcp`]; they surface as [`ErrorKind::WouldBlock`]
    /// and do no harm. Don't mix the two: a deadline sets those timeouts too, and `None` clears them.
    ///
    /// # Errors
    ///
    /// Returns the system's error if it doesn't take a timeout.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.set_deadline(deadline),
            Stream::Tls(tls) => tls.get_mut().set_deadline(deadline),
        }
    }

    /// Returns whether the connection stands and nothing waits to be read: whether it can carry another request.
    ///
    /// It reads through TLS, which takes in session tickets and the like: they don't count. What else it reads is lost,
    /// so don't use the connection after `false`.
    pub(super) fn is_idle(&mut self) -> bool {
        if self.set_deadline(None).is_err() || self.tcp().set_nonblocking(true).is_err() {
            return false;
        }
        let read = self.read(&mut [0]);
        let is_quiet = read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        is_quiet && self.tcp().set_nonblocking(false).is_ok()
    }

    fn socket(&self) -> &Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => tls.get_ref(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(into),
            Stream::Tls(tls) => tls.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(from),
            Stream::Tls(tls) => tls.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.flush(),
            Stream::Tls(tls) => tls.flush(),
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("tcp", &self.tcp).field("deadline", &self.deadline).finish()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("tls", &self.is_tls()).field("tcp", self.tcp()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let (far, _) = listener.accept().expect("a connection");
        (Stream::Plain(Socket::new(near)), far)
    }

    #[test]
    fn a_deadline_holds_for_reads_and_writes_and_can_be_lifted() {
        let (mut near, mut far) = pair();
        let begin = Instant::now();
        near.set_deadline(Some(begin + Duration::from_millis(60))).unwrap();
        assert_eq!(ErrorKind::TimedOut, near.read(&mut [0; 9]).unwrap_err().kind());
        assert_eq!(ErrorKind::TimedOut, near.write(b"x").unwrap_err().kind(), "it has passed for both");
        assert!((60..2000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());

        near.set_deadline(Some(Instant::now() + Duration::from_millis(60))).unwrap();
        let block = vec![0; 1 << 20];
        let error = (0..64).find_map(|_| near.write_all(&block).err()).expect("the peer reads nothing");
        assert_eq!(ErrorKind::TimedOut, error.kind());

        near.set_deadline(None).unwrap();
        assert_eq!(None, near.tcp().read_timeout().unwrap());
        assert_eq!(None, near.tcp().write_timeout().unwrap());
        far.write_all(b"x").unwrap();
        assert_eq!(1, near.read(&mut [0; 9]).unwrap());
    }

    #[test]
    fn a_drip_does_not_stretch_a_deadline() {
        let (mut near, mut far) = pair();
        let drip = thread::spawn(move || {
            // It ends when the near side is gone, or after two seconds.
            for _ in 0..200 {
                if far.write_all(b".").is_err() {
                    break;
                }
                thread::sleep(Duration::from_millis(10));
            }
        });
        let begin = Instant::now();
        near.set_deadline(Some(begin + Duration::from_millis(100))).unwrap();
        let error = near.read_exact(&mut [0; 1000]).unwrap_err();
        assert_eq!(ErrorKind::TimedOut, error.kind());
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        drop(near);
        drip.join().expect("no panic");
    }

    #[test]
    fn tells_whether_it_can_carry_another_request() {
        let (mut near, mut far) = pair();
        assert!(near.is_idle());
        assert!(near.is_idle(), "asking does no harm");
        far.write_all(b"x").unwrap();
        near.tcp().peek(&mut [0]).expect("the byte has come");
        assert!(!near.is_idle(), "unasked bytes");

        let (mut near, far) = pair();
        drop(far);
        near.tcp().peek(&mut [0]).expect("the end has come");
        assert!(!near.is_idle(), "the peer has closed");
    }
}
