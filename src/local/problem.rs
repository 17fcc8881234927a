//! What a request gets that cannot be answered: RFC 9457 problem JSON with a stable code.

use std::borrow::Cow;
use std::time::SystemTime;

/// The media type of a [`Problem`].
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// Headers that every answer carries: nothing here may be kept or taken for another type.
pub(super) const ALWAYS: [(&str, &str); 3] =
    [("Server", "dtmfd"), ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")];

/// Why a request is not answered as it hoped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Problem {
    /// The HTTP status, 400 to 599.
    pub(super) status: u16,
    /// What a program tells it by; it never changes.
    pub(super) code: &'static str,
    /// What a person should know, with the next thing to do.
    pub(super) detail: Cow<'static, str>,
    /// A header that the status asks for: `Allow`, `WWW-Authenticate`, `Retry-After`.
    pub(super) header: Option<(&'static str, &'static str)>,
}

impl Problem {
    pub(super) fn new(status: u16, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem { status, code, detail: detail.into(), header: None }
    }

    pub(super) fn with(self, name: &'static str, value: &'static str) -> Problem {
        Problem { header: Some((name, value)), ..self }
    }

    /// Returns the JSON. `type` is left out, which means `about:blank`: the title is the status in words.
    pub(super) fn body(&self) -> String {
        let Problem { status, code, detail, .. } = self;
        serde_json::json!({ "title": title(*status), "status": status, "code": code, "detail": detail })
            .to_string()
    }

    /// Returns the whole answer as it goes onto the wire, for when there is nobody else to write it.
    pub(super) fn to_http(&self, head_only: bool) -> Vec<u8> {
        let body = self.body();
        let date = httpdate::fmt_http_date(SystemTime::now());
        let mut text = format!(
            "HTTP/1.1 {} {}\r\nDate: {date}\r\nContent-Type: {PROBLEM_JSON}\r\nContent-Length: {}\r\n",
            self.status,
            title(self.status),
            body.len()
        );
        for (name, value) in ALWAYS.into_iter().chain(self.header) {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text.push_str("Connection: close\r\n\r\n");
        if !head_only {
            text.push_str(&body);
        }
        text.into_bytes()
    }
}

fn title(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Problem")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_whole_answer_of_its_own() {
        let problem = Problem::new(405, "method_not_allowed", "say \"GET\"").with("Allow", "GET, HEAD");
        let text = String::from_utf8(problem.to_http(false)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            serde_json::json!({
                "title": "Method Not Allowed", "status": 405, "code": "method_not_allowed", "detail": "say \"GET\""
            }),
            json
        );
        let lines: Vec<_> = head.split("\r\n").filter(|line| !line.starts_with("Date: ")).collect();
        let length = format!("Content-Length: {}", body.len());
        assert_eq!(
            vec![
                "HTTP/1.1 405 Method Not Allowed",
                "Content-Type: application/problem+json",
                &length,
                "Server: dtmfd",
                "Cache-Control: no-store",
                "X-Content-Type-Options: nosniff",
                "Allow: GET, HEAD",
                "Connection: close",
            ],
            lines
        );
        assert!(problem.to_http(true).ends_with(b"\r\n\r\n"));
    }
}
