//! How an event becomes one line: escaped, bounded, and in JSON still JSON after a cut.

use std::cell::RefCell;
use std::fmt::{self, Display, Write as _};
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use log::kv::{self, Key, Value, VisitSource, VisitValue};
use log::{Level, LevelFilter, Log, Record};
use simplelog::{ConfigBuilder, LevelPadding, WriteLogger};

/// How many bytes a line may have, with its end: below `PIPE_BUF`, so that the lines of several threads
/// don't mix in a pipe.
pub(super) const LINE_MAX: usize = 2048;

/// How many bytes the body may have. The rest is for the time, the level, colours, the count of repeats
/// and what closes a field after a cut, which are less than 100 together.
const BODY_MAX: usize = LINE_MAX - 128;

/// What lines look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Style {
    /// For people: the time of day (UTC), the level, the message, then `key=value`.
    Human {
        /// Whether warnings and errors are coloured.
        colour: bool,
    },
    /// One JSON object.
    Json,
    /// With the priority in front that journald understands, and without a time: it has its own.
    Journald,
}

/// Writes events as lines of one style.
pub(super) struct Renderer {
    style: Style,
    inner: Box<WriteLogger<Buffer>>,
}

impl Renderer {
    pub(super) fn new(style: Style) -> Renderer {
        let level = if style == Style::Journald { LevelFilter::Off } else { LevelFilter::Error };
        let config = ConfigBuilder::new()
            .set_time_level(LevelFilter::Off)
            .set_thread_level(LevelFilter::Off)
            .set_target_level(LevelFilter::Off)
            .set_location_level(LevelFilter::Off)
            .set_max_level(level) // From which on the level is written: always, or never.
            .set_level_padding(LevelPadding::Right)
            .build();
        Renderer { style, inner: WriteLogger::new(LevelFilter::Trace, config, Buffer) }
    }

    /// Returns all of an event but its time and level: what tells whether it is the same as another.
    pub(super) fn body(&self, record: &Record<'_>) -> String {
        let mut body = Body { text: String::new(), cut: false, json: self.style == Style::Json };
        if body.json {
            body.put(r#""level":""#);
            body.put(&record.level().as_str().to_ascii_lowercase());
            body.put(r#"","target":"#);
            body.put_string(record.target());
            body.put(r#","msg":"#);
            body.put_string(record.args());
        } else {
            body.put_escaped(record.args(), Quote::None);
        }
        // A source of pairs may fail: what came before that is said all the same.
        let _ = record.key_values().visit(&mut body);
        if body.cut && body.json {
            body.text.push_str(r#","cut":true"#);
        }
        body.text
    }

    /// Returns the whole line, with its end; `repeats` is how often it has come since it was last said.
    pub(super) fn line(&self, level: Level, body: &str, repeats: u64, at: SystemTime) -> Vec<u8> {
        let [date, time] = utc(at);
        let (begin, end) = match self.style {
            Style::Json => {
                let count = if repeats > 0 { format!(r#","repeated":{repeats}"#) } else { String::new() };
                return format!("{{\"ts\":\"{date}T{time}Z\",{body}{count}}}\n").into_bytes();
            }
            Style::Journald => (priority(level).to_owned(), ""),
            Style::Human { colour } => {
                let colour = if colour { colour_of(level) } else { "" };
                (format!("{colour}{time} "), if colour.is_empty() { "" } else { "\x1b[0m" })
            }
        };
        let count = if repeats > 0 { format!(" repeated={repeats}") } else { String::new() };
        BUFFER.set(begin.into_bytes());
        self.inner.log(&Record::builder().level(level).args(format_args!("{body}{count}{end}")).build());
        BUFFER.take()
    }
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Where simplelog writes to: it writes a line in pieces, and a line must reach the system in one.
struct Buffer;

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BUFFER.with_borrow_mut(|buffer| buffer.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An event's body as it grows; after a cut nothing is added any more.
struct Body {
    text: String,
    cut: bool,
    json: bool,
}

/// What is around a text that is escaped, and therefore not allowed in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Double,
    Json,
}

impl Body {
    /// Adds all of `piece`, or cuts before it.
    fn put(&mut self, piece: &str) {
        self.cut |= self.text.len() + piece.len() > BODY_MAX;
        if !self.cut {
            self.text.push_str(piece);
        }
    }

    /// Adds a value so that it stays within its line, and cuts where the body is full.
    fn put_escaped(&mut self, value: impl Display, quote: Quote) {
        // A value that fails to show itself is shown as far as it came.
        let _ = write!(Escaped { body: self, quote }, "{value}");
    }

    /// Adds a JSON string, which is one also if it was cut.
    fn put_string(&mut self, value: impl Display) {
        if !self.cut {
            self.text.push('"');
            self.put_escaped(value, Quote::Json);
            self.text.push('"');
        }
    }

    /// Adds a JSON field's name, or cuts before it.
    fn put_name(&mut self, name: &str) {
        let mut field = Body { text: String::new(), cut: false, json: true };
        field.put(",");
        let ours = ["ts", "level", "target", "msg", "repeated", "cut"].contains(&name);
        field.put_string(format_args!("{name}{}", if ours { "_" } else { "" }));
        field.put(":");
        self.put(&field.text);
    }
}

impl<'kvs> VisitSource<'kvs> for Body {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        if self.json {
            let mut bare = Bare(None);
            value.visit(&mut bare)?;
            self.put_name(key.as_str());
            match bare.0 {
                Some(json) if !self.cut => self.text.push_str(&json), // At most 24 bytes.
                Some(_) => (),
                None => self.put_string(value),
            }
            return Ok(());
        }
        self.put(" ");
        self.put_escaped(&key, Quote::None);
        self.put("=");
        let text = value.to_string();
        if text.is_empty() || text.contains(|c: char| c.is_whitespace() || ['"', '=', '\\'].contains(&c)) {
            self.put("\"");
            self.put_escaped(text, Quote::Double);
            self.put("\"");
        } else {
            self.put_escaped(text, Quote::None);
        }
        Ok(())
    }
}

/// What JSON writes without quotes.
struct Bare(Option<String>);

impl VisitValue<'_> for Bare {
    fn visit_any(&mut self, _: Value<'_>) -> Result<(), kv::Error> {
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.0 = Some(value.to_string());
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.0 = Some(value.to_string());
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        self.0 = serde_json::Number::from_f64(value).map(|number| number.to_string());
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.0 = Some(value.to_string());
        Ok(())
    }
}

struct Escaped<'a> {
    body: &'a mut Body,
    quote: Quote,
}

impl fmt::Write for Escaped<'_> {
    /// Fails once the body has been cut, which ends the formatting of whatever is too long.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let mut utf8 = [0; 4];
            let escape = match c {
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '"' if self.quote != Quote::None => "\\\"",
                '\\' if self.quote != Quote::None => "\\\\",
                c if !disturbs(c) => c.encode_utf8(&mut utf8),
                c if self.quote == Quote::Json => &format!("\\u{:04x}", u32::from(c)), // All are below U+10000.
                c => &format!("\\u{{{:x}}}", u32::from(c)),
            };
            self.body.put(escape);
            if self.body.cut {
                self.body.text.push('…');
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

/// Returns whether a terminal or a viewer of logs might do something about it other than show it: control
/// characters, other ends of lines, and what turns the direction of writing.
fn disturbs(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

fn colour_of(level: Level) -> &'static str {
    match level {
        Level::Error => "\x1b[31m",
        Level::Warn => "\x1b[33m",
        Level::Info => "",
        Level::Debug | Level::Trace => "\x1b[2m",
    }
}

/// Returns the date and the time of day, `2026-02-28` and `12:00:00.000`. What is before 1970 counts as then.
pub(crate) fn utc(at: SystemTime) -> [String; 2] {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, s) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Years begin in March here, so that the leap day is the last; 146097 days are 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march_month = (5 * day + 2) / 153;
    let day = day - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, s, ms) = (s / 3_600, s / 60 % 60, s % 60, since.subsec_millis());
    [format!("{year:04}-{month:02}-{day:02}"), format!("{hour:02}:{minute:02}:{s:02}.{ms:03}")]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const STYLES: [Style; 4] =
        [Style::Human { colour: false }, Style::Human { colour: true }, Style::Json, Style::Journald];

    fn at(ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(ms)
    }

    fn render(
        style: Style,
        level: Level,
        message: &str,
        pairs: &[(&str, Value<'_>)],
        repeats: u64,
    ) -> String {
        let renderer = Renderer::new(style);
        let body = renderer.body(
            &Record::builder()
                .level(level)
                .target("dtmfd::a")
                .args(format_args!("{message}"))
                .key_values(&pairs)
                .build(),
        );
        String::from_utf8(renderer.line(level, &body, repeats, at(1_772_323_199_007))).unwrap()
    }

    #[test]
    fn each_style_has_its_form() {
        let error = std::io::Error::other("a \"b\"");
        let pairs = [
            ("n", Value::from(3)),
            ("x", Value::from(0.5)),
            ("on", Value::from(true)),
            ("url", Value::from("http://a/")),
            ("msg", Value::from("")),
            ("error", Value::from_dyn_display(&error)),
        ];
        let plain = r#"it is n=3 x=0.5 on=true url=http://a/ msg="" error="a \"b\"""#;
        for (style, level, repeats, expected) in [
            (Style::Human { colour: false }, Level::Info, 0, format!("23:59:59.007 [INFO ] {plain}\n")),
            (
                Style::Human { colour: true },
                Level::Warn,
                0,
                format!("\x1b[33m23:59:59.007 [WARN ] {plain}\x1b[0m\n"),
            ),
            (
                Style::Human { colour: true },
                Level::Info,
                7,
                format!("23:59:59.007 [INFO ] {plain} repeated=7\n"),
            ),
            (Style::Journald, Level::Error, 0, format!("<3>{plain}\n")),
            (Style::Journald, Level::Trace, 2, format!("<7>{plain} repeated=2\n")),
            (
                Style::Json,
                Level::Debug,
                2,
                concat!(
                    r#"{"ts":"2026-02-28T23:59:59.007Z","level":"debug","target":"dtmfd::a","msg":"it is","#,
                    r#""n":3,"x":0.5,"on":true,"url":"http://a/","msg_":"","error":"a \"b\"","repeated":2}"#,
                    "\n"
                )
                .to_owned(),
            ),
        ] {
            assert_eq!(expected, render(style, level, "it is", &pairs, repeats), "{style:?}");
        }
    }

    #[test]
    fn nothing_leaves_its_line() {
        for (message, plain, json) in [
            ("a\nb\r\tc", r"a\nb\r\tc", r"a\nb\r\tc"),
            ("\x1b[2J\0\x7f", r"\u{1b}[2J\u{0}\u{7f}", r"\u001b[2J\u0000\u007f"),
            ("\u{85}\u{9b}\u{2028}\u{2029}", r"\u{85}\u{9b}\u{2028}\u{2029}", r"\u0085\u009b\u2028\u2029"),
            ("\u{202e}x\u{2066}\u{200f}", r"\u{202e}x\u{2066}\u{200f}", r"\u202ex\u2066\u200f"),
            (r#"é "q" \ 😀"#, r#"é "q" \ 😀"#, r#"é \"q\" \\ 😀"#),
        ] {
            assert_eq!(format!("<6>{plain}\n"), render(Style::Journald, Level::Info, message, &[], 0));
            let line = render(Style::Json, Level::Info, message, &[], 0);
            assert!(line.ends_with(&format!("\"msg\":\"{json}\"}}\n")), "{line}");
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(message, parsed["msg"]);
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let long = "é".repeat(3000);
        for style in STYLES {
            for (message, pairs) in
                [(&*long, vec![]), ("m", vec![("a", Value::from(&*long)), ("b", Value::from(1))])]
            {
                let line = render(style, Level::Error, message, &pairs, u64::MAX);
                assert!(line.len() <= LINE_MAX && line.contains("é…"), "{style:?}: {} bytes", line.len());
            }
        }
        let line = render(Style::Json, Level::Error, &long, &[], 0);
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(true, parsed["cut"]);
    }

    #[test]
    fn dates_are_right() {
        for (s, expected) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_709_164_800, "2024-02-29"),
            (1_735_689_599, "2024-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(expected, utc(at(s * 1000))[0], "{s}");
        }
    }

    proptest! {
        #[test]
        fn any_event_is_one_line_without_control_bytes_and_in_json_valid(
            message in prop_oneof![any::<String>(), "\\PC{0,3000}", "[\"\\\\\\x00-\\x1f]{0,2500}"],
            pairs in prop::collection::vec((any::<String>(), any::<String>()), 0..6),
            n in any::<f64>(),
            style in prop::sample::select(&STYLES[..]),
            repeats in any::<u64>(),
        ) {
            let mut pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), Value::from(v.as_str()))).collect();
            pairs.push(("n", Value::from(n)));
            let line = render(style, Level::Info, &message, &pairs, repeats);
            prop_assert!(line.len() <= LINE_MAX, "{} bytes", line.len());
            let inside = line.strip_suffix('\n').unwrap();
            prop_assert!(!inside.contains(disturbs), "{inside:?}");
            if style == Style::Json {
                let parsed: serde_json::Value = serde_json::from_str(inside).unwrap();
                prop_assert!(parsed["msg"].is_string());
            }
        }
    }
}
