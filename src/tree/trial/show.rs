//! Trials as people, scripts and continuous integration read them.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::{Mismatch, Trial};
use crate::engine::{Ivr, Reason};
use crate::tree::render::{Lines, printable};
use crate::tree::walk::{Happened, WalkStep};

/// Shown in the place of a key that a masked node met.
const HIDDEN: char = '•';

impl Trial {
    /// Returns a line; for a test that failed also what was expected, what came out, and the walk.
    pub fn human(&self, ivr: &Ivr) -> String {
        let name = printable(&self.name);
        let end = self.end.as_ref();
        let ended = end.map(|end| format!("{} after {} ms", printable(&end.outcome), end.at.0));
        if self.passed() {
            return format!("ok      {name}: {}\n", ended.unwrap_or_default());
        }
        format!("FAILED  {name}\n{}", self.account(ivr))
    }

    /// Returns what was expected, what came out, and the walk, key by key with times.
    fn account(&self, ivr: &Ivr) -> String {
        let mut text = String::new();
        for Mismatch { what, expected, actual } in &self.mismatches {
            push(&mut text, format_args!("    {} is {}\n", printable(what), printable(actual)));
            push(&mut text, format_args!("    expected {}\n", printable(expected)));
        }
        text.push_str("    the walk:\n");
        for WalkStep { at, what } in &self.walk {
            push(&mut text, format_args!("{:>10} ms  {}\n", at.0, printable(&in_words(what, ivr))));
        }
        if self.omitted > 0 {
            push(&mut text, format_args!("            … and {} steps more\n", self.omitted));
        }
        for (name, value) in &self.set {
            push(&mut text, format_args!("    written: {} = {}\n", printable(name), printable(value)));
        }
        text
    }

    /// Returns the trial as `dtmfd test --json` gives it, in JSON.
    pub fn json(&self, ivr: &Ivr) -> String {
        let end = self.end.as_ref();
        let document = Document {
            name: &self.name,
            passed: self.passed(),
            outcome: end.map(|end| &*end.outcome),
            at: end.map(|end| &*ivr.node(end.node).name),
            ended_ms: end.map(|end| end.at.0),
            set: Variables(&self.set),
            walk: self
                .walk
                .iter()
                .map(|step| Step { at_ms: step.at.0, what: Event::new(&step.what, ivr) })
                .collect(),
            walk_omitted: self.omitted,
            failures: self
                .mismatches
                .iter()
                .map(|Mismatch { what, expected, actual }| Failure { what, expected, actual })
                .collect(),
        };
        serde_json::to_string(&document).expect("strings and numbers are always JSON")
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    name: &'a str,
    passed: bool,
    outcome: Option<&'a str>,
    at: Option<&'a str>,
    ended_ms: Option<u64>,
    set: Variables<'a>,
    walk: Vec<Step<'a>>,
    walk_omitted: usize,
    failures: Vec<Failure<'a>>,
}

struct Variables<'a>(&'a [(Arc<str>, String)]);

impl Serialize for Variables<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (&**name, value)))
    }
}

#[derive(Serialize)]
struct Failure<'a> {
    what: &'a str,
    expected: &'a str,
    actual: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Step<'a> {
    at_ms: u64,
    #[serde(flatten)]
    what: Event<'a>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "camelCase")]
enum Event<'a> {
    Press { key: char, verdict: &'a str, node: &'a str },
    Enter { node: &'a str, attempt: u32, reason: &'a str },
    HangUp,
    End { outcome: &'a str, node: &'a str, reason: &'a str },
}

impl<'a> Event<'a> {
    fn new(what: &'a Happened, ivr: &'a Ivr) -> Event<'a> {
        let name = |node| &*ivr.node(node).name;
        match what {
            Happened::Pressed { key, verdict, node } => Event::Press {
                key: key.map_or(HIDDEN, |key| key.symbol()),
                verdict: verdict.name(),
                node: name(*node),
            },
            Happened::Entered { node, attempt, reason } => {
                Event::Enter { node: name(*node), attempt: *attempt, reason: reason.name() }
            }
            Happened::HungUp => Event::HangUp,
            Happened::Ended(end) => {
                Event::End { outcome: &end.outcome, node: name(end.node), reason: end.reason.name() }
            }
        }
    }
}

fn in_words(what: &Happened, ivr: &Ivr) -> String {
    match what {
        Happened::Pressed { key, verdict, .. } => {
            format!("presses {}: {}", key.map_or(HIDDEN, |key| key.symbol()), verdict.name())
        }
        Happened::Entered { node, attempt: 1, reason: Reason::Commit } => {
            format!("enters {}", ivr.node(*node).name)
        }
        Happened::Entered { node, attempt: 1, reason } => {
            format!("enters {} after {}", ivr.node(*node).name, reason.name())
        }
        Happened::Entered { node, attempt, reason } => {
            format!("hears {} again, attempt {attempt} after {}", ivr.node(*node).name, reason.name())
        }
        Happened::HungUp => "hangs up".to_owned(),
        Happened::Ended(end) => {
            let by = if end.reason == Reason::Commit { "" } else { " after " };
            let reason = end.reason.name();
            format!("ends at {} with {}{by}{reason}", ivr.node(end.node).name, end.outcome)
        }
    }
}

/// Returns trials as JUnit XML, as CI systems show it. A test's time is that of its walk, not ours.
pub fn junit(trials: &[Trial], ivr: &Ivr, path: &str, source: &str) -> String {
    let lines = Lines::new(source);
    let failed = trials.iter().filter(|trial| !trial.passed()).count();
    let ms = |trial: &Trial| trial.end.as_ref().map_or(0, |end| end.at.0);
    let seconds = |ms: u64| format!("{}.{:03}", ms / 1000, ms % 1000);
    let total = seconds(trials.iter().map(ms).fold(0, u64::saturating_add));
    let (path, n) = (xml(path), trials.len());
    let counts = format!("tests=\"{n}\" failures=\"{failed}\" errors=\"0\" skipped=\"0\" time=\"{total}\"");
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"dtmfd test\" {counts}>\n  \
         <testsuite name=\"{path}\" {counts}>\n"
    );
    for trial in trials {
        let line = lines.place(trial.span.start).line;
        let (name, time) = (xml(&trial.name), seconds(ms(trial)));
        let case = format_args!(
            "    <testcase name=\"{name}\" classname=\"{path}\" file=\"{path}\" line=\"{line}\" time=\"{time}\""
        );
        push(&mut text, case);
        match trial.mismatches.first() {
            None => text.push_str("/>\n"),
            Some(Mismatch { what, expected, actual }) => {
                let message = xml(&format!("{what} is {actual}, expected {expected}"));
                let account = xml(&trial.account(ivr));
                let failure = format_args!(
                    ">\n      <failure message=\"{message}\" type=\"failing-test\">\n{account}      </failure>\n    \
                     </testcase>\n"
                );
                push(&mut text, failure);
            }
        }
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

/// Escapes text for XML, in an element or an attribute. What XML 1.0 has no way to write is left out:
/// control characters but the line feed, and two that are no characters.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => (),
            _ if character.is_control() && character != '\n' => (),
            _ => escaped.push(character),
        }
    }
    escaped
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::tree::tests::tree;
    use crate::tree::{load, trials};

    const NODES: &str = r#"{
        "a": {"choices": {"1": "pin", "2": {"outcome": "t<\u001b[31m&wo>"}}, "noInput": {"tries": 2}},
        "pin": {"collect": {"min": 2, "max": 2}, "mask": true, "outcome": "in"}}"#;
    const TESTS: &str = r#", "tests": [
        {"name": "a <\u0007 & 'b\" \uffff", "press": "1 98", "outcome": "in"},
        {"press": "2", "outcome": "one", "set": {"x": "y"}},
        {"press": "w 9 ~ ~", "outcome": "gone"}]"#;

    fn all() -> (crate::tree::Loaded, String) {
        let text = tree(NODES, TESTS);
        (load(&text), text)
    }

    #[test]
    fn tells_people_what_was_expected_and_what_came_out() {
        let (loaded, _) = all();
        let ivr = loaded.ivr.unwrap();
        let text: String = trials(&ivr, &loaded.tests).map(|trial| trial.human(&ivr)).collect();
        assert_eq!(
            r#"ok      a <\u{7} & 'b" \u{ffff}: in after 400 ms
FAILED  test 2
    the outcome is `t<\u{1b}[31m&wo>`
    expected `one`
    the variable `x` is not written
    expected `y`
    the walk:
         0 ms  enters a
         0 ms  presses 2: accepted
         0 ms  ends at a with t<\u{1b}[31m&wo>
    written: ivr_selection = ["2"]
    written: ivr_status = t<\u{1b}[31m&wo>
FAILED  test 3
    the outcome is `timeout_fallback`
    expected `gone`
    the walk:
         0 ms  enters a
       500 ms  presses 9: invalid
     10000 ms  hears a again, attempt 2 after noinput
     20000 ms  ends at a with timeout_fallback after noinput
    written: ivr_status = timeout_fallback
"#,
            text.replace("\u{ffff}", "\\u{ffff}")
        );
    }

    #[test]
    fn gives_scripts_each_step() {
        let (loaded, _) = all();
        let ivr = loaded.ivr.unwrap();
        let first = trials(&ivr, &loaded.tests).next().unwrap().json(&ivr);
        let expected = json!({
            "name": "a <\u{7} & 'b\" \u{ffff}", "passed": true, "outcome": "in", "at": "pin", "endedMs": 400,
            "set": {"ivr_selection": "[\"1\",\"[masked]\"]", "ivr_status": "in"},
            "walk": [
                {"atMs": 0, "event": "enter", "node": "a", "attempt": 1, "reason": ""},
                {"atMs": 0, "event": "press", "key": "1", "verdict": "accepted", "node": "a"},
                {"atMs": 0, "event": "enter", "node": "pin", "attempt": 1, "reason": ""},
                {"atMs": 200, "event": "press", "key": "•", "verdict": "accepted", "node": "pin"},
                {"atMs": 400, "event": "press", "key": "•", "verdict": "accepted", "node": "pin"},
                {"atMs": 400, "event": "end", "node": "pin", "outcome": "in", "reason": ""},
            ],
            "walkOmitted": 0, "failures": [],
        });
        assert_eq!(expected, serde_json::from_str::<Value>(&first).unwrap());
        assert!(first.starts_with(r#"{"name":"a "#), "{first}");
    }

    #[test]
    fn gives_ci_what_xml_can_write() {
        let (loaded, source) = all();
        let ivr = loaded.ivr.unwrap();
        let all: Vec<_> = trials(&ivr, &loaded.tests).collect();
        let text = junit(&all, &ivr, "a&b.json", &source);
        let counts = r#"tests="3" failures="2" errors="0" skipped="0" time="20.400""#;
        assert!(text.contains(&format!("<testsuite name=\"a&amp;b.json\" {counts}>")), "{text}");
        assert!(text.contains("name=\"a &lt; &amp; &apos;b&quot; \""), "{text}");
        assert!(text.contains("line=\"6\" time=\"20.000\">"), "{text}");
        assert!(text.contains("&lt;\\u{1b}[31m&amp;wo&gt;"), "{text}");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    }
}
