//! Logging: one event is one line and one write; what repeats itself is summed up.

mod line;
mod repeats;

use std::env;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use log::{Level, LevelFilter, Log, Metadata, Record};

use line::{Renderer, Style};
use repeats::{Repeats, Saying};

/// What lines look like (`--log-format`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Format {
    /// journald's priorities under systemd, for people on a terminal, else JSON.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
    /// With the priorities that journald understands.
    Journald,
}

impl Format {
    const NAMES: [(Format, &'static str); 4] = [
        (Format::Auto, "auto"),
        (Format::Human, "human"),
        (Format::Json, "json"),
        (Format::Journald, "journald"),
    ];

    fn style(self, journal: bool, terminal: bool, no_color: bool) -> Style {
        let human = Style::Human { colour: terminal && !no_color };
        match self {
            Format::Human => human,
            Format::Json => Style::Json,
            Format::Journald => Style::Journald,
            Format::Auto if journal => Style::Journald,
            Format::Auto if terminal => human,
            Format::Auto => Style::Json,
        }
    }
}

/// A text that names no format.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no log format: write auto, human, json or journald")]
pub struct BadFormat(String);

impl FromStr for Format {
    type Err = BadFormat;

    fn from_str(text: &str) -> Result<Format, BadFormat> {
        let named = Format::NAMES.into_iter().find(|(_, name)| *name == text);
        named.map(|(format, _)| format).ok_or_else(|| BadFormat(text.to_owned()))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Format::NAMES.into_iter().find(|(format, _)| format == self);
        f.write_str(named.map_or("auto", |(_, name)| name))
    }
}

/// Where lines go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Out {
    /// Standard error, where talk belongs.
    Stderr,
    /// Standard output.
    Stdout,
}

impl Out {
    /// Returns a descriptor of its own for the same file, without std's buffer and its lock.
    fn open(self) -> io::Result<File> {
        let fd = match self {
            Out::Stderr => io::stderr().as_fd().try_clone_to_owned(),
            Out::Stdout => io::stdout().as_fd().try_clone_to_owned(),
        };
        fd.map(File::from)
    }

    fn is_terminal(self) -> bool {
        match self {
            Out::Stderr => io::stderr().is_terminal(),
            Out::Stdout => io::stdout().is_terminal(),
        }
    }
}

/// Sends every event of this process at `level` or above to `out`. Only the first call has an effect.
///
/// Events of other crates are said from `warn` on, whatever `level` is: below that some show headers, and
/// so tokens. Where `out` is closed nothing is said.
pub fn init(level: LevelFilter, format: Format, out: Out) {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let style = format.style(is_set("JOURNAL_STREAM"), out.is_terminal(), is_set("NO_COLOR"));
    let file = out.open().ok();
    let sink = move |line: &[u8]| {
        if let Some(file) = &file {
            write_at_once(file, line);
        }
    };
    if log::set_boxed_logger(Box::new(Logger::new(level, style, sink))).is_ok() {
        log::set_max_level(level);
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

struct Logger<S> {
    level: LevelFilter,
    renderer: Renderer,
    repeats: Mutex<Repeats>,
    sink: S,
}

impl<S: Fn(&[u8]) + Send + Sync> Logger<S> {
    fn new(level: LevelFilter, style: Style, sink: S) -> Logger<S> {
        Logger { level, renderer: Renderer::new(style), repeats: Mutex::default(), sink }
    }

    fn repeats(&self) -> MutexGuard<'_, Repeats> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says this, outside of the lock: a reader that is slow to take lines holds up who logs, not everyone.
    fn say(&self, sayings: Vec<Saying>, at: SystemTime) {
        for Saying { level, body, repeats } in sayings {
            (self.sink)(&self.renderer.line(level, &body, repeats, at));
        }
    }
}

impl<S: Fn(&[u8]) + Send + Sync> Log for Logger<S> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        let ours = target == "dtmfd" || target.starts_with("dtmfd::");
        let level = if ours { self.level } else { self.level.min(LevelFilter::Warn) };
        metadata.level() <= level
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let body = self.renderer.body(record);
            let level: Level = record.level();
            let sayings = self.repeats().take(level, body, Instant::now());
            self.say(sayings, SystemTime::now());
        }
    }

    /// Says all that has been counted and not yet summed up.
    fn flush(&self) {
        let sayings = self.repeats().due(Instant::now(), Duration::ZERO);
        self.say(sayings, SystemTime::now());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Logs these targets, levels and messages, flushes, and returns the lines.
    fn log(level: LevelFilter, events: &[(&str, Level, &str)]) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = {
            let lines = Arc::clone(&lines);
            move |line: &[u8]| lines.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap())
        };
        let logger = Logger::new(level, Style::Journald, sink);
        for (target, level, message) in events {
            logger
                .log(&Record::builder().target(target).level(*level).args(format_args!("{message}")).build());
        }
        logger.flush();
        let lines = lines.lock().unwrap();
        lines.clone()
    }

    #[test]
    fn names_go_both_ways() {
        for (format, name) in Format::NAMES {
            assert_eq!((Ok(format), name.to_owned()), (name.parse(), format.to_string()));
        }
        assert!("JSON".parse::<Format>().is_err());
    }

    #[test]
    fn auto_goes_by_where_the_lines_go() {
        let human = |colour| Style::Human { colour };
        for (format, journal, terminal, no_color, expected) in [
            (Format::Auto, true, true, false, Style::Journald),
            (Format::Auto, false, true, false, human(true)),
            (Format::Auto, false, true, true, human(false)),
            (Format::Auto, false, false, false, Style::Json),
            (Format::Human, true, false, false, human(false)),
            (Format::Human, false, true, false, human(true)),
            (Format::Json, true, true, false, Style::Json),
            (Format::Journald, false, true, false, Style::Journald),
        ] {
            let actual = format.style(journal, terminal, no_color);
            assert_eq!(expected, actual, "{format} {journal} {terminal} {no_color}");
        }
    }

    #[test]
    fn others_are_heard_from_warn_on_only() {
        let events = [
            ("dtmfd", Level::Trace, "ours"),
            ("dtmfd::local::gate", Level::Debug, "ours, too"),
            ("dtmfdx", Level::Info, "not ours"),
            ("tungstenite::handshake", Level::Trace, "Authorization: Bearer x"),
            ("ureq", Level::Debug, "Authorization: Bearer y"),
            ("ureq", Level::Warn, "careful"),
        ];
        assert_eq!(vec!["<7>ours\n", "<7>ours, too\n", "<4>careful\n"], log(LevelFilter::Trace, &events));
        assert_eq!(vec!["<4>careful\n"], log(LevelFilter::Info, &events));
        assert!(log(LevelFilter::Error, &events).is_empty());
        assert!(log(LevelFilter::Off, &events).is_empty());
    }

    #[test]
    fn a_repeated_line_is_summed_up_at_the_flush() {
        let events = [("dtmfd", Level::Warn, "again"); 5];
        assert_eq!(vec!["<4>again\n", "<4>again repeated=4\n"], log(LevelFilter::Info, &events));
    }

    #[test]
    fn a_line_is_one_write() {
        let (ours, theirs) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(ours));
        let logger = Logger::new(LevelFilter::Info, Style::Json, |line: &[u8]| write_at_once(&file, line));
        let pairs = [("a", 1), ("b", 2)];
        logger
            .log(&Record::builder().target("dtmfd").args(format_args!("x {}", 1)).key_values(&pairs).build());
        let mut datagram = [0; 4096];
        let n = theirs.recv(&mut datagram).unwrap();
        assert!(datagram[..n].starts_with(b"{\"ts\":") && datagram[..n].ends_with(b",\"a\":1,\"b\":2}\n"));
    }

    #[test]
    fn a_value_that_logs_while_it_is_shown_does_no_harm() {
        struct Chatty<'a>(&'a dyn Log);
        impl fmt::Display for Chatty<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.log(&Record::builder().target("dtmfd").args(format_args!("inner")).build());
                f.write_str("outer")
            }
        }
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = {
            let lines = Arc::clone(&lines);
            move |line: &[u8]| lines.lock().unwrap().extend_from_slice(line)
        };
        let logger = Logger::new(LevelFilter::Info, Style::Human { colour: false }, sink);
        let chatty = Chatty(&logger);
        logger.log(&Record::builder().target("dtmfd").args(format_args!("{chatty}")).build());
        let text = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
        let messages: Vec<_> = text.lines().map(|line| line.split("] ").nth(1).unwrap()).collect();
        assert_eq!(vec!["inner", "outer"], messages);
    }
}
