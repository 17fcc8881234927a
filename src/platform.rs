//! The few lines of `unsafe` that the platform forces, each with its reason; everything else forbids it.
#![expect(
    unsafe_code,
    reason = "poll(2), mallopt(3), prctl(2), setrlimit(2), CLOCK_BOOTTIME and non-blocking unix sockets have no safe form in std"
)]

use std::fs::{self, Permissions};
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

/// How many bytes a unix socket's path may have: `sun_path` less its NUL.
pub const UNIX_PATH_MAX: usize = 107;

/// How many connections may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: libc::c_int = 128;

/// A descriptor to wait for, and afterwards what it is ready for.
#[derive(Debug)]
#[repr(transparent)]
pub struct PollFd<'a> {
    raw: libc::pollfd,
    fd: PhantomData<BorrowedFd<'a>>,
}

/// What a descriptor turned out to be ready for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ready {
    /// A read would not block: there are bytes, or the end.
    pub read: bool,
    /// A write would not block.
    pub write: bool,
    /// The peer has gone in both directions, or the socket has failed. Told whether or not asked for.
    pub gone: bool,
}

impl<'a> PollFd<'a> {
    /// Waits for `fd` to be readable or writable, as asked; for neither, only for its failure.
    pub fn new(fd: BorrowedFd<'a>, read: bool, write: bool) -> PollFd<'a> {
        let events = if read { libc::POLLIN } else { 0 } | if write { libc::POLLOUT } else { 0 };
        PollFd { raw: libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }, fd: PhantomData }
    }

    /// Returns what the last [`poll`] found.
    pub fn ready(&self) -> Ready {
        let has = |bits| self.raw.revents & bits != 0;
        Ready {
            read: has(libc::POLLIN),
            write: has(libc::POLLOUT),
            gone: has(libc::POLLERR | libc::POLLHUP | libc::POLLNVAL),
        }
    }
}

/// Waits until a descriptor is ready, a signal comes or `timeout` has passed, and returns how many are ready.
///
/// A timeout is rounded up to whole milliseconds, so that a deadline has passed when it is over. Zero
/// ready descriptors may mean a signal: look at the clock, not at the count.
///
/// # Errors
///
/// Returns the error of poll(2) other than `EINTR`; only lack of kernel memory is left.
pub fn poll(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<usize> {
    let timeout_ms = timeout.map_or(-1, |timeout| {
        let ms = timeout.as_nanos().div_ceil(1_000_000);
        libc::c_int::try_from(ms).unwrap_or(libc::c_int::MAX)
    });
    // SAFETY: `PollFd` is a transparent `pollfd`, so this is an array of `fds.len()` of them, which poll
    // writes to only while the call lasts; the descriptors are borrowed, so they are open.
    let n = unsafe { libc::poll(fds.as_mut_ptr().cast(), fds.len() as libc::nfds_t, timeout_ms) };
    usize::try_from(n).or_else(|_| {
        let error = io::Error::last_os_error();
        // The kernel leaves `revents` alone on an error, and it was zero or is from before.
        for fd in fds {
            fd.raw.revents = 0;
        }
        if error.kind() == io::ErrorKind::Interrupted { Ok(0) } else { Err(error) }
    })
}

/// Makes glibc keep one heap for all threads. Call it before the first thread starts.
///
/// Left alone it makes up to 8 heaps a core, each of which keeps what was once freed in it. Elsewhere
/// (musl) there is nothing to do.
pub fn limit_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: mallopt takes two integers and locks the allocator itself.
        let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    }
}

/// Returns the time since the machine was started, with the time that it slept: no one can set this clock.
pub fn boottime() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec` where `now` is, which lives over the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    assert_eq!(0, result, "every Linux since 2.6.39 has CLOCK_BOOTTIME");
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Keeps this process's memory, which holds secrets, to itself: no core file of it is written, and no other
/// process of our user may read it or its environment. Root may.
///
/// # Errors
///
/// Returns what setrlimit(2) or prctl(2) said; both are allowed to everybody.
pub fn keep_memory_private() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: setrlimit reads the struct while the call lasts.
    if unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) } != 0 {
        return Err(io::Error::last_os_error());
    }
    #[cfg(target_os = "linux")]
    {
        let no: libc::c_ulong = 0;
        // SAFETY: prctl takes numbers here. A core that goes to a program (core_pattern) has no limit, but this.
        if unsafe { libc::prctl(libc::PR_SET_DUMPABLE, no, no, no, no) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Connects to the unix socket at `path` without ever waiting, and returns a non-blocking stream.
///
/// # Errors
///
/// Returns `WouldBlock` when too many connections wait to be accepted there (std's connect would wait,
/// for ever if need be), else what socket(2) or connect(2) said.
pub fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let socket = unix_socket()?;
    let (address, length) = unix_address(path)?;
    // SAFETY: `address` is a `sockaddr_un` of which `length` bytes are set, alive over the call.
    let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result == 0 { Ok(UnixStream::from(socket)) } else { Err(io::Error::last_os_error()) }
}

/// Listens at `path`, which must not exist yet, on a socket with the permissions `mode`; it is non-blocking.
///
/// The permissions are set before it listens, so nobody whom they keep out can connect in between.
///
/// # Errors
///
/// Returns what socket(2), bind(2), chmod(2) or listen(2) said; `path` is gone again if it was made.
pub fn listen_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let socket = unix_socket()?;
    let (address, length) = unix_address(path)?;
    // SAFETY: as in `connect_unix`.
    if unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let listening = fs::set_permissions(path, Permissions::from_mode(mode)).and_then(|()| {
        // SAFETY: listen takes a descriptor, which is open, and a number.
        let result = unsafe { libc::listen(socket.as_raw_fd(), BACKLOG) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    });
    match listening {
        Ok(()) => Ok(UnixListener::from(socket)),
        Err(error) => {
            let _ = fs::remove_file(path);
            Err(error)
        }
    }
}

fn unix_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket takes three numbers.
    let fd = unsafe { libc::socket(libc::AF_UNIX, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn unix_address(path: &Path) -> io::Result<(libc::sockaddr_un, libc::socklen_t)> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.len() > UNIX_PATH_MAX || bytes.contains(&0) {
        let why = format!("a unix socket's path has 1 to {UNIX_PATH_MAX} bytes and no NUL");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    // SAFETY: all zeroes is a `sockaddr_un`: it has numbers only.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (place, byte) in address.sun_path.iter_mut().zip(bytes) {
        *place = *byte as libc::c_char;
    }
    let length = mem::offset_of!(libc::sockaddr_un, sun_path) + bytes.len() + 1;
    Ok((address, length as libc::socklen_t))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::time::Instant;

    use super::*;

    #[test]
    fn tells_what_a_socket_is_ready_for() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let look = |stream: &UnixStream, read, write| {
            let mut fds = [PollFd::new(stream.as_fd(), read, write)];
            poll(&mut fds, Some(Duration::from_millis(1))).unwrap();
            fds[0].ready()
        };
        assert_eq!(Ready { read: false, write: true, gone: false }, look(&ours, true, true));
        theirs.write_all(b"x").unwrap();
        assert_eq!(Ready { read: true, write: false, gone: false }, look(&ours, true, false));
        ours.read_exact(&mut [0]).unwrap();
        drop(theirs);
        assert_eq!(Ready { read: false, write: false, gone: true }, look(&ours, false, false));
    }

    #[test]
    fn a_timeout_is_never_short() {
        for us in [1, 900, 1_100] {
            let begin = Instant::now();
            assert_eq!(0, poll(&mut [], Some(Duration::from_micros(us))).unwrap());
            assert!(begin.elapsed() >= Duration::from_micros(us), "{us} us");
        }
    }

    #[test]
    fn connects_and_listens_without_waiting() {
        let directory = std::env::temp_dir().join(format!("dtmfd-platform-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("a.sock");
        assert_eq!(io::ErrorKind::NotFound, connect_unix(&path).unwrap_err().kind());
        let listener = listen_unix(&path, 0o600).unwrap();
        assert_eq!(0o600, fs::metadata(&path).unwrap().permissions().mode() & 0o777);
        assert_eq!(io::ErrorKind::AddrInUse, listen_unix(&path, 0o600).unwrap_err().kind());
        let mut waiting = Vec::new();
        let error = loop {
            match connect_unix(&path) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(io::ErrorKind::WouldBlock, error.kind(), "after {}", waiting.len());
        assert!(listener.accept().is_ok());
        drop(listener);
        assert_eq!(io::ErrorKind::ConnectionRefused, connect_unix(&path).unwrap_err().kind());
        let long = directory.join("x".repeat(UNIX_PATH_MAX));
        assert_eq!(io::ErrorKind::InvalidInput, listen_unix(&long, 0o600).unwrap_err().kind());
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn arenas_can_be_limited() {
        limit_arenas();
    }
}
