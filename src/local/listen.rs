//! Where the local API listens: a TCP address or a unix socket.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::platform;
use crate::tree::printable;

/// Where to listen (`--listen`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listen {
    /// At an address; port 0 lets the system choose one.
    Tcp(SocketAddr),
    /// At a path, where only our own user may connect.
    Unix(PathBuf),
}

/// A text that names no place to listen.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadListen {
    /// It is neither an address with a port nor a unix socket. The text itself isn't repeated: who tells of it names it.
    #[error(
        "it is no place to listen: write 127.0.0.1:8080, [::1]:8080, localhost:8080 or unix:/run/dtmfd.sock"
    )]
    Form,
    /// The path cannot be that of a socket.
    #[error("the path after `unix:` has 1 to {max} bytes and no NUL, not {n}", max = platform::UNIX_PATH_MAX)]
    Path {
        /// How many bytes it has.
        n: usize,
    },
}

impl FromStr for Listen {
    type Err = BadListen;

    fn from_str(text: &str) -> Result<Listen, BadListen> {
        if let Some(path) = text.strip_prefix("unix:") {
            let fits = !path.is_empty() && path.len() <= platform::UNIX_PATH_MAX && !path.contains('\0');
            return if fits { Ok(Listen::Unix(path.into())) } else { Err(BadListen::Path { n: path.len() }) };
        }
        let address = match text.strip_prefix("localhost:") {
            // Not looked up: whatever the resolver says, this means this machine only.
            Some(port) => port.parse().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok(),
            None => text.parse().ok(),
        };
        address.map(Listen::Tcp).ok_or(BadListen::Form)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path) => write!(f, "unix:{}", printable(&path.to_string_lossy())),
        }
    }
}

impl Listen {
    /// Returns whether only processes of this machine can connect.
    pub fn is_loopback(&self) -> bool {
        match self {
            Listen::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Listen::Unix(_) => true,
        }
    }
}

/// A listening socket; it does not block.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    /// The path goes when this does.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Listens, in place of a unix socket that nobody answers at any more.
    pub(super) fn bind(listen: &Listen) -> io::Result<Listener> {
        match listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok(Listener::Tcp(listener))
            }
            Listen::Unix(path) => {
                remove_stale(path)?;
                Ok(Listener::Unix(platform::listen_unix(path, 0o600)?, path.clone()))
            }
        }
    }

    /// Returns where it listens, with the port that the system chose.
    pub(super) fn local(&self) -> io::Result<Listen> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
            Listener::Unix(_, path) => Ok(Listen::Unix(path.clone())),
        }
    }

    /// Accepts one connection, and says whose it is.
    pub(super) fn accept(&self) -> io::Result<(Stream, String)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nonblocking(true)?;
                let _ = stream.set_nodelay(true); // Only a matter of speed.
                Ok((Stream::Tcp(stream), peer.to_string()))
            }
            Listener::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok((Stream::Unix(stream), "unix".to_owned()))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            let _ = fs::remove_file(path);
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener, _) => listener.as_fd(),
        }
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let in_use = |why| Err(io::Error::new(io::ErrorKind::AddrInUse, why));
    if !kind.is_socket() {
        return in_use("there is a file of that name which is not a socket");
    }
    match platform::connect_unix(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A full queue is somebody's, too.
        Ok(_) | Err(_) => in_use("another process answers there"),
    }
}

/// A client's connection; it does not block.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(how),
            Stream::Unix(stream) => stream.shutdown(how),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn reads_and_writes_places() {
        for (text, shown, loopback) in [
            ("127.0.0.1:8080", "127.0.0.1:8080", true),
            ("127.9.9.9:0", "127.9.9.9:0", true),
            ("[::1]:8080", "[::1]:8080", true),
            ("[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:1", true),
            ("localhost:8080", "127.0.0.1:8080", true),
            ("0.0.0.0:8080", "0.0.0.0:8080", false),
            ("[::]:8080", "[::]:8080", false),
            ("192.0.2.1:80", "192.0.2.1:80", false),
            ("unix:/run/x.sock", "unix:/run/x.sock", true),
            ("unix:x", "unix:x", true),
        ] {
            let listen: Listen = text.parse().unwrap();
            assert_eq!((shown.to_owned(), loopback), (listen.to_string(), listen.is_loopback()), "{text}");
        }
        let long = format!("unix:/{}", "x".repeat(107));
        for text in
            ["", "8080", ":8080", "127.0.0.1", "localhost", "localhost:x", "host:80", "[::1]", "unix:"]
        {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
        assert_eq!(Err(BadListen::Path { n: 108 }), long.parse::<Listen>());
    }

    #[test]
    fn takes_the_place_of_a_socket_only_when_nobody_answers_there() {
        let directory = std::env::temp_dir().join(format!("dtmfd-listen-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("api.sock");
        let listen = Listen::Unix(path.clone());

        drop(UnixListener::bind(&path).unwrap()); // Leaves the file, as a killed process would.
        let listener = Listener::bind(&listen).unwrap();
        assert_eq!(0o600, fs::metadata(&path).unwrap().permissions().mode() & 0o777);
        let error = Listener::bind(&listen).unwrap_err();
        assert_eq!(io::ErrorKind::AddrInUse, error.kind());
        assert!(error.to_string().contains("answers"), "{error}");
        drop(listener);
        assert!(!path.exists());

        fs::write(&path, "precious").unwrap();
        assert!(Listener::bind(&listen).unwrap_err().to_string().contains("not a socket"));
        assert_eq!("precious", fs::read_to_string(&path).unwrap());
        fs::remove_dir_all(&directory).unwrap();
    }
}
