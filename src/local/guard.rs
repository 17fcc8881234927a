//! Who may ask: no page of another site, and off loopback nobody without the token.

use super::listen::Listen;
use super::problem::Problem;

/// What is asked without a token anywhere: load balancers and scrapers have none.
const OPEN: [&str; 4] = ["/health", "/livez", "/readyz", "/metrics"];

/// What guards the listener.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Door {
    /// A loopback address. Any page in a browser here can reach it, so it goes by what browsers say.
    Loopback {
        /// The port it listens on.
        port: u16,
    },
    /// An address that others reach: who asks shows a token.
    Remote {
        /// The token, not empty.
        token: String,
    },
    /// A unix socket: the file's permissions let in our own user only, and names mean nothing there.
    Unix,
}

/// What a request says of where it comes from.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Origins<'a> {
    pub(super) host: Option<&'a str>,
    pub(super) origin: Option<&'a str>,
    pub(super) site: Option<&'a str>,
    pub(super) authorization: Option<&'a str>,
}

impl Door {
    /// Returns what guards a listener at this address; `None` if it needs a token and there is none.
    pub(super) fn of(listen: &Listen, token: Option<&str>) -> Option<Door> {
        match listen {
            Listen::Unix(_) => Some(Door::Unix),
            Listen::Tcp(address) if listen.is_loopback() => Some(Door::Loopback { port: address.port() }),
            Listen::Tcp(_) => {
                let token = token.filter(|token| !token.is_empty())?;
                Some(Door::Remote { token: token.to_owned() })
            }
        }
    }

    /// Checks whether a request may be answered: `path` is without its query, `change` says that it is
    /// neither GET nor HEAD.
    ///
    /// # Errors
    ///
    /// Returns the first guard that stops it.
    pub(super) fn check(&self, path: &str, change: bool, from: Origins<'_>) -> Result<(), Problem> {
        if let (Door::Loopback { port }, Some(host)) = (self, from.host) {
            // A name that an attacker points at 127.0.0.1 makes his page and us one origin to a browser.
            // Without a Host, which browsers always send, it is an HTTP/1.0 health check.
            if !is_ours(host, *port) {
                let detail = format!("this is not that host: ask localhost:{port} or 127.0.0.1:{port}");
                return Err(Problem::new(403, "foreign_host", detail));
            }
        }
        if from.origin.is_some_and(|origin| !is_same(origin, from.host)) {
            return Err(Problem::new(403, "foreign_origin", "pages of other origins are not answered"));
        }
        let site_ok = from.site.is_none_or(|site| ["same-origin", "none"].contains(&site));
        if change && !site_ok {
            return Err(Problem::new(403, "cross_site", "pages of other sites change nothing here"));
        }
        match self {
            Door::Remote { token } if !OPEN.contains(&path) && !bears(from.authorization, token) => {
                let detail = "send `Authorization: Bearer` with the token of --api-token-file";
                Err(Problem::new(401, "unauthorized", detail)
                    .with("WWW-Authenticate", "Bearer realm=\"dtmfd\""))
            }
            Door::Remote { .. } | Door::Loopback { .. } | Door::Unix => Ok(()),
        }
    }
}

/// Returns whether this is a loopback name with our port.
fn is_ours(host: &str, port: u16) -> bool {
    let (name, given) = match host.rsplit_once(':') {
        Some((name, digits)) if !digits.ends_with(']') => (name, digits.parse().ok()),
        _ => (host, Some(80)), // What browsers leave out.
    };
    let loopback = name.eq_ignore_ascii_case("localhost")
        || name == "[::1]"
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    loopback && given == Some(port)
}

/// Returns whether a page of `origin` was loaded from `host`.
fn is_same(origin: &str, host: Option<&str>) -> bool {
    let Some(host) = host else { return false };
    let same = |authority: &str, default: &str| {
        let bare = |text: &str| text.strip_suffix(default).unwrap_or(text).to_ascii_lowercase();
        !authority.is_empty() && bare(authority) == bare(host)
    };
    match origin.split_once("://") {
        Some(("http", authority)) => same(authority, ":80"),
        Some(("https", authority)) => same(authority, ":443"), // A proxy in front of us may speak TLS.
        _ => false,
    }
}

/// Returns whether the header carries `token`.
fn bears(authorization: Option<&str>, token: &str) -> bool {
    let Some((scheme, shown)) = authorization.and_then(|value| value.split_once(' ')) else { return false };
    scheme.eq_ignore_ascii_case("bearer") && equal(shown.trim().as_bytes(), token.as_bytes())
}

/// Compares in a time that depends on the lengths only, so that a token cannot be guessed byte by byte.
fn equal(shown: &[u8], token: &[u8]) -> bool {
    let mut differences = u8::from(shown.len() != token.len());
    for (at, byte) in shown.iter().enumerate() {
        // Goes round, and so looks at each byte shown whatever the lengths.
        let expected = token.get(at % token.len().max(1)).copied().unwrap_or_default();
        differences |= std::hint::black_box(byte ^ expected);
    }
    std::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(door: &Door, path: &str, change: bool, from: Origins<'_>) -> &'static str {
        door.check(path, change, from).map_or_else(|problem| problem.code, |()| "")
    }

    #[test]
    fn on_loopback_only_our_own_names_are_hosts() {
        for (host, port, expected) in [
            (None, 8080, ""),
            (Some("localhost:8080"), 8080, ""),
            (Some("LocalHost:8080"), 8080, ""),
            (Some("127.0.0.1:8080"), 8080, ""),
            (Some("127.1.2.3:8080"), 8080, ""),
            (Some("[::1]:8080"), 8080, ""),
            (Some("localhost"), 80, ""),
            (Some("[::1]"), 80, ""),
            (Some(""), 8080, "foreign_host"),
            (Some("localhost"), 8080, "foreign_host"),
            (Some("[::1]"), 8080, "foreign_host"),
            (Some("localhost:80"), 8080, "foreign_host"),
            (Some("localhost:"), 8080, "foreign_host"),
            (Some("evil.example:8080"), 8080, "foreign_host"),
            (Some("localhost.evil.example:8080"), 8080, "foreign_host"),
            (Some("127.0.0.1.nip.io:8080"), 8080, "foreign_host"),
            (Some("2130706433:8080"), 8080, "foreign_host"),
            (Some("0.0.0.0:8080"), 8080, "foreign_host"),
            (Some("192.168.0.1:8080"), 8080, "foreign_host"),
        ] {
            let door = Door::Loopback { port };
            let from = Origins { host, ..Origins::default() };
            assert_eq!(expected, code(&door, "/health", false, from), "{host:?} on {port}");
            assert_eq!("", code(&Door::Unix, "/health", false, from), "{host:?} on a unix socket");
        }
    }

    #[test]
    fn no_page_of_another_site_reads_or_changes_anything() {
        let host = Some("localhost:8080");
        for (origin, site, change, expected) in [
            (None, None, true, ""),
            (Some("http://localhost:8080"), Some("same-origin"), true, ""),
            (Some("http://LOCALHOST:8080"), None, true, ""),
            (Some("https://localhost:8080"), None, false, ""),
            (None, Some("none"), true, ""),
            (None, Some("cross-site"), false, ""),
            (None, Some("cross-site"), true, "cross_site"),
            (None, Some("same-site"), true, "cross_site"),
            (None, Some(""), true, "cross_site"),
            (Some("null"), None, false, "foreign_origin"),
            (Some(""), None, false, "foreign_origin"),
            (Some("http://localhost:3000"), None, false, "foreign_origin"),
            (Some("http://127.0.0.1:8080"), None, false, "foreign_origin"),
            (Some("http://localhost"), None, false, "foreign_origin"),
            (Some("http://localhost:8080/"), None, false, "foreign_origin"),
            (Some("file://localhost:8080"), None, false, "foreign_origin"),
            (Some("http://evil.example"), Some("cross-site"), true, "foreign_origin"),
        ] {
            for door in [Door::Loopback { port: 8080 }, Door::Unix] {
                let from = Origins { host, origin, site, authorization: None };
                assert_eq!(expected, code(&door, "/simulator", change, from), "{origin:?} {site:?} {change}");
            }
        }
        let plain = Origins { host: Some("a"), origin: Some("http://a:80"), ..Origins::default() };
        assert_eq!("", code(&Door::Unix, "/", true, plain), "80 goes without saying");
        let lost = Origins { origin: Some("http://a"), ..Origins::default() };
        assert_eq!("foreign_origin", code(&Door::Unix, "/", false, lost), "nothing to compare it with");
    }

    #[test]
    fn off_loopback_all_but_health_needs_the_token() {
        let listen: Listen = "0.0.0.0:8080".parse().unwrap();
        assert!(Door::of(&listen, None).is_none() && Door::of(&listen, Some("")).is_none());
        let door = Door::of(&listen, Some("s3cret")).unwrap();
        for (path, authorization, expected) in [
            ("/health", None, ""),
            ("/livez", None, ""),
            ("/readyz", None, ""),
            ("/metrics", None, ""),
            ("/", None, "unauthorized"),
            ("/health/", None, "unauthorized"),
            ("/simulator", None, "unauthorized"),
            ("/simulator", Some("Bearer s3cret"), ""),
            ("/simulator", Some("bearer  s3cret "), ""),
            ("/simulator", Some("Bearer"), "unauthorized"),
            ("/simulator", Some("Bearer "), "unauthorized"),
            ("/simulator", Some("Basic s3cret"), "unauthorized"),
            ("/simulator", Some("Bearer s3cre"), "unauthorized"),
            ("/simulator", Some("Bearer s3crets3cret"), "unauthorized"),
            ("/simulator", Some("Bearer s3creT"), "unauthorized"),
        ] {
            let from = Origins { host: Some("gw.example:8080"), authorization, ..Origins::default() };
            assert_eq!(expected, code(&door, path, true, from), "{path} {authorization:?}");
        }
    }

    #[test]
    fn compares_every_pair_of_tokens_right() {
        let tokens: [&[u8]; 6] = [b"", b"a", b"ab", b"abab", b"b", b"a\0"];
        for (i, one) in tokens.iter().enumerate() {
            for (j, other) in tokens.iter().enumerate() {
                assert_eq!(i == j, equal(one, other), "{one:?} {other:?}");
            }
        }
    }
}
