//! The HTTP proxy on the way to the tenant, where there is one, and the hosts that are reached without it.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;

use super::secret::Secret;
use super::url::{Url, host_and_port, port_of, split};

/// An HTTP proxy that everything over TLS goes through (CONNECT), but for the hosts that are excepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proxy {
    /// In lower case; an IPv6 address without its brackets.
    host: String,
    port: u16,
    /// The value of `Proxy-Authorization`.
    authorization: Option<Secret>,
    direct: Vec<Direct>,
}

/// Why a text names no proxy for us. The text itself isn't repeated: it may hold a password.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyUrlError {
    /// It has another scheme.
    #[error("is no http: proxy, and no other kind is spoken here: {EXAMPLE}")]
    Scheme,
    /// It asks for TLS on the way to the proxy.
    #[error(
        "asks for TLS to the proxy itself, which is not spoken here; what goes through an http: proxy to the tenant is \
         encrypted all the same: {EXAMPLE}"
    )]
    Tls,
    /// It names no host, or one that can't be.
    #[error("has no valid host name: {EXAMPLE}")]
    Host,
    /// It has no port, or one that can't be. Programs disagree on the one that is meant where none is named.
    #[error("has no port from 1 to 65535 after its host, which is never guessed: {EXAMPLE}")]
    Port,
    /// Its user can't be sent: RFC 7617 section 2.
    #[error("has a user with a colon (%3A) in it, which basic authentication cannot send")]
    User,
}

const EXAMPLE: &str = "write it like http://proxy.example.com:3128";

impl Proxy {
    /// Reads `[http://][USER[:PASSWORD]@]HOST:PORT`, with user and password percent-encoded.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with it, and what would be right.
    pub fn parse(text: &str) -> Result<Proxy, ProxyUrlError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        match scheme.to_ascii_lowercase().as_str() {
            "http" => (),
            "https" => return Err(ProxyUrlError::Tls),
            _ => return Err(ProxyUrlError::Scheme),
        }
        // A host holds no `@`, and a password may.
        let (userinfo, authority) = rest.rsplit_once('@').unwrap_or(("", rest));
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = split(authority).ok_or(ProxyUrlError::Host)?;
        let port = port.and_then(port_of).ok_or(ProxyUrlError::Port)?;
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let user: Vec<u8> = percent_decode_str(user).collect();
        if user.contains(&b':') {
            return Err(ProxyUrlError::User);
        }
        let authorization = (!userinfo.is_empty()).then(|| {
            let credentials: Vec<u8> =
                user.into_iter().chain([b':']).chain(percent_decode_str(password)).collect();
            Secret::new(format!("Basic {}", BASE64_STANDARD.encode(credentials)))
        });
        Ok(Proxy { host: host.to_ascii_lowercase(), port, authorization, direct: Vec::new() })
    }

    /// Excepts the hosts of a list as in `NO_PROXY`.
    ///
    /// It is read as curl does: names, which hold for what is below them too, with or without a dot before them; IP
    /// addresses and networks (`10.0.0.0/8`), which hold for hosts given as addresses, for no name is looked up; and
    /// `*` for all. Some forms are understood that match nothing in curl: `*` among others, `*.NAME`, `:PORT` after a
    /// name or an address, brackets around an address, and a network of 0 bits. What is none of these matches nothing.
    #[must_use]
    pub fn except(self, list: &str) -> Proxy {
        let entries = list.split(|char: char| char == ',' || char.is_whitespace());
        Proxy { direct: entries.filter_map(Direct::parse).collect(), ..self }
    }

    /// Returns whether it is on the way to `url`: not where that is plain, which is this host only.
    pub fn serves(&self, url: &Url) -> bool {
        url.is_secure() && !self.direct.iter().any(|entry| entry.matches(url.host(), url.port()))
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the value of `Proxy-Authorization`, where there is a user.
    pub(super) fn authorization(&self) -> Option<&Secret> {
        self.authorization.as_ref()
    }
}

/// Shows `HOST:PORT`.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&host_and_port(&self.host, self.port))
    }
}

/// An entry of `NO_PROXY`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Direct {
    hosts: Hosts,
    /// Every port where it names none.
    port: Option<u16>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Hosts {
    All,
    /// A name and all below it: in lower case, without dots around it.
    Domain(String),
    /// The addresses that begin with this one's first bits.
    Network(IpAddr, u32),
}

impl Direct {
    fn parse(entry: &str) -> Option<Direct> {
        if let Some(hosts) = Hosts::parse(entry) {
            return Some(Direct { hosts, port: None });
        }
        let (host, port) = split(entry)?;
        Some(Direct { hosts: Hosts::parse(host)?, port: Some(port_of(port?)?) })
    }

    fn matches(&self, host: &str, port: u16) -> bool {
        if self.port.is_some_and(|only| only != port) {
            return false;
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        match (&self.hosts, host.parse()) {
            (Hosts::All, _) => true,
            (Hosts::Network(network, bits), Ok(ip)) => begin_alike(*network, ip, *bits),
            (Hosts::Domain(domain), Err(_)) => host
                .strip_suffix(domain.as_str())
                .is_some_and(|before| before.is_empty() || before.ends_with('.')),
            (Hosts::Network(..), Err(_)) | (Hosts::Domain(_), Ok(_)) => false,
        }
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Hosts> {
        if text == "*" {
            return Some(Hosts::All);
        }
        let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        if let Some((network, bits)) = text.split_once('/') {
            let network = bare(network)?;
            let bits = bits.parse().ok().filter(|bits| *bits <= width(network))?;
            return Some(Hosts::Network(network, bits));
        }
        if let Some(ip) = bare(text) {
            return Some(Hosts::Network(ip, width(ip)));
        }
        let domain = text.strip_prefix('*').unwrap_or(text);
        let domain = domain.strip_prefix('.').unwrap_or(domain);
        let domain = domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase();
        (!domain.is_empty() && !domain.contains(':')).then_some(Hosts::Domain(domain))
    }
}

fn width(ip: IpAddr) -> u32 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// Returns whether two addresses of one kind have the same first bits, of which there are [`width`] at most.
fn begin_alike(one: IpAddr, other: IpAddr, bits: u32) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            (one.to_bits() ^ other.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            (one.to_bits() ^ other.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::url::Kind;

    #[test]
    fn reads_where_the_proxy_is_and_who_asks() {
        for (text, shown, user) in [
            ("http://proxy.example:3128", "proxy.example:3128", None),
            ("HTTP://Proxy.Example:3128/", "proxy.example:3128", None),
            ("proxy:8080", "proxy:8080", None),
            ("http://[::1]:8080", "[::1]:8080", None),
            ("http://@proxy:1", "proxy:1", None),
            ("http://me:secret@proxy:1", "proxy:1", Some("me:secret")),
            ("me:secret@proxy:1", "proxy:1", Some("me:secret")),
            ("http://me@proxy:1", "proxy:1", Some("me:")),
            ("http://d%5Cme:p%40%3a%25:/@q@proxy:1", "proxy:1", Some("d\\me:p@:%:/@q")),
            ("http://m%C3%A4:%FF@proxy:1", "proxy:1", Some("mä:\u{fffd}")),
        ] {
            let proxy = Proxy::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(shown, proxy.to_string(), "{text}");
            let decoded = proxy.authorization().map(|value| {
                let value = value.reveal().strip_prefix("Basic ").expect("basic authentication");
                String::from_utf8_lossy(&BASE64_STANDARD.decode(value).unwrap()).into_owned()
            });
            assert_eq!(user, decoded.as_deref(), "{text}");
            assert!(!format!("{proxy:?}").contains("secret"), "{proxy:?}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_proxy_and_never_repeats_a_password() {
        for (text, expected) in [
            ("https://proxy:1", ProxyUrlError::Tls),
            ("socks5://proxy:1", ProxyUrlError::Scheme),
            ("hush:hu://sh@proxy:1", ProxyUrlError::Scheme),
            ("http://proxy", ProxyUrlError::Port),
            ("http://proxy:", ProxyUrlError::Port),
            ("http://proxy:0", ProxyUrlError::Port),
            ("http://proxy:65536", ProxyUrlError::Port),
            ("http://proxy:80/path", ProxyUrlError::Port),
            ("http://hush:hush/80", ProxyUrlError::Port),
            ("http://", ProxyUrlError::Host),
            ("http://hush:hush@", ProxyUrlError::Host),
            ("http://a b:1", ProxyUrlError::Host),
            ("http://[::g]:1", ProxyUrlError::Host),
            ("http://a\r\nX-Hush: 1:1", ProxyUrlError::Host),
            ("http://hu%3Ash:hush@proxy:1", ProxyUrlError::User),
        ] {
            let error = Proxy::parse(text).expect_err(text);
            assert_eq!(expected, error, "{text}");
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }

    #[test]
    fn no_proxy_is_read_as_curl_reads_it() {
        for (list, url, is_direct) in [
            ("", "https://x.example", false),
            ("*", "https://x.example", true),
            ("a,*", "https://x.example", true),
            ("x.example", "https://x.example", true),
            ("X.Example", "https://x.eXample", true),
            ("example", "https://x.example", true),
            (".example", "https://x.example", true),
            (".x.example", "https://x.example", true),
            ("*.example", "https://x.example", true),
            ("x.example.", "https://x.example", true),
            ("x.example", "https://x.example.", true),
            ("ample", "https://x.example", false),
            ("a.x.example", "https://x.example", false),
            ("a, b ,,x.example\t", "https://x.example", true),
            ("a x.example", "https://x.example", true),
            (",. ,", "https://x.example", false),
            ("x.example:443", "https://x.example", true),
            ("x.example:8443", "https://x.example", false),
            ("x.example:8443", "https://x.example:8443", true),
            ("x.example:", "https://x.example", false),
            ("10.1.2.3", "https://10.1.2.3", true),
            ("10.1.2.3:443", "https://10.1.2.3", true),
            ("10.1.2.3:1", "https://10.1.2.3", false),
            ("1.2.3", "https://10.1.2.3", false),
            ("2.3", "https://10.1.2.3", false),
            ("10.0.0.0/8", "https://10.1.2.3", true),
            ("10.1.2.0/31", "https://10.1.2.3", false),
            ("10.1.2.2/31", "https://10.1.2.3", true),
            ("0.0.0.0/0", "https://10.1.2.3", true),
            ("0.0.0.0/0", "https://x.example", false),
            ("10.0.0.0/33", "https://10.1.2.3", false),
            ("10.0.0.0/x", "https://10.1.2.3", false),
            ("::1", "https://[::1]", true),
            ("[::1]", "https://[::1]", true),
            ("[::1]:443", "https://[::1]", true),
            ("[::1]:1", "https://[::1]", false),
            ("2001:db8::/32", "https://[2001:db8:1::5]", true),
            ("2001:db8::/128", "https://[2001:db8::1]", false),
            ("::/0", "https://10.1.2.3", false),
        ] {
            let proxy = Proxy::parse("http://proxy:1").unwrap().except(list);
            let url = Url::parse(url, Kind::Http).unwrap();
            assert_eq!(!is_direct, proxy.serves(&url), "NO_PROXY={list} {url}");
        }
    }

    #[test]
    fn what_is_plain_goes_direct() {
        let proxy = Proxy::parse("http://proxy:1").unwrap();
        for (url, kind, is_served) in [
            ("http://localhost", Kind::Http, false),
            ("ws://127.0.0.1:9", Kind::WebSocket, false),
            ("https://localhost", Kind::Http, true),
            ("wss://127.0.0.1:9", Kind::WebSocket, true),
        ] {
            assert_eq!(is_served, proxy.serves(&Url::parse(url, kind).unwrap()), "{url}");
        }
    }
}
