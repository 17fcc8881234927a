//! A request as it arrives, piece by piece and within bounds.

use super::head::{BODY_MAX, HEAD_MAX, Head};
use super::problem::Problem;

/// A request of which not all has come yet. It never holds more than [`HEAD_MAX`] and [`BODY_MAX`] bytes.
#[derive(Default, Debug)]
pub(super) struct Arriving {
    bytes: Vec<u8>,
    part: Part,
}

#[derive(Debug)]
enum Part {
    /// The head; the bytes before `looked_at` are known to be part of it.
    Head { looked_at: usize },
    /// The body: the head has been replaced by its canonical form, and all is there at `length` bytes.
    Body { length: usize },
}

impl Default for Part {
    fn default() -> Part {
        Part::Head { looked_at: 0 }
    }
}

/// How far a request has come.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// More has to come.
    More,
    /// More has to come, and the client waits for `100 Continue` before it sends it.
    Continue,
    /// It is there: this is what to send to tiny_http.
    Whole(Vec<u8>),
}

impl Arriving {
    /// Returns how many bytes may be read now; never 0.
    ///
    /// Once the head is known this is what is missing of the body: what comes after it is never read.
    pub(super) fn room(&self) -> usize {
        match self.part {
            Part::Head { .. } => HEAD_MAX + BODY_MAX - self.bytes.len(),
            Part::Body { length } => length - self.bytes.len(),
        }
    }

    /// Returns how many bytes of memory it takes.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// Returns whether nothing has come yet.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.part, Part::Head { .. }) && self.bytes.is_empty()
    }

    /// Returns whether an answer to this must have no body.
    pub(super) fn is_head_request(&self) -> bool {
        self.bytes.starts_with(b"HEAD ")
    }

    /// Takes in what was read from the peer, who is called `peer`.
    ///
    /// # Errors
    ///
    /// Returns what to answer instead; nothing more of this request must be read.
    pub(super) fn take(&mut self, read: &[u8], peer: &str) -> Result<Progress, Problem> {
        self.bytes.reserve_exact(read.len());
        self.bytes.extend_from_slice(read);
        let mut expects_continue = false;
        if let Part::Head { looked_at } = &mut self.part {
            // RFC 9112 section 2.2: an empty line before the request is to be overlooked.
            let begin = if self.bytes.starts_with(b"\r\n") { 2 } else { 0 };
            let Some(end) = find_end(&self.bytes, looked_at)? else {
                return if self.bytes.len() > HEAD_MAX {
                    Err(too_large(&self.bytes[begin..]))
                } else {
                    Ok(Progress::More)
                };
            };
            if end > HEAD_MAX {
                return Err(too_large(&self.bytes[begin..]));
            }
            let head = Head::parse(&self.bytes[begin..end])?;
            expects_continue = head.expects_continue;
            let body_length = head.body_length;
            let canonical = head.canonical(peer).into_bytes();
            let length = canonical.len() + body_length;
            let body = &self.bytes[end..];
            let mut bytes = Vec::with_capacity(length);
            bytes.extend_from_slice(&canonical);
            bytes.extend_from_slice(&body[..body.len().min(body_length)]); // One request a connection.
            self.bytes = bytes;
            self.part = Part::Body { length };
        }
        match self.part {
            Part::Body { length } if self.bytes.len() >= length => {
                Ok(Progress::Whole(std::mem::take(&mut self.bytes)))
            }
            Part::Body { .. } if expects_continue => Ok(Progress::Continue),
            Part::Body { .. } | Part::Head { .. } => Ok(Progress::More),
        }
    }
}

/// Says what is too large: RFC 9112 section 3 has a status of its own for the target.
fn too_large(head: &[u8]) -> Problem {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let target = line.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    if target.len() > HEAD_MAX / 2 {
        let detail = format!("a target and all headers have at most {HEAD_MAX} bytes together");
        return Problem::new(414, "target_too_long", detail);
    }
    Problem::new(431, "head_too_large", format!("a request's head has at most {HEAD_MAX} bytes"))
}

/// Looks at the bytes from `looked_at` on, and returns where the head ends if it does.
///
/// What cannot be part of a head is refused at once, before the rest has come: control bytes (a TLS
/// handshake begins with one), and lines that end in LF or CR alone, which others read differently.
fn find_end(bytes: &[u8], looked_at: &mut usize) -> Result<Option<usize>, Problem> {
    while let Some(&byte) = bytes.get(*looked_at) {
        let at = *looked_at;
        let after_cr = at > 0 && bytes[at - 1] == b'\r';
        let line = "lines end in CR LF, and there are no control characters";
        match byte {
            b'\n' if !after_cr => return Err(Problem::new(400, "bad_header", line)),
            b'\n' if at >= 3 && bytes[at - 3..at] == *b"\r\n\r" => return Ok(Some(at + 1)),
            b'\n' => (),
            _ if after_cr => return Err(Problem::new(400, "bad_header", line)),
            b'\r' | b'\t' | b' '..=b'~' | 0x80.. => (),
            0x00..=0x1f | 0x7f => return Err(Problem::new(400, "bad_header", line)),
        }
        *looked_at += 1;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives the request in pieces of `size` bytes, never more than there is room for.
    fn feed(text: &[u8], size: usize) -> Result<(Progress, usize), (u16, &'static str)> {
        let mut arriving = Arriving::default();
        let (mut rest, mut n_continues) = (text, 0);
        loop {
            let (piece, after) = rest.split_at(size.min(arriving.room()).min(rest.len()));
            rest = after;
            match arriving.take(piece, "p").map_err(|problem| (problem.status, problem.code))? {
                Progress::Continue => n_continues += 1,
                Progress::More if !rest.is_empty() => (),
                progress @ (Progress::More | Progress::Whole(_)) => return Ok((progress, n_continues)),
            }
            assert!(arriving.bytes.capacity() <= HEAD_MAX + BODY_MAX + 1024);
        }
    }

    const POST: &str = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n";
    const CANONICAL: &str =
        "POST /x HTTP/1.1\r\nHost: a\r\nX-Dtmfd-Peer: p\r\nContent-Length: 4\r\nConnection: close\r\n\r\n";

    #[test]
    fn the_pieces_it_comes_in_make_no_difference() {
        let whole = Progress::Whole(format!("{CANONICAL}body").into_bytes());
        for before in ["", "\r\n"] {
            for after in ["", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
                let text = format!("{before}{POST}body{after}");
                for size in [1, 2, 3, 7, 5000] {
                    let (actual, _) = feed(text.as_bytes(), size).unwrap();
                    assert_eq!(whole, actual, "{text:?} by {size}");
                }
            }
        }
    }

    #[test]
    fn asks_for_a_body_that_is_held_back_and_only_for_that() {
        let text = POST.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n") + "body";
        assert_eq!(1, feed(text.as_bytes(), 10).unwrap().1);
        assert_eq!(0, feed(text.as_bytes(), 5000).unwrap().1, "it was there already");
    }

    #[test]
    fn refuses_at_once_what_can_become_no_request() {
        let long_line = format!("GET /{} HTTP/1.1\r\n", "x".repeat(HEAD_MAX));
        let long_method = "x".repeat(HEAD_MAX + 1);
        let just_too_long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(HEAD_MAX - 31));
        for (text, expected) in [
            ("\x16\x03\x01", (400, "bad_header")),
            ("GET / HTTP/1.1\nHost", (400, "bad_header")),
            ("GET / HTTP/1.1\rHost", (400, "bad_header")),
            ("GET / HTTP/1.1\r\nHost: a\0", (400, "bad_header")),
            ("GET / HTTP/1.1\r\nHost: a\x7f", (400, "bad_header")),
            ("\r\n\r\n", (400, "bad_request_line")),
            ("\n", (400, "bad_header")),
            (long_line.as_str(), (414, "target_too_long")),
            (long_method.as_str(), (431, "head_too_large")),
            (just_too_long.as_str(), (431, "head_too_large")),
        ] {
            for size in [1, 5000] {
                assert_eq!(Err(expected), feed(text.as_bytes(), size), "{text:.40?} by {size}");
            }
        }
    }

    #[test]
    fn takes_a_head_and_a_body_of_the_greatest_length() {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY_MAX}\r\nX: \r\n\r\n");
        let text = text.replace("X: ", &format!("X: {}", "x".repeat(HEAD_MAX - text.len())));
        assert_eq!(HEAD_MAX, text.len());
        let text = text + &"b".repeat(BODY_MAX);
        for size in [1, 5000, 20000] {
            assert!(matches!(feed(text.as_bytes(), size), Ok((Progress::Whole(_), 0))), "by {size}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_hand_on_anything_but_a_canonical_request(
            bytes in prop::collection::vec(
                prop_oneof![Just(b"\r\n".to_vec()), Just(b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec()),
                    Just(b"Content-Length: 3\r\n".to_vec()), prop::collection::vec(any::<u8>(), 0..6)], 0..8,
            ),
            size in 1..9usize,
        ) {
            if let Ok((Progress::Whole(request), _)) = feed(&bytes.concat(), size) {
                let end = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
                let head = std::str::from_utf8(&request[..end]).unwrap();
                prop_assert!(head.is_ascii() && head.ends_with("Connection: close"), "{head}");
            }
        }
    }
}
