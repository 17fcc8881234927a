//! Logging: one event is one line and one write; what repeats itself is summed up.
//!
//! Who logs never waits for who reads the log: see `queue`.

mod line;
mod queue;
mod repeats;

use std::env;
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use log::kv::Key;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::error::Error;
pub(crate) use line::utc;
use line::{Renderer, Style};
use queue::Queue;
use repeats::{Event, Repeats, Saying};

/// How long a flush waits for the reader of the log.
const FLUSH_MAX: Duration = Duration::from_millis(500);

/// This process's logger, once [`init`] has been called.
static LOGGER: OnceLock<Logger<ToOut>> = OnceLock::new();

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
///
/// # Errors
///
/// Returns why the thread that writes can't be started.
pub fn init(level: LevelFilter, format: Format, out: Out) -> Result<(), Error> {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let style = format.style(is_set("JOURNAL_STREAM"), out.is_terminal(), is_set("NO_COLOR"));
    let file = out.open().ok();
    let sink = ToOut { out, queue: file.is_some().then(Queue::default) };
    let mut is_first = false;
    let logger = LOGGER.get_or_init(|| {
        is_first = true;
        Logger::new(level, style, sink)
    });
    if !is_first {
        return Ok(());
    }
    if let (Some(file), Some(queue)) = (file, &logger.sink.queue) {
        queue
            .start(file, |n_dropped| logger.dropped(n_dropped))
            .map_err(|source| Error::System { what: "cannot start a thread", source })?;
    }
    if log::set_logger(logger).is_ok() {
        log::set_max_level(level);
    }
    Ok(())
}

/// Says all that has been logged, and waits until it is written, for `max` at most.
pub fn flush_within(max: Duration) {
    if let Some(logger) = LOGGER.get() {
        logger.sum_up();
        logger.sink.wait(max);
    }
}

/// Writes a line that is no event to `out`, after all that has been logged.
///
/// Where `out` is where the log goes, its reader is waited for `max` at most. If nobody can read the line,
/// the exit code still tells.
pub fn last_words(out: Out, line: &str, max: Duration) {
    if let Some(logger) = LOGGER.get()
        && logger.sink.out == out
        && let Some(queue) = &logger.sink.queue
    {
        logger.sum_up();
        queue.put_last(format!("{line}\n").into_bytes(), |n_dropped| logger.dropped(n_dropped));
        queue.wait(max);
        return;
    }
    flush_within(FLUSH_MAX);
    let _ = match out {
        Out::Stderr => writeln!(io::stderr(), "{line}"),
        Out::Stdout => writeln!(io::stdout(), "{line}"),
    };
}

/// Where a logger's lines go to.
trait Sink: Send + Sync {
    /// Takes a line, without waiting for who reads it.
    fn put(&self, line: Vec<u8>);

    /// Waits until every line has been written, for `max` at most.
    fn wait(&self, max: Duration);
}

/// The sink of this process's logger; it has no queue where `out` is closed.
struct ToOut {
    out: Out,
    queue: Option<Queue>,
}

impl Sink for ToOut {
    fn put(&self, line: Vec<u8>) {
        if let Some(queue) = &self.queue {
            queue.put(line);
        }
    }

    fn wait(&self, max: Duration) {
        if let Some(queue) = &self.queue {
            queue.wait(max);
        }
    }
}

struct Logger<S> {
    level: LevelFilter,
    renderer: Renderer,
    repeats: Mutex<Repeats>,
    sink: S,
}

impl<S: Sink> Logger<S> {
    fn new(level: LevelFilter, style: Style, sink: S) -> Logger<S> {
        Logger { level, renderer: Renderer::new(style), repeats: Mutex::default(), sink }
    }

    fn repeats(&self) -> MutexGuard<'_, Repeats> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says this, outside of the lock.
    fn say(&self, sayings: Vec<Saying>, at: SystemTime) {
        for Saying { level, body, repeats } in sayings {
            self.sink.put(self.renderer.line(level, &body, repeats, at));
        }
    }

    /// Says all that has been counted and not yet summed up.
    fn sum_up(&self) {
        let sayings = self.repeats().due(Instant::now(), Duration::ZERO);
        self.say(sayings, SystemTime::now());
    }

    /// Returns the line that says how many were dropped.
    fn dropped(&self, n: u64) -> Vec<u8> {
        let lines = if n == 1 { "1 log line was dropped" } else { &format!("{n} log lines were dropped") };
        let body = self.renderer.body(
            &Record::builder()
                .level(Level::Warn)
                .target(module_path!())
                .args(format_args!("{lines}: the reader of the log does not keep up"))
                .build(),
        );
        self.renderer.line(Level::Warn, &body, 0, SystemTime::now())
    }
}

impl<S: Sink> Log for Logger<S> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        let ours = target == "dtmfd" || target.starts_with("dtmfd::");
        let level = if ours { self.level } else { self.level.min(LevelFilter::Warn) };
        metadata.level() <= level
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let event = Event {
                level: record.level(),
                call: record.key_values().get(Key::from_str("call")).map(|call| call.to_string()),
                body: self.renderer.body(record),
            };
            let sayings = self.repeats().take(event, Instant::now());
            self.say(sayings, SystemTime::now());
        }
    }

    /// Says all that has been counted and not yet summed up, and waits until everything is written, for
    /// at most 500 ms.
    fn flush(&self) {
        self.sum_up();
        self.sink.wait(FLUSH_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    impl<F: Fn(&[u8]) + Send + Sync> Sink for F {
        fn put(&self, line: Vec<u8>) {
            self(&line);
        }

        fn wait(&self, _: Duration) {}
    }

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
    fn an_event_is_one_line() {
        let lines = Mutex::new(Vec::new());
        let logger = Logger::new(LevelFilter::Info, Style::Json, |line: &[u8]| {
            lines.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap());
        });
        let pairs = [("a", 1), ("b", 2)];
        logger
            .log(&Record::builder().target("dtmfd").args(format_args!("x {}", 1)).key_values(&pairs).build());
        let lines = lines.lock().unwrap();
        assert_eq!(1, lines.len());
        assert!(lines[0].starts_with("{\"ts\":") && lines[0].ends_with(",\"a\":1,\"b\":2}\n"));
    }

    #[test]
    fn warnings_of_two_calls_are_two_lines_and_numbers_make_no_difference() {
        let lines = Mutex::new(Vec::new());
        let logger = Logger::new(LevelFilter::Info, Style::Journald, |line: &[u8]| {
            lines.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap());
        });
        for (call, attempts) in [("c1", 1), ("c2", 20), ("c1", 3)] {
            let pairs: &[(&str, &dyn log::kv::ToValue)] = &[("call", &call), ("attempts", &attempts)];
            let mut record = Record::builder();
            record.level(Level::Warn).target("dtmfd").key_values(&pairs);
            logger.log(&record.args(format_args!("parked")).build());
        }
        logger.flush();
        assert_eq!(
            vec![
                "<4>parked call=c1 attempts=1\n",
                "<4>parked call=c2 attempts=20\n",
                "<4>parked call=c1 attempts=3 repeated=1\n"
            ],
            *lines.lock().unwrap()
        );
    }

    #[test]
    fn what_was_dropped_is_told_in_the_style_of_the_log() {
        let logger = |style| Logger::new(LevelFilter::Info, style, |_: &[u8]| ());
        let told = |style, n| String::from_utf8(logger(style).dropped(n)).unwrap();
        let said = "<4>1 log line was dropped: the reader of the log does not keep up\n";
        assert_eq!(said, told(Style::Journald, 1));
        assert!(told(Style::Json, 7).contains(r#""msg":"7 log lines were dropped: the reader"#));
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

    /// What breaks lines, moves cursors and turns writing around, between words; now and then far too much of it.
    fn hostile() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(
            &[
                "\n",
                "\r\n",
                "\0",
                "\u{1b}[2J",
                "\u{1b}]0;x\u{7}",
                "\u{7f}",
                "\u{85}",
                "\u{9b}31m",
                "\u{2028}",
                "\u{2029}",
                "\u{202e}",
                "\u{2066}",
                "\u{200f}",
                "\u{61c}",
                "\t",
                "\"",
                "\\",
                "=",
                " ",
                "<0>",
                "{",
                "\"}\n{\"ts\":0}",
                "level=error",
                "é",
                "😀",
                "c-1",
            ][..],
        );
        prop_oneof![
            prop::collection::vec(pieces.clone(), 0..8).prop_map(|pieces| pieces.concat()),
            prop::collection::vec(pieces, 300..500).prop_map(|pieces| pieces.concat()),
            any::<String>(),
        ]
    }

    proptest! {
        /// Ids, errors, words of servers, paths and names of nodes come in as messages and values; keys are ours.
        #[test]
        fn whatever_outsiders_fill_in_an_event_is_one_short_line_without_control_bytes(
            events in prop::collection::vec((hostile(), hostile(), hostile(), 0..3usize), 1..6),
            style in prop::sample::select(
                &[Style::Human { colour: false }, Style::Human { colour: true }, Style::Json, Style::Journald][..]
            ),
        ) {
            let written = Mutex::new(Vec::new());
            let puts = Mutex::new(0);
            let logger = Logger::new(LevelFilter::Debug, style, |line: &[u8]| {
                written.lock().unwrap().extend_from_slice(line);
                *puts.lock().unwrap() += 1;
            });
            for (words, call, why, times) in &events {
                let pairs: &[(&str, &dyn log::kv::ToValue)] =
                    &[("call", &call.as_str()), ("cause", &why.as_str()), ("took_ms", &7)];
                for level in [Level::Error, Level::Debug] {
                    for _ in 0..=*times {
                        let mut record = Record::builder();
                        record.level(level).target("dtmfd::x").key_values(&pairs);
                        logger.log(&record.args(format_args!("it said {words}")).build());
                    }
                }
            }
            logger.flush();
            let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
            prop_assert!(text.ends_with('\n'));
            prop_assert_eq!(*puts.lock().unwrap(), text.matches('\n').count(), "a line each");
            for line in text.lines() {
                prop_assert!(line.len() < 2048, "{} bytes", line.len());
                // Colours are ours: one at the beginning, one at the end.
                let colours = ["\x1b[31m", "\x1b[2m"].into_iter().find_map(|begin| line.strip_prefix(begin));
                let inside = match colours {
                    Some(rest) if style == (Style::Human { colour: true }) => rest.strip_suffix("\x1b[0m").unwrap(),
                    _ => line,
                };
                let bad = |c: char| {
                    let marks = [0x61c..=0x61c, 0x200e..=0x200f, 0x2028..=0x202e, 0x2066..=0x2069];
                    c < ' ' || ('\x7f'..='\u{9f}').contains(&c) || marks.iter().any(|marks| marks.contains(&u32::from(c)))
                };
                prop_assert!(!inside.contains(bad), "{:?}", inside);
                if style == Style::Json {
                    let parsed: serde_json::Value = serde_json::from_str(inside).unwrap();
                    prop_assert_eq!("dtmfd::x", parsed["target"].as_str().unwrap());
                    prop_assert!(parsed["msg"].as_str().unwrap().starts_with("it said "));
                }
            }
        }
    }
}
