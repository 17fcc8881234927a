//! Pages: what a list is asked by, and how one is written.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{JSON, Reply, to_json};
use crate::engine::Page;
use crate::local::problem::Problem;
use crate::observe::log::utc;

/// How many entries a page has at most.
const LIMIT_MAX: usize = 100;
/// How many bytes of entries: with what is around them they fit into an answer, which has at most 1 MiB.
const PAGE_BYTES_MAX: usize = 768 * 1024;
/// How many bytes are shown of a text that comes from a tree: the value of a variable, a node's name.
const TEXT_BYTES_MAX: usize = 1024;

/// The parameters of a request, by name.
pub(super) struct Parameters<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Parameters<'a> {
    /// Reads a query that may hold these parameters, each once.
    ///
    /// # Errors
    ///
    /// Returns a problem that names the first parameter that is unknown, or there twice.
    pub(super) fn read(query: &'a str, known: &[&str]) -> Result<Parameters<'a>, Problem> {
        let mut read: Vec<(&str, &str)> = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            if !known.contains(&name) {
                return Err(bad(&match known {
                    [] => format!("`{name}` is unknown: there are no parameters here"),
                    _ => format!("`{name}` is unknown: there are {}", known.join(", ")),
                }));
            }
            if read.iter().any(|(other, _)| *other == name) {
                return Err(bad(&format!("`{name}` is there twice")));
            }
            read.push((name, value));
        }
        Ok(Parameters(read))
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(given, _)| *given == name).map(|&(_, value)| value)
    }

    /// Returns which part of the list is asked for.
    pub(super) fn page(&self) -> Result<Page, Problem> {
        let limit = match self.get("limit") {
            None => LIMIT_MAX,
            Some(text) => {
                number(text).filter(|limit| (1..=LIMIT_MAX as u64).contains(limit)).ok_or_else(|| {
                    bad(&format!("`limit` is `{text}`: it is a whole number from 1 to {LIMIT_MAX}"))
                })? as usize
            }
        };
        let after = match self.get("after") {
            None => 0,
            Some(text) => number(text).ok_or_else(|| {
                bad(&format!("`after` is `{text}`: it is the number that the page before names as `next`"))
            })?,
        };
        Ok(Page { after, limit })
    }
}

/// Reads digits and nothing else: no sign, no space.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Returns what is said of a parameter that is wrong.
pub(super) fn bad(detail: &str) -> Problem {
    Problem::new(422, "bad_parameter", detail.to_owned())
}

/// Writes a page, of entries that `fetch` gives at most so many of, with where to go on. Where they are too
/// long for one answer it asks again for as many as fit.
pub(super) fn pages<T>(
    name: &str,
    mut limit: usize,
    mut fetch: impl FnMut(usize) -> Result<(Vec<T>, Option<u64>), Problem>,
    show: impl Fn(&T) -> String,
) -> Result<Reply, Problem> {
    loop {
        let (entries, next) = fetch(limit)?;
        let entries: Vec<_> = entries.iter().map(&show).collect();
        let mut bytes = 0;
        let fitting = entries.iter().take_while(|entry| {
            bytes += entry.len() + 1;
            bytes <= PAGE_BYTES_MAX
        });
        let fitting = fitting.count();
        if fitting == entries.len() || limit == 1 {
            let body = format!(r#"{{"{name}":[{}],"next":{}}}"#, entries.join(","), to_json(&next));
            return Ok(Reply::new(200, JSON, body));
        }
        limit = fitting.clamp(1, limit - 1); // It gets smaller each time, so this ends.
    }
}

/// Returns a text, and whether it is only its beginning because it is long.
pub(super) fn cut(text: &str) -> (Cow<'_, str>, bool) {
    if text.len() <= TEXT_BYTES_MAX {
        return (Cow::Borrowed(text), false);
    }
    let end = (0..=TEXT_BYTES_MAX).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    (Cow::Owned(format!("{}…", &text[..end])), true)
}

/// Returns the wall clock, in milliseconds since the Unix epoch.
pub(super) fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// Returns a moment, in milliseconds since the Unix epoch, as `2026-02-28T12:00:00.000Z`.
pub(super) fn moment(wall_ms: u64) -> String {
    let [date, time] = utc(UNIX_EPOCH + Duration::from_millis(wall_ms));
    format!("{date}T{time}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_page_and_names_what_is_wrong_with_it() {
        let read = |query| Parameters::read(query, &["after", "limit", "state"]).and_then(|read| read.page());
        for (query, after, limit) in
            [("", 0, 100), ("after=7&limit=1", 7, 1), ("&limit=100&", 0, 100), ("state=x", 0, 100)]
        {
            assert_eq!(Ok(Page { after, limit }), read(query), "{query}");
        }
        for (query, named) in [
            ("limit=0", "`limit` is `0`"),
            ("limit=101", "`limit`"),
            ("limit=", "`limit`"),
            ("limit", "`limit`"),
            ("limit=+5", "`limit`"),
            ("limit=99999999999999999999", "`limit`"),
            ("after=-1", "`after` is `-1`"),
            ("after=%31", "`after`"),
            ("after=1&after=1", "`after` is there twice"),
            ("Limit=1", "`Limit` is unknown: there are after, limit, state"),
        ] {
            let problem = read(query).unwrap_err();
            assert_eq!((422, "bad_parameter"), (problem.status, problem.code), "{query}");
            assert!(problem.detail.contains(named), "{query}: {}", problem.detail);
        }
        let problem = Parameters::read("x=1", &[]).err().unwrap();
        assert!(problem.detail.contains("there are no parameters"), "{}", problem.detail);
    }

    #[test]
    fn a_page_ends_before_it_gets_too_long_and_the_next_goes_on_there() {
        let all: Vec<String> = (0..100).map(|number| format!("{number:>20000}")).collect();
        let (mut after, mut seen, mut n_pages) = (0, Vec::new(), 0);
        loop {
            let fetch = |limit: usize| {
                let end = (after + limit).min(all.len());
                Ok((all[after..end].to_vec(), (end < all.len()).then_some(end as u64)))
            };
            let reply = pages("all", 100, fetch, to_json);
            let body = reply.unwrap().body;
            assert!(body.len() < 1024 * 1024);
            let json: serde_json::Value = serde_json::from_str(&body).unwrap();
            seen.extend(json["all"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()));
            n_pages += 1;
            match json["next"].as_u64() {
                Some(next) => after = next as usize,
                None => break,
            }
        }
        assert_eq!((3, all), (n_pages, seen));
        // One that is too long alone is given all the same, and a list without any is one.
        let reply = pages("all", 5, |_| Ok((vec!["x".repeat(PAGE_BYTES_MAX)], None)), to_json).unwrap();
        assert_eq!(PAGE_BYTES_MAX + r#"{"all":[""],"next":null}"#.len(), reply.body.len());
        assert_eq!(
            r#"{"all":[],"next":9}"#,
            pages("all", 5, |_| Ok((Vec::<u8>::new(), Some(9))), to_json).unwrap().body
        );
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        assert_eq!(("é".repeat(512).into(), false), cut(&"é".repeat(512)));
        assert_eq!((format!("a{}…", "é".repeat(511)).into(), true), cut(&format!("a{}", "é".repeat(512))));
    }

    #[test]
    fn a_moment_is_iso_8601() {
        assert_eq!("1970-01-01T00:00:00.000Z", moment(0));
        assert_eq!("2024-02-29T23:59:59.999Z", moment(1_709_251_199_999));
    }
}
