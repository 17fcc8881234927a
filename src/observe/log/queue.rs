//! Between those who log and the file that lines go to: a bounded queue and one thread that writes.
//!
//! A reader of the log may stop reading: a terminal after Ctrl-S, a pager, a journald that is stuck. Then
//! write(2) doesn't return, so none of the service's threads may be the one that calls it. That is why a
//! thread is spawned here and not in `serve`: it is there before the service and outlives it, hangs with
//! the reader, and nobody ever waits for it to end.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How many bytes may wait for the reader.
const WAITING_MAX: usize = 1024 * 1024;
/// What a line takes beside its own bytes, about: its place in the queue and its allocation.
const LINE_COST: usize = 64;
/// Room for one line, and for the words that tell of dropped ones (32 KiB are enough in a debug build).
const STACK: usize = 128 * 1024;

/// Lines on their way to the file.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// The writer waits here for lines.
    more: Condvar,
    /// Who waits for the writer does so here.
    written: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    /// What `lines` takes.
    waiting: usize,
    /// Lines that found no room, and were not told of yet. While there are any, no line is taken: so the
    /// place where they are told of is the place where they are missing.
    dropped: u64,
    /// Whether a line has been taken from `lines` and not been written yet.
    writing: bool,
    /// Whether somebody waited in vain, and nothing was written since.
    stuck: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a line, or drops it where there is no room. Never waits for the reader.
    pub(super) fn put(&self, line: Vec<u8>) {
        let mut state = self.state();
        if state.dropped > 0 || state.waiting + line.len() + LINE_COST > WAITING_MAX {
            state.dropped += 1;
        } else {
            self.append(&mut state, line);
        }
    }

    /// Takes in a line whether there is room or not: for the last words, which must not be missing. How
    /// many were dropped is told before them.
    pub(super) fn put_last(&self, line: Vec<u8>, tell: impl FnOnce(u64) -> Vec<u8>) {
        let mut state = self.state();
        self.tell_dropped(&mut state, tell);
        self.append(&mut state, line);
    }

    fn tell_dropped(&self, state: &mut State, tell: impl FnOnce(u64) -> Vec<u8>) {
        if state.dropped > 0 {
            let n_dropped = std::mem::take(&mut state.dropped);
            self.append(state, tell(n_dropped));
        }
    }

    fn append(&self, state: &mut State, line: Vec<u8>) {
        state.waiting += line.len() + LINE_COST;
        state.lines.push_back(line);
        if state.lines.len() == 1 && !state.writing {
            self.more.notify_one();
        }
    }

    /// Waits until every line has been written, for `max` at most; returns whether they have.
    ///
    /// Where that was waited for in vain and nothing has been written since, it isn't waited for again.
    pub(super) fn wait(&self, max: Duration) -> bool {
        let deadline = Instant::now() + max;
        let mut state = self.state();
        while state.writing || !state.lines.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.stuck || left.is_zero() {
                state.stuck = true;
                return false;
            }
            state = self.written.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Starts the thread that writes to `file`; `tell` makes the line that says how many were dropped.
    pub(super) fn start(
        &'static self,
        file: File,
        tell: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> io::Result<()> {
        let builder = thread::Builder::new().name("log".to_owned()).stack_size(STACK);
        builder.spawn(move || self.write(&file, tell)).map(drop)
    }

    /// Writes whatever comes, for ever.
    fn write(&self, file: &File, tell: impl Fn(u64) -> Vec<u8>) {
        loop {
            let line = self.next();
            write_at_once(file, &line);
            let mut state = self.state();
            state.waiting -= line.len() + LINE_COST;
            state.writing = false;
            state.stuck = false;
            // With half of the room free lines are taken again for a while, not one by one.
            if state.waiting <= WAITING_MAX / 2 {
                self.tell_dropped(&mut state, &tell);
            }
            if state.lines.is_empty() {
                self.written.notify_all();
            }
        }
    }

    /// Waits for the next line, which is being written from now on.
    fn next(&self) -> Vec<u8> {
        let mut state = self.state();
        loop {
            if let Some(line) = state.lines.pop_front() {
                state.writing = true;
                return line;
            }
            state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Writes a line with one write(2); what is left after a short one follows. There is nobody to tell of an error.
fn write_at_once(mut file: &File, mut line: &[u8]) {
    while !line.is_empty() {
        match file.write(line) {
            Ok(0) => return,
            Ok(n) => line = &line[n..],
            Err(error) if error.kind() == ErrorKind::Interrupted => (),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::fd::OwnedFd;

    use super::*;

    fn tell(n_dropped: u64) -> Vec<u8> {
        format!("{n_dropped} dropped\n").into_bytes()
    }

    /// Starts a queue that writes to `file`.
    fn start(file: impl Into<OwnedFd>) -> &'static Queue {
        let queue: &Queue = Box::leak(Box::default());
        queue.start(File::from(file.into()), tell).unwrap();
        queue
    }

    #[test]
    fn a_line_is_one_write() {
        let (ours, theirs) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let queue = start(ours);
        queue.put(b"one\n".to_vec());
        queue.put(b"two\n".to_vec());
        assert!(queue.wait(Duration::from_secs(10)));
        for line in [b"one\n", b"two\n"] {
            let mut datagram = [0; 64];
            let n = theirs.recv(&mut datagram).unwrap();
            assert_eq!(line, &datagram[..n]);
        }
    }

    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up_and_is_told_what_it_missed() {
        const LINES: u64 = 40_000;
        let (reader, writer) = io::pipe().unwrap();
        let queue = start(writer);
        let begun = Instant::now();
        for i in 0..LINES {
            queue.put(format!("{i:060}\n").into_bytes());
            assert!(queue.state().waiting <= WAITING_MAX);
        }
        assert!(!queue.wait(Duration::from_millis(50)));
        assert!(!queue.wait(Duration::from_secs(60)), "it isn't waited for twice");
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert!(queue.state().dropped > 0);

        let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
        let mut n_read = 0;
        let told = loop {
            let line = lines.next().unwrap();
            match line.strip_suffix(" dropped") {
                Some(told) => break told.parse::<u64>().unwrap(),
                None => assert_eq!(n_read, line.parse::<u64>().unwrap(), "they are in order"),
            }
            n_read += 1;
        };
        assert_eq!(LINES, n_read + told);
        queue.put(b"after\n".to_vec());
        assert_eq!("after", lines.next().unwrap());
        assert!(queue.wait(Duration::from_secs(10)));
        assert_eq!(0, queue.state().waiting);
    }

    #[test]
    fn last_words_find_room_and_are_the_last() {
        let (reader, writer) = io::pipe().unwrap();
        let queue = start(writer);
        for _ in 0..40_000 {
            queue.put(format!("{:060}\n", 0).into_bytes());
        }
        queue.put_last(b"last words\n".to_vec(), tell);
        let read = BufReader::new(reader).lines().map(Result::unwrap);
        let read: Vec<_> = read.skip_while(|line| line.starts_with('0')).take(2).collect();
        assert!(read[0].ends_with(" dropped") && read[1] == "last words", "{read:?}");
        assert!(queue.wait(Duration::from_secs(10)));
    }
}
