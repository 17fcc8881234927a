//! Blots out what must not be told of what the tenant said: its answers and close reasons may repeat what we sent.

use std::collections::HashSet;

/// What stands for a token.
const TOKEN: &str = "…";

/// What stands for a value.
const VALUE: &str = "[value]";

/// What stands for a run of digits.
const DIGITS: &str = "[digits]";

/// How many digits in a row count as somebody's.
const DIGITS_MIN: usize = 3;

/// How many bytes in a row may be of a longer secret: a text that breaks off may repeat the beginning of one.
const PART: usize = 8;

/// Returns `said` without `token`, without `values`, and without runs of digits.
///
/// A token and a value are found as they are and escaped for JSON (once, twice, and as .NET and PHP do it) or HTML, in
/// whole or by any 8 bytes in a row. A run is 3 or more decimal digits, with nothing but quotes, commas, backslashes and
/// white space between them: the keys of a caller may stand in any answer, in a shape of the tenant's own. The price is
/// that numbers in error texts are lost, statuses and ids among them.
pub fn blot<'a>(said: &str, token: &str, values: impl IntoIterator<Item = &'a str>) -> String {
    // What stands for each byte; nothing where the byte may be told.
    let mut tags = vec![""; said.len()];
    blot_digits(said, &mut tags);
    for value in values {
        blot_forms(said, value, VALUE, &mut tags);
    }
    blot_forms(said, token, TOKEN, &mut tags);
    let mut told = String::new();
    let mut last = "";
    for (at, char) in said.char_indices() {
        // Part of a secret may begin or end within a character.
        let bytes = &tags[at..at + char.len_utf8()];
        let tag = bytes.iter().find(|tag| !tag.is_empty()).copied().unwrap_or_default();
        if tag.is_empty() {
            told.push(char);
        } else if tag != last {
            told.push_str(tag);
        }
        last = tag;
    }
    told
}

fn blot_digits(said: &str, tags: &mut [&'static str]) {
    let (mut begin, mut end, mut count) = (0, 0, 0);
    // A letter at the end ends the last run.
    for (at, char) in said.char_indices().chain([(said.len(), 'x')]) {
        if char.is_ascii_digit() {
            if count == 0 {
                begin = at;
            }
            count += 1;
            end = at + 1;
        } else if !("\"',\\".contains(char) || char.is_whitespace()) {
            if count >= DIGITS_MIN {
                tags[begin..end].fill(DIGITS);
            }
            count = 0;
        }
    }
}

fn blot_forms(said: &str, secret: &str, tag: &'static str, tags: &mut [&'static str]) {
    if secret.is_empty() {
        return;
    }
    let json = |text: &str| {
        let quoted = serde_json::Value::from(text).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    let once = json(secret);
    let twice = json(&once);
    let forms = [
        secret.to_owned(),
        once.replace('/', "\\/"),
        once.replace("\\\"", "\\u0022"),
        secret.replace('&', "&amp;").replace('"', "&quot;"),
        secret.replace('&', "&amp;").replace('"', "&#34;"),
        once,
        twice,
    ];
    for form in &forms {
        let form = form.as_bytes();
        let length = form.len().min(PART);
        let parts: HashSet<&[u8]> = form.windows(length).collect();
        for (at, part) in said.as_bytes().windows(length).enumerate() {
            if parts.contains(part) {
                tags[at..at + length].fill(tag);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_out_runs_of_digits() {
        for (said, expected) in [
            ("", ""),
            ("no route 42 for A-1", "no route 42 for A-1"),
            ("42 12", "[digits]"),
            ("at 123: no 4567.", "at [digits]: no [digits]."),
            (r#"{"keys":["1","2","3"],"n":12}"#, r#"{"keys":["[digits]"],"n":12}"#),
            ("['1', '2', '3', '4'", "['[digits]'"),
            ("12 é 3", "12 é 3"),
        ] {
            assert_eq!(expected, blot(said, "", []), "{said}");
        }
    }

    #[test]
    fn leaves_out_values_in_every_shape() {
        let keys = r#"["1","A","1"]"#;
        for (said, expected) in [
            (r#"bad: ["1","A","1"]!"#, "bad: [value]!"),
            (r#"{"echo":"[\"1\",\"A\",\"1\"]"}"#, r#"{"echo":"[value]"}"#),
            (
                r#"{"echo":"[{\"value\":\"[\\\"1\\\",\\\"A\\\",\\\"1\\\"]\"}]"}"#,
                r#"{"echo":"[{\"value\":\"[value]\"}]"}"#,
            ),
            (r#"x[\u00221\u0022,\u0022A\u0022,\u00221\u0022]x"#, "x[value]x"),
            ("<b>[&quot;1&quot;,&quot;A&quot;,&quot;1&quot;]</b>", "<b>[value]</b>"),
            (r#"cut: ["1","A","#, "cut: [value]"),
            ("key 4#, not 4", "key [value], not 4"),
            ("key 4#4#4#4", "key [value]4"),
        ] {
            assert_eq!(expected, blot(said, "token", [keys, "4#", ""]), "{said}");
        }
    }

    #[test]
    fn leaves_out_the_token_in_whole_or_in_part() {
        for (said, expected) in [
            ("Bearer abc/def.ghi-jkl has expired", "Bearer … has expired"),
            (r"Bearer abc\/def.ghi-jkl has expired", "Bearer … has expired"),
            ("Bearer abc/def.ghi", "Bearer …"),
            ("…def.ghi-jkl", "……"),
            ("abc", "abc"),
        ] {
            assert_eq!(expected, blot(said, "abc/def.ghi-jkl", ["Bear"]).replace(VALUE, "Bear"), "{said}");
        }
        assert_eq!("ä…ü", blot("äöü", "ö", []));
        assert_eq!("…", blot("äööööx", "aöööö", []).trim_matches(['ä', 'x']));
    }
}
