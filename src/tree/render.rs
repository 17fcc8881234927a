//! Findings as people, scripts and GitHub read them.

use annotate_snippets::renderer::{DEFAULT_TERM_WIDTH, Renderer};
use annotate_snippets::{AnnotationKind, Level, Snippet};
use serde::Serialize;

use super::diagnostic::{Finding, Severity, Span, is_unprintable};

/// A place as editors count it: from 1, columns in characters. A byte order mark has no column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

/// Where lines begin: finds places by halving instead of by reading the whole file each time.
#[derive(Debug)]
pub struct Lines<'a> {
    source: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Finds the lines of `source`. A line ends with a line feed.
    pub fn new(source: &'a str) -> Lines<'a> {
        let first = if source.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let starts = std::iter::once(first).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Lines { source, starts }
    }

    /// Returns the place of a byte; past the end, the end's.
    pub fn place(&self, offset: usize) -> Place {
        let offset = floor(self.source, offset);
        let line = self.starts.partition_point(|&start| start <= offset).max(1);
        let start = self.starts[line - 1];
        let column = self.source.get(start..offset).map_or(0, |before| before.chars().count());
        Place { line, column: column + 1 }
    }

    /// Returns what of a line lies around `span`, and `span` in it, cut to that line.
    fn excerpt(&self, line: usize, span: &Span) -> (&'a str, Span) {
        let line_start = self.starts[line - 1];
        let line_end = self.starts.get(line).map_or(self.source.len(), |next| next - 1);
        let line_end = line_start + self.source[line_start..line_end].trim_end_matches('\r').len();
        let start = floor(self.source, span.start).clamp(line_start, line_end);
        let end = ceil(self.source, span.end).clamp(start, line_end);
        // A minified tree is one line of up to 1 MiB, and each finding would go through all of it.
        let from = ceil(self.source, start.saturating_sub(EXCERPT_BYTES).max(line_start));
        let end = end.min(floor(self.source, start + EXCERPT_BYTES));
        let to = floor(self.source, (end + EXCERPT_BYTES).min(line_end));
        (&self.source[from..to.max(end)], start - from..end - from)
    }
}

/// How much of a line is looked at on either side of a finding.
const EXCERPT_BYTES: usize = 400;

/// Returns the last character boundary up to `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// Returns the first character boundary from `at` on.
fn ceil(text: &str, at: usize) -> usize {
    (at..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len())
}

/// Returns the findings as a compiler would show them, each with its source line, a caret and help.
pub fn human(findings: &[Finding], path: &str, source: &str, color: bool) -> String {
    let lines = Lines::new(source);
    let renderer = if color { Renderer::styled() } else { Renderer::plain() }.term_width(DEFAULT_TERM_WIDTH);
    let path = printable(path);
    let mut text = String::new();
    for finding in findings {
        text.push_str(&shown(finding, &path, &lines, &renderer));
        text.push_str("\n\n");
    }
    text
}

fn shown(finding: &Finding, path: &str, lines: &Lines<'_>, renderer: &Renderer) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let Place { line, column } = lines.place(finding.span.start);
    let (excerpt, span) = lines.excerpt(line, &finding.span);
    let shown_column = excerpt[..span.start].chars().count() + 1;
    let snippet = Snippet::source(excerpt).line_start(line).path(path);
    let group = level
        .primary_title(printable(&finding.message))
        .id(finding.code)
        .element(snippet.annotation(AnnotationKind::Primary.span(span)))
        .element(Level::HELP.message(printable(&finding.help)));
    let text = renderer.render(&[group]);
    match text.split_once('\n') {
        // The column in what is shown of a very long line is not the column in the file.
        Some((title, rest)) if shown_column != column => {
            let (shown, real) = (format!("{path}:{line}:{shown_column}"), format!("{path}:{line}:{column}"));
            format!("{title}\n{}", rest.replacen(&shown, &real, 1))
        }
        _ => text,
    }
}

/// A finding as `--format json` gives it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    code: &'a str,
    severity: &'a str,
    file: &'a str,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
    message: &'a str,
    help: &'a str,
}

#[derive(Serialize)]
struct Document<'a> {
    errors: usize,
    warnings: usize,
    findings: Vec<Entry<'a>>,
}

/// Returns the findings as one JSON object: how many errors and warnings, and each with its place.
///
/// `endColumn` is the first column that no longer belongs to the finding.
pub fn json(findings: &[Finding], path: &str, source: &str) -> String {
    let lines = Lines::new(source);
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let document = Document {
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
        findings: findings
            .iter()
            .map(|finding| {
                let (start, end) = (lines.place(finding.span.start), lines.place(finding.span.end));
                Entry {
                    code: finding.code,
                    severity: finding.severity.name(),
                    file: path,
                    line: start.line,
                    column: start.column,
                    end_line: end.line,
                    end_column: end.column,
                    message: &finding.message,
                    help: &finding.help,
                }
            })
            .collect(),
    };
    serde_json::to_string(&document).expect("strings and numbers are always JSON")
}

/// Returns the findings as workflow commands: GitHub shows them beside the lines of a pull request.
pub fn github(findings: &[Finding], path: &str, source: &str) -> String {
    let lines = Lines::new(source);
    findings
        .iter()
        .map(|finding| {
            let Place { line, column } = lines.place(finding.span.start);
            let severity = match finding.severity {
                Severity::Error | Severity::Warning => finding.severity.name(),
                Severity::Note => "notice",
            };
            let (file, title) = (property(path), property(finding.code));
            let message = data(&format!("{}\n{}", finding.message, finding.help));
            format!("::{severity} file={file},line={line},col={column},title={title}::{message}\n")
        })
        .collect()
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Escapes what would change how a terminal shows what follows: a path or a name may hold anything.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if is_unprintable(c) { c.escape_unicode().to_string() } else { c.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::diagnostic::code;

    fn finding(span: Span) -> Finding {
        Finding::error(code::UNKNOWN_KEY, span, "unknown key `nextnode`", "the key here is `nextNode`")
    }

    #[test]
    fn counts_lines_and_characters_from_one() {
        let lines = Lines::new("\u{feff}é{\r\n\tx\n");
        for (offset, line, column) in
            [(0, 1, 1), (3, 1, 1), (4, 1, 1), (5, 1, 2), (8, 2, 1), (9, 2, 2), (11, 3, 1), (999, 3, 1)]
        {
            assert_eq!(Place { line, column }, lines.place(offset), "{offset}");
        }
    }

    #[test]
    fn shows_a_finding_as_a_compiler_would() {
        let source = "{\n  \"1\": { \"nextnode\": \"a\" }\n}\n";
        let start = source.find("\"nextnode\"").unwrap();
        assert_eq!(
            "error[unknown-key]: unknown key `nextnode`\n \
             --> ivr.json:2:10\n  \
             |\n\
             2 |   \"1\": { \"nextnode\": \"a\" }\n  \
             |          ^^^^^^^^^^\n  \
             |\n  \
             = help: the key here is `nextNode`\n\n",
            human(&[finding(start..start + 10)], "ivr.json", source, false)
        );
    }

    #[test]
    fn shows_a_finding_in_a_line_of_any_length() {
        let source = format!("[{}\"nextnode\"{}]", "1,".repeat(300_000), ",1".repeat(100_000));
        let start = source.find("\"nextnode\"").unwrap();
        let text = human(&[finding(start..start + 10)], "ivr.json", &source, false);
        assert!(text.contains(" --> ivr.json:1:600002\n"), "{text}");
        assert!(text.contains("\"nextnode\"") && text.len() < 1000, "{text}");
        let text = human(&[finding(start..start + 10)], "ivr.json", &source, true);
        assert!(text.contains("ivr.json:1:600002"), "{text}");
    }

    #[test]
    fn counts_tabs_and_wide_letters_as_one_column_each() {
        let text = human(&[finding(6..7)], "x", "\t電é\n", false);
        assert!(text.contains(" --> x:1:4\n"), "{text}");
        let text = human(&[finding(4..6)], "x", "\t電é\n", false);
        assert!(text.contains(" --> x:1:3\n"), "{text}");
    }

    #[test]
    fn stays_within_any_source() {
        for source in ["", "\u{feff}", "é", "a\r\nb", "\n\n", "\u{feff}é\n"] {
            for start in 0..8 {
                for end in start..8 {
                    let text = human(&[finding(start..end)], "x", source, true);
                    assert!(text.contains("help"), "{source:?} {start} {end}");
                    json(&[finding(start..end)], "x", source);
                }
            }
        }
    }

    #[test]
    fn escapes_what_github_would_read_as_its_own() {
        let mut finding = finding(0..1);
        finding.message = "50 %\r::error::x".into();
        assert_eq!(
            "::error file=a%2Cb%3Ac.json,line=1,col=1,title=unknown-key::50 %25%0D::error::x%0Athe key here is \
             `nextNode`\n",
            github(&[finding], "a,b:c.json", "{}")
        );
    }

    #[test]
    fn gives_scripts_the_place_and_the_counts() {
        let text = json(&[finding(2..4)], "ivr.json", "{\n\"a\": 1}");
        assert_eq!(
            "{\"errors\":1,\"warnings\":0,\"findings\":[{\"code\":\"unknown-key\",\"severity\":\"error\",\
             \"file\":\"ivr.json\",\"line\":2,\"column\":1,\"endLine\":2,\"endColumn\":3,\
             \"message\":\"unknown key `nextnode`\",\"help\":\"the key here is `nextNode`\"}]}",
            text
        );
    }
}
