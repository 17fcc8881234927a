//! The state directory: made, and held against a second daemon.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// The state directory, held until this is dropped.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Its lock belongs to the descriptor: the kernel lets go of it however we end.
    _lock: File,
}

/// Why the state directory can't be used.
#[derive(Debug)]
pub(super) enum Refused {
    /// Another daemon holds it.
    InUse,
    /// It is not what it should be: somebody has to change the setting or the directory.
    Wrong(io::Error),
    /// The disk doesn't work: it may later.
    Disk(io::Error),
}

impl Directory {
    /// Makes the directory if need be (0700; one that is there keeps its mode), and holds it.
    pub(super) fn hold(path: &Path) -> Result<Directory, Refused> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                // Of a file system that is read-only the directory may be there all the same.
                if !path.is_dir() {
                    return Err(refused(error));
                }
            }
            Ok(()) | Err(_) => (),
        }
        let lock = File::open(path).map_err(refused)?;
        if !lock.metadata().map_err(refused)?.is_dir() {
            return Err(Refused::Wrong(ErrorKind::NotADirectory.into()));
        }
        // flock(2) needs no file and no room: it works where the disk is full or read-only.
        match lock.try_lock() {
            Ok(()) => Ok(Directory { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Refused::InUse),
            Err(TryLockError::Error(error)) => Err(refused(error)),
        }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Sees to it that what was renamed stays so over a power cut.
    pub(super) fn sync(&self) -> io::Result<()> {
        self._lock.sync_all()
    }
}

/// Tells what somebody has set wrong from what the disk does.
pub(super) fn refused(error: io::Error) -> Refused {
    let is_wrong = matches!(
        error.kind(),
        ErrorKind::PermissionDenied
            | ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::InvalidInput
            | ErrorKind::InvalidFilename
    );
    if is_wrong { Refused::Wrong(error) } else { Refused::Disk(error) }
}

/// Names a file as it is now: whether a path still leads to the same one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

/// Returns which file a path leads to; `None` if to none.
pub(super) fn identity(path: &Path) -> Option<Identity> {
    // By its path: a descriptor of our own would, when it is closed, drop the locks that SQLite holds.
    let metadata = path.symlink_metadata().ok()?;
    Some(Identity { device: metadata.dev(), inode: metadata.ino() })
}
