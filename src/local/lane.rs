//! The private way from the gate to tiny_http: a unix socket in a directory that nobody else may enter.

use std::collections::hash_map::RandomState;
use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::hash::BuildHasher;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tiny_http::Server;

use crate::platform;

/// tiny_http, and the way to it.
pub(super) struct Lane {
    directory: PathBuf,
    /// `None` while it is started anew.
    server: Mutex<Option<Arc<Server>>>,
    stopping: AtomicBool,
}

impl Lane {
    /// Makes the directory and starts tiny_http in it.
    ///
    /// # Errors
    ///
    /// Returns the last error where no directory can be made in any of the usual places.
    pub(super) fn open() -> io::Result<Lane> {
        let mut last = io::Error::from(ErrorKind::NotFound);
        for base in bases(|name| env::var_os(name)) {
            let name = format!("dtmfd-{:016x}", RandomState::new().hash_one(std::process::id()));
            let directory = base.join(name);
            match DirBuilder::new().mode(0o700).create(&directory) {
                Ok(()) => {
                    let lane = Lane { directory, server: Mutex::new(None), stopping: AtomicBool::new(false) };
                    match lane.start() {
                        Ok(()) => return Ok(lane),
                        Err(error) => last = error, // The path may be too long for a socket.
                    }
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Starts tiny_http, in place of one that has died if there was one.
    ///
    /// # Errors
    ///
    /// Returns why not, and can be called again: what lacked may come back.
    pub(super) fn start(&self) -> io::Result<()> {
        let mut server = self.server();
        *server = None; // Removes the socket as well.
        if let Err(error) = fs::remove_file(self.path())
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error); // A start that failed half-way had left it behind.
        }
        let listener = UnixListener::bind(self.path())?;
        // It panics where the system has no thread to give, and has touched nothing of ours by then.
        let started = panic::catch_unwind(AssertUnwindSafe(|| Server::from_listener(listener, None)));
        let started = started.unwrap_or_else(|_| Err("there is no thread to be had".into()));
        *server = Some(Arc::new(started.map_err(io::Error::other)?));
        Ok(())
    }

    /// Returns tiny_http, if it has been started.
    pub(super) fn current(&self) -> Option<Arc<Server>> {
        self.server().clone()
    }

    /// Connects to tiny_http without waiting.
    pub(super) fn connect(&self) -> io::Result<UnixStream> {
        let connected = platform::connect_unix(&self.path());
        if connected.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
            // Its accept thread has died, of which `recv` may never tell: this makes it look.
            self.wake();
        }
        connected
    }

    /// Returns whether nobody listens any more. Where that cannot be found out for now the answer is no:
    /// to give up a server that lives would leave its thread and its socket behind.
    pub(super) fn is_dead(&self) -> bool {
        let dead = [ErrorKind::ConnectionRefused, ErrorKind::NotFound];
        platform::connect_unix(&self.path()).is_err_and(|error| dead.contains(&error.kind()))
    }

    /// Makes whoever waits in `recv` look, and return.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn wake(&self) {
        if let Some(server) = self.current() {
            server.unblock();
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.join("api")
    }

    fn server(&self) -> MutexGuard<'_, Option<Arc<Server>>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        *self.server() = None;
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// Returns where the directory may lie, best first: systemd's for this service, the session's, any.
fn bases(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    // systemd writes several directories with colons between.
    let service = variable("RUNTIME_DIRECTORY").and_then(|all| env::split_paths(&all).next());
    let session = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
    let named = [service, session].into_iter().flatten().filter(|path| path.is_absolute());
    named.chain([env::temp_dir()]).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn lies_in_a_directory_of_its_own_that_goes_with_it() {
        let lane = Lane::open().unwrap();
        let directory = lane.directory.clone();
        assert_eq!(0o700, fs::metadata(&directory).unwrap().permissions().mode() & 0o777);
        assert!(lane.connect().is_ok() && !lane.is_dead());
        lane.start().unwrap();
        assert!(lane.connect().is_ok(), "the second server listens at the same place");
        assert!(!lane.is_stopping());
        *lane.server() = None;
        drop(UnixListener::bind(lane.path()).unwrap()); // What a start leaves behind that failed half-way.
        assert!(lane.is_dead());
        lane.start().unwrap();
        assert!(lane.connect().is_ok(), "a socket that was left behind is in nobody's way");
        drop(lane);
        assert!(!directory.exists());
    }

    #[test]
    fn lies_where_the_service_or_the_session_has_its_place() {
        let look = |service: &str, session: &str| {
            let bases = bases(|name| {
                let value = if name == "RUNTIME_DIRECTORY" { service } else { session };
                (!value.is_empty()).then(|| value.into())
            });
            bases[..bases.len() - 1].to_vec()
        };
        assert_eq!(vec![PathBuf::from("/run/a"), "/run/user/1".into()], look("/run/a:/run/b", "/run/user/1"));
        assert_eq!(Vec::<PathBuf>::new(), look("", "relative"));
    }
}
