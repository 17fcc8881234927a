//! A tree's file, read within bounds.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::diagnostic::Finding;
use super::load::{Loaded, load};
use super::render::printable;
use super::syntax::{self, FILE_BYTES_MAX};

/// Why a file could not be read at all. What is wrong with its content is a [`Finding`].
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", printable(&path.to_string_lossy()))]
pub struct ReadError {
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// A file's text, as findings point into it.
#[derive(Debug)]
pub struct Source {
    /// Where it was read.
    pub path: PathBuf,
    /// What it holds; what is not UTF-8 is replaced by U+FFFD. Empty for a file that is too large.
    pub text: String,
    /// Why the content is no text of a tree.
    flaw: Option<Finding>,
}

impl Source {
    /// Takes in the bytes of a file.
    fn new(path: &Path, bytes: Vec<u8>) -> Source {
        let path = path.to_owned();
        if bytes.len() > FILE_BYTES_MAX {
            return Source { path, text: String::new(), flaw: Some(syntax::too_large()) };
        }
        match String::from_utf8(bytes) {
            Ok(text) => Source { path, text, flaw: None },
            Err(error) => {
                // Up to the first bad byte both texts are the same, so its place is.
                let at = error.utf8_error().valid_up_to();
                let flaw = syntax::not_utf8(at, error.as_bytes()[at]);
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                Source { path, text, flaw: Some(flaw) }
            }
        }
    }

    /// Loads the tree.
    pub fn load(&self) -> Loaded {
        match &self.flaw {
            Some(flaw) => Loaded::refused(flaw.clone()),
            None => load(&self.text),
        }
    }
}

/// Reads a tree's file, at most [`FILE_BYTES_MAX`] bytes and one of it.
///
/// # Errors
///
/// The file can't be opened or read. A file that is too large or not UTF-8 can: [`Source::load`]
/// says so in a finding.
pub fn read(path: &Path) -> Result<Source, ReadError> {
    let error = |source| ReadError { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let limit = FILE_BYTES_MAX as u64 + 1;
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(error)?;
    Ok(Source::new(path, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Lines, Place, code};

    #[test]
    fn names_the_file_that_it_cannot_read() {
        let error = read(Path::new("no/such/ivr.json")).unwrap_err();
        assert_eq!("cannot read no/such/ivr.json", error.to_string());
        assert_eq!(io::ErrorKind::NotFound, error.source.kind());
        assert!(read(Path::new("src")).is_err());
    }

    #[test]
    fn finds_the_byte_that_is_not_utf_8() {
        let source = Source::new(Path::new("x"), b"{\n \"\xc3\xa9\xff\xff\"}".to_vec());
        let loaded = source.load();
        let [finding] = &loaded.findings[..] else { panic!("{:?}", loaded.findings) };
        assert_eq!((code::NOT_JSON, "byte 0xff is not UTF-8"), (finding.code, finding.message.as_str()));
        assert_eq!(Place { line: 2, column: 4 }, Lines::new(&source.text).place(finding.span.start));
        assert_eq!("\u{fffd}", &source.text[finding.span.clone()]);
    }

    #[test]
    fn refuses_a_file_that_never_ends() {
        let source = read(Path::new("/dev/zero")).unwrap();
        let loaded = source.load();
        assert_eq!((0, code::TOO_LARGE), (source.text.len(), loaded.findings[0].code));
    }
}
