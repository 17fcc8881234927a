//! What is wrong with a tree: findings, their codes, and where they are collected.

use std::fmt::Write;
use std::ops::Range;

/// A place in the file, in bytes.
pub type Span = Range<usize>;

/// The stable codes of findings. Scripts may rely on them: one is never given another meaning.
pub mod code {
    /// Not JSON, or not UTF-8.
    pub const NOT_JSON: &str = "not-json";
    /// The file, or the tree once `keys` and `defaults` are in every node, is too large.
    pub const TOO_LARGE: &str = "too-large";
    /// A value of another type than its key takes.
    pub const WRONG_TYPE: &str = "wrong-type";
    /// A value of the right type that can't be meant.
    pub const WRONG_VALUE: &str = "wrong-value";
    /// Not a key string.
    pub const BAD_PATTERN: &str = "bad-pattern";
    /// A key that means nothing where it stands.
    pub const UNKNOWN_KEY: &str = "unknown-key";
    /// A key that its object has already.
    pub const DUPLICATE_KEY: &str = "duplicate-key";
    /// A required key is not there.
    pub const MISSING_KEY: &str = "missing-key";
    /// `rootNode` is not there, or names no node.
    pub const MISSING_ROOT: &str = "missing-root";
    /// A target names no node.
    pub const MISSING_TARGET: &str = "missing-target";
    /// A node is a menu and an entry at once.
    pub const CHOICES_WITH_COLLECT: &str = "choices-with-collect";
    /// `outcome` stands beside `nextNode`.
    pub const OUTCOME_WITH_NEXT_NODE: &str = "outcome-with-next-node";
    /// A node or a choice leads nowhere.
    pub const NO_TARGET: &str = "no-target";
    /// Two choices of equal specificity match one entry.
    pub const OVERLAPPING_CHOICES: &str = "overlapping-choices";
    /// A choice can never win.
    pub const SHADOWED_CHOICE: &str = "shadowed-choice";
    /// `interDigitMs` is 0.
    pub const INTER_DIGIT_ZERO: &str = "inter-digit-zero";
    /// `min` is more than `max`.
    pub const MIN_OVER_MAX: &str = "min-over-max";
    /// A `collect` has no entry.
    pub const EMPTY_COLLECT: &str = "empty-collect";
    /// `mask` is 0.
    pub const MASK_ZERO: &str = "mask-zero";
    /// A template uses a name that there is not.
    pub const UNKNOWN_NAME: &str = "unknown-name";
    /// A template's braces don't match.
    pub const BAD_TEMPLATE: &str = "bad-template";
    /// One of the tree's own tests fails.
    pub const FAILING_TEST: &str = "failing-test";
    /// Too many nodes.
    pub const TOO_MANY_NODES: &str = "too-many-nodes";
    /// A choice waits because a longer one begins like it.
    pub const AMBIGUOUS_PREFIX: &str = "ambiguous-prefix";
    /// No call reaches a node.
    pub const UNREACHABLE_NODE: &str = "unreachable-node";
    /// A walk can end from a node only by waiting.
    pub const ONLY_WAITING: &str = "only-waiting";
    /// No entry satisfies the range or check.
    pub const NEVER_SATISFIED: &str = "never-satisfied";
    /// A timeout is under 2 s or over 60 s.
    pub const ODD_TIMEOUT: &str = "odd-timeout";
    /// Keys A-D are asked for.
    pub const ABCD_KEYS: &str = "abcd-keys";

    /// An entry is written in clear. A note, neither an error nor a warning.
    pub const RAW_VALUE: &str = "raw-value";

    /// Every code of an error.
    pub const ERRORS: [&str; 23] = [
        NOT_JSON,
        TOO_LARGE,
        WRONG_TYPE,
        WRONG_VALUE,
        BAD_PATTERN,
        UNKNOWN_KEY,
        DUPLICATE_KEY,
        MISSING_KEY,
        MISSING_ROOT,
        MISSING_TARGET,
        CHOICES_WITH_COLLECT,
        OUTCOME_WITH_NEXT_NODE,
        NO_TARGET,
        OVERLAPPING_CHOICES,
        SHADOWED_CHOICE,
        INTER_DIGIT_ZERO,
        MIN_OVER_MAX,
        EMPTY_COLLECT,
        MASK_ZERO,
        UNKNOWN_NAME,
        BAD_TEMPLATE,
        TOO_MANY_NODES,
        FAILING_TEST,
    ];

    /// Every code of a warning.
    pub const WARNINGS: [&str; 6] =
        [AMBIGUOUS_PREFIX, UNREACHABLE_NODE, ONLY_WAITING, NEVER_SATISFIED, ODD_TIMEOUT, ABCD_KEYS];

    /// Errors that say nothing about where calls can go: the graph is known all the same.
    pub(in crate::tree) const GRAPH_IS_KNOWN: [&str; 6] =
        [INTER_DIGIT_ZERO, MASK_ZERO, UNKNOWN_NAME, BAD_TEMPLATE, OVERLAPPING_CHOICES, SHADOWED_CHOICE];
}

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// The tree can't be used.
    Error,
    /// The tree can be used, and callers may not like it.
    Warning,
    /// The tree can be used; who answers for it wants to know this.
    Note,
}

impl Severity {
    /// Returns the severity's name.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// One thing found in a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Its code, one of [`code`].
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    pub span: Span,
    /// What was found.
    pub message: String,
    /// What would be right, as a statement.
    pub help: String,
}

impl Finding {
    pub(super) fn error(
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Finding {
        Finding { code, severity: Severity::Error, span, message: message.into(), help: help.into() }
    }
}

/// The most findings of one severity that are kept. More would not be read, and a hostile file of
/// 1 MiB could ask for a hundred thousand.
pub const FINDINGS_MAX: usize = 1000;

/// How many names are looked up by likeness in one load: each costs a walk over all known names.
const LOOKUPS_MAX: usize = 50;

/// Collects the findings of one load.
#[derive(Debug, Default)]
pub(super) struct Report {
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
    notes: Vec<Finding>,
    omitted: usize,
    lookups: usize,
    graph_unknown: bool,
}

impl Report {
    pub(super) fn error(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Finding::error(code, span, message, help));
    }

    pub(super) fn warning(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let (message, help) = (message.into(), help.into());
        self.push(Finding { code, severity: Severity::Warning, span, message, help });
    }

    pub(super) fn note(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let (message, help) = (message.into(), help.into());
        self.push(Finding { code, severity: Severity::Note, span, message, help });
    }

    pub(super) fn push(&mut self, finding: Finding) {
        let findings = match finding.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
            Severity::Note => &mut self.notes,
        };
        if finding.severity == Severity::Error && !code::GRAPH_IS_KNOWN.contains(&finding.code) {
            self.graph_unknown = true;
        }
        if findings.len() < FINDINGS_MAX {
            findings.push(finding);
        } else {
            self.omitted += 1;
        }
    }

    /// Reports a key that its object has already.
    pub(super) fn duplicate(&mut self, name: &str, span: Span) {
        self.error(
            code::DUPLICATE_KEY,
            span,
            format!("the key {} is here twice", quote(name)),
            "an object has each key once: readers of JSON lose one of two without a word",
        );
    }

    /// Returns whether there are errors.
    pub(super) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Returns whether no error hides where calls can go.
    pub(super) fn graph_is_known(&self) -> bool {
        !self.graph_unknown
    }

    /// Returns the known name that is most like `name`.
    ///
    /// `None` without known names, and once a load has asked too often.
    pub(super) fn nearest<'k>(
        &mut self,
        name: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Option<&'k str> {
        self.lookups += 1;
        if self.lookups > LOOKUPS_MAX {
            return None;
        }
        // The names come out of hash maps: of those that are alike the order decides, not the day.
        known.into_iter().min_by_key(|&known| (distance(name, known), known))
    }

    /// Takes the notes out, by place.
    pub(super) fn take_notes(&mut self) -> Vec<Finding> {
        let mut notes = std::mem::take(&mut self.notes);
        notes.sort_by_key(|note| note.span.start);
        notes
    }

    /// Returns the errors and warnings by place, and how many more there were.
    pub(super) fn into_findings(self) -> (Vec<Finding>, usize) {
        let mut findings = self.errors;
        findings.extend(self.warnings);
        findings.sort_by(|a, b| (a.span.start, a.severity, a.code).cmp(&(b.span.start, b.severity, b.code)));
        (findings, self.omitted)
    }
}

/// The most characters of the file that a message repeats.
const QUOTE_CHARS_MAX: usize = 40;

/// Returns text of the file for a message: in backticks, cut, and with nothing in it that would
/// change how a terminal shows what follows.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("`");
    let mut characters = text.chars();
    for character in characters.by_ref().take(QUOTE_CHARS_MAX) {
        if is_unprintable(character) {
            // Writing to a string can't fail.
            let _ = write!(quoted, "\\u{{{:x}}}", u32::from(character));
        } else {
            quoted.push(character);
        }
    }
    if characters.next().is_some() {
        quoted.push('…');
    }
    quoted.push('`');
    quoted
}

/// Returns whether a character is a control, a bidirectional one, or one without a width.
pub(super) fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Names longer than this are compared by their beginnings.
const COMPARED_CHARS_MAX: usize = 64;

/// Returns how many letters have to change to make one name the other. Letter case counts half, and
/// a name that only goes on counts as little as that.
fn distance(a: &str, b: &str) -> usize {
    if !a.is_empty() && b.get(..a.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(a)) {
        return usize::from(a != b);
    }
    let a: Vec<char> = a.chars().take(COMPARED_CHARS_MAX).collect();
    let b: Vec<char> = b.chars().take(COMPARED_CHARS_MAX).collect();
    let mut row: Vec<usize> = (0..=b.len()).map(|column| column * 2).collect();
    for (i, &in_a) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = (i + 1) * 2;
        for (j, &in_b) in b.iter().enumerate() {
            let change = match () {
                () if in_a == in_b => 0,
                () if in_a.eq_ignore_ascii_case(&in_b) => 1,
                () => 2,
            };
            let least = (diagonal + change).min(row[j] + 2).min(row[j + 1] + 2);
            diagonal = row[j + 1];
            row[j + 1] = least;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_name_that_is_most_alike() {
        let known = ["nextNode", "outcome", "label", "set"];
        for (name, expected) in
            [("nextnode", "nextNode"), ("next", "nextNode"), ("lable", "label"), ("outcomes", "outcome")]
        {
            assert_eq!(Some(expected), Report::default().nearest(name, known), "{name}");
        }
        assert_eq!(Some("a"), Report::default().nearest("x", ["c", "a", "b"]));
        assert_eq!(None, Report::default().nearest("x", []));
    }

    #[test]
    fn quotes_so_that_a_terminal_shows_what_is_there() {
        for (text, expected) in [
            ("main", "`main`"),
            ("a\u{1b}[31m", "`a\\u{1b}[31m`"),
            ("a\u{202e}b\u{200b}", "`a\\u{202e}b\\u{200b}`"),
            ("é→", "`é→`"),
        ] {
            assert_eq!(expected, quote(text));
        }
        assert_eq!(format!("`{}…`", "x".repeat(40)), quote(&"x".repeat(41)));
    }

    #[test]
    fn sorts_by_place_and_keeps_a_bounded_number() {
        let mut report = Report::default();
        for place in (0..FINDINGS_MAX + 5).rev() {
            report.error(code::WRONG_TYPE, place..place, "m", "h");
        }
        report.warning(code::ODD_TIMEOUT, 500..501, "m", "h");
        let (findings, omitted) = report.into_findings();
        assert_eq!((FINDINGS_MAX + 1, 5), (findings.len(), omitted));
        assert!(findings.is_sorted_by_key(|finding| finding.span.start));
    }

    #[test]
    fn has_each_code_once() {
        let mut codes: Vec<_> = code::ERRORS.iter().chain(&code::WARNINGS).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(29, codes.len());
    }
}
