//! Where the tenant's endpoints are: absolute URLs, valid by construction.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use http::Uri;

/// The address of an endpoint, which credentials may be sent to: encrypted, or on this host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    kind: Kind,
    secure: bool,
    /// In lower case; an IPv6 address without its brackets.
    host: String,
    port: u16,
    /// Begins with `/`; with the query.
    path: String,
}

/// What is spoken at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `http:` and `https:`.
    Http,
    /// `ws:` and `wss:`.
    WebSocket,
}

impl Kind {
    fn scheme(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Kind::Http, true) => "https",
            (Kind::Http, false) => "http",
            (Kind::WebSocket, true) => "wss",
            (Kind::WebSocket, false) => "ws",
        }
    }
}

/// Why a text is no address for us. The text itself isn't repeated: it may hold a password.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It isn't a URL.
    #[error("is not a URL ({why}), write it like {example}", example = example(*kind))]
    Malformed {
        /// What was to be spoken there.
        kind: Kind,
        /// What the parser says.
        why: String,
    },
    /// It has another scheme, or none.
    #[error(
        "begins with {}, and must begin with {}:",
        found.as_ref().map_or("no scheme".to_owned(), |found| format!("{found}:")),
        kind.scheme(true)
    )]
    Scheme {
        /// What was to be spoken there.
        kind: Kind,
        /// The scheme that was found.
        found: Option<String>,
    },
    /// It names no host, or one that can't be.
    #[error("has no valid host name, write it like {}", example(*kind))]
    Host {
        /// What was to be spoken there.
        kind: Kind,
    },
    /// It has a port that can't be.
    #[error("has no valid port after its host: ports are 1 to 65535")]
    Port,
    /// It has a user or a password in it.
    #[error("has a user or password before its host, which dtmfd never sends: remove everything up to the @")]
    Userinfo,
    /// It has a fragment.
    #[error("has a #fragment, which is never sent: remove it")]
    Fragment,
    /// It would carry credentials in the clear.
    #[error(
        "would send credentials to {host} unencrypted: use {}: (plain {}: is for localhost, 127.0.0.0/8 and [::1])",
        kind.scheme(true),
        kind.scheme(false)
    )]
    Plain {
        /// What was to be spoken there.
        kind: Kind,
        /// The host.
        host: String,
    },
}

fn example(kind: Kind) -> String {
    format!("{}://tenant.example.com/path", kind.scheme(true))
}

impl Url {
    /// Reads an absolute URL of this kind.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with it, and what would be right.
    pub fn parse(text: &str, kind: Kind) -> Result<Url, UrlError> {
        // The parser drops a fragment without a word.
        if text.contains('#') {
            return Err(UrlError::Fragment);
        }
        if !text.is_ascii() {
            return Err(UrlError::Malformed { kind, why: "it holds characters beyond ASCII".to_owned() });
        }
        let uri: Uri = text.parse().map_err(|error: http::uri::InvalidUri| {
            // A word of the parser's that says less than the place does.
            UrlError::Malformed { kind, why: error.to_string() }
        })?;
        Url::from_uri(&uri, kind)
    }

    /// Reads an absolute URL of this kind that has been split into its parts.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with it, and what would be right.
    pub(super) fn from_uri(uri: &Uri, kind: Kind) -> Result<Url, UrlError> {
        let secure = match uri.scheme_str() {
            Some(scheme) if scheme == kind.scheme(true) => true,
            Some(scheme) if scheme == kind.scheme(false) => false,
            found => return Err(UrlError::Scheme { kind, found: found.map(str::to_owned) }),
        };
        let authority = uri.authority().ok_or(UrlError::Host { kind })?.as_str();
        if authority.contains('@') {
            return Err(UrlError::Userinfo);
        }
        let (host, port) = split(authority).ok_or(UrlError::Host { kind })?;
        let port = match port {
            None => default_port(secure),
            Some(digits) => port_of(digits).ok_or(UrlError::Port)?,
        };
        let mut path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        if !path.starts_with('/') {
            path.insert(0, '/'); // `https://host?query`, which a request line could not say.
        }
        let url = Url { kind, secure, host: host.to_ascii_lowercase(), port, path };
        if !secure && !url.is_loopback() {
            return Err(UrlError::Plain { kind, host: url.host });
        }
        Ok(url)
    }

    /// Returns the address of `path` below this one, whose own query falls away.
    ///
    /// # Panics
    ///
    /// Panics if `path` doesn't begin with `/`: paths are ours.
    #[must_use]
    pub fn join(&self, path: &str) -> Url {
        assert!(path.starts_with('/'), "a path begins with a slash");
        let base = self.path.split('?').next().unwrap_or_default().trim_end_matches('/');
        Url { path: format!("{base}{path}"), ..self.clone() }
    }

    /// Returns the address of the WebSocket at `path` below this one: `ws` for `http`, `wss` for `https`.
    ///
    /// # Panics
    ///
    /// Panics if `path` doesn't begin with `/`: paths are ours.
    #[must_use]
    pub fn to_websocket(&self, path: &str) -> Url {
        Url { kind: Kind::WebSocket, ..self.join(path) }
    }

    /// Returns `http`, `https`, `ws` or `wss`.
    pub fn scheme(&self) -> &'static str {
        self.kind.scheme(self.secure)
    }

    /// Returns whether it is spoken over TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Returns the host in lower case, an IPv6 address without its brackets: what is looked up, and the name that the
    /// certificate must bear.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path with its query; it begins with `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns what stands in a `Host` header: the host, and the port where it isn't the scheme's own.
    pub fn authority(&self) -> String {
        let mut authority = host_and_port(&self.host, self.port);
        if self.port == default_port(self.secure) {
            authority.truncate(authority.rfind(':').expect("a port follows"));
        }
        authority
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.path)
    }
}

fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// Returns `HOST:PORT`, with brackets around an IPv6 address.
pub(super) fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Reads a port; `None` if it can't be one.
pub(super) fn port_of(digits: &str) -> Option<u16> {
    let port = digits.parse().ok().filter(|port| *port > 0);
    port.filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Splits `host[:port]` and takes the brackets off an IPv6 address; `None` if that host can't be.
pub(super) fn split(authority: &str) -> Option<(&str, Option<&str>)> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, rest)
        }
        None => {
            let (host, rest) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if host.is_empty() || host.len() > 253 || !host.bytes().all(is_name) {
                return None;
            }
            (host, rest)
        }
    };
    match rest.strip_prefix(':') {
        Some(port) => Some((host, Some(port))),
        None => rest.is_empty().then_some((host, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_may_be_sent_to() {
        for (text, kind, shown, authority) in [
            ("https://x.cxone.com", Kind::Http, "https://x.cxone.com/", "x.cxone.com"),
            ("https://X.CXone.com:443/a?b=c", Kind::Http, "https://x.cxone.com/a?b=c", "x.cxone.com"),
            ("https://x:8443/a/", Kind::Http, "https://x:8443/a/", "x:8443"),
            ("http://localhost:1", Kind::Http, "http://localhost:1/", "localhost:1"),
            ("http://127.200.0.1", Kind::Http, "http://127.200.0.1/", "127.200.0.1"),
            ("ws://[::1]:9/v", Kind::WebSocket, "ws://[::1]:9/v", "[::1]:9"),
            ("wss://[2001:DB8::1]/v", Kind::WebSocket, "wss://[2001:db8::1]/v", "[2001:db8::1]"),
            ("HTTPS://x/", Kind::Http, "https://x/", "x"),
            ("wss://x:1?b=/c", Kind::WebSocket, "wss://x:1/?b=/c", "x:1"),
        ] {
            let url = Url::parse(text, kind).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((shown, authority), (url.to_string().as_str(), url.authority().as_str()), "{text}");
        }
        let url = Url::parse("ws://[::1]:9/v?x", Kind::WebSocket).unwrap();
        assert_eq!(
            ("::1", 9, "/v?x", "ws", false),
            (url.host(), url.port(), url.path(), url.scheme(), url.is_secure())
        );
    }

    #[test]
    fn says_what_is_wrong_and_what_would_be_right() {
        for (text, kind, expected) in [
            ("", Kind::Http, "is not a URL (empty string), write it like https://tenant.example.com/path"),
            ("x.cxone.com", Kind::Http, "begins with no scheme, and must begin with https:"),
            ("/path", Kind::Http, "begins with no scheme, and must begin with https:"),
            ("ftp://x/", Kind::Http, "begins with ftp:, and must begin with https:"),
            ("https://x/", Kind::WebSocket, "begins with https:, and must begin with wss:"),
            ("wss://x/", Kind::Http, "begins with wss:, and must begin with https:"),
            (
                "https://u:p@x/",
                Kind::Http,
                "has a user or password before its host, which dtmfd never sends: remove everything up to the @",
            ),
            ("https://x/#a", Kind::Http, "has a #fragment, which is never sent: remove it"),
            ("https://x:0/", Kind::Http, "has no valid port after its host: ports are 1 to 65535"),
            ("https://x:/", Kind::Http, "has no valid port after its host: ports are 1 to 65535"),
            ("https://x:65536/", Kind::Http, "has no valid port after its host: ports are 1 to 65535"),
            ("https://x:+80/", Kind::Http, "has no valid port after its host: ports are 1 to 65535"),
            (
                "https://:80/",
                Kind::Http,
                "has no valid host name, write it like https://tenant.example.com/path",
            ),
            (
                "https://a!b/",
                Kind::Http,
                "has no valid host name, write it like https://tenant.example.com/path",
            ),
            (
                "https://[::g]/",
                Kind::Http,
                "has no valid host name, write it like https://tenant.example.com/path",
            ),
            (
                "http://x.cxone.com/",
                Kind::Http,
                "would send credentials to x.cxone.com unencrypted: use https: (plain http: is for localhost, 127.0.0.0/8 and [::1])",
            ),
            (
                "ws://128.0.0.1/",
                Kind::WebSocket,
                "would send credentials to 128.0.0.1 unencrypted: use wss: (plain ws: is for localhost, 127.0.0.0/8 and [::1])",
            ),
            (
                "http://localhost.evil.com/",
                Kind::Http,
                "would send credentials to localhost.evil.com unencrypted: use https: (plain http: is for localhost, 127.0.0.0/8 and [::1])",
            ),
            (
                "http://127.1/",
                Kind::Http,
                "would send credentials to 127.1 unencrypted: use https: (plain http: is for localhost, 127.0.0.0/8 and [::1])",
            ),
        ] {
            let error = Url::parse(text, kind).expect_err(text);
            assert_eq!(expected, error.to_string(), "{text}");
        }
        for text in
            ["https://", "https:///path", "https://a b/", "https://ä.com/", "https://x/ y", " https://x"]
        {
            assert!(Url::parse(text, Kind::Http).is_err(), "{text}");
        }
    }

    #[test]
    fn joins_paths_below_a_base() {
        for (base, expected) in [
            ("https://x", "https://x/oauth/token"),
            ("https://x/", "https://x/oauth/token"),
            ("https://x:1/v1/", "https://x:1/v1/oauth/token"),
            ("https://x/v1?a=b", "https://x/v1/oauth/token"),
        ] {
            let base = Url::parse(base, Kind::Http).unwrap();
            assert_eq!(expected, base.join("/oauth/token").to_string());
        }
        let plain = Url::parse("http://127.0.0.1:8080/a", Kind::Http).unwrap();
        assert_eq!("ws://127.0.0.1:8080/a/b", plain.to_websocket("/b").to_string());
        let secure = Url::parse("https://x", Kind::Http).unwrap();
        assert_eq!(
            "wss://x/api/v2/voice/websocket",
            secure.to_websocket("/api/v2/voice/websocket").to_string()
        );
    }
}
