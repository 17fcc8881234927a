//! What a page of another site can do to the local API: change nothing, and read nothing.
//!
//! Every combination of what a browser says of where a request comes from is judged twice: by the guard, and
//! by the sentences of SPEC.md section 5 over the tables here, in which a person wrote down what each value means.
#![expect(clippy::print_stdout, reason = "how many combinations there were is told to whoever runs this")]

use std::fmt::Write as _;

use super::Listen;
use super::conn::Timings;
use super::guard::{Door, Origins};
use super::hostile::{Running, run_at};

const PORT: u16 = 8080;
const TOKEN: &str = "s3cret";

/// What a `Host` says: the header, the name in it, the port in it, whether that is this machine's own name.
type HostRow = (Option<&'static str>, &'static str, Option<u16>, bool);

const HOSTS: [HostRow; 27] = [
    (None, "", None, true), // HTTP/1.0; browsers always send one.
    (Some("localhost:8080"), "localhost", Some(8080), true),
    (Some("LOCALHOST:8080"), "localhost", Some(8080), true),
    (Some("127.0.0.1:8080"), "127.0.0.1", Some(8080), true),
    (Some("127.8.9.1:8080"), "127.8.9.1", Some(8080), true),
    (Some("[::1]:8080"), "[::1]", Some(8080), true),
    (Some("localhost"), "localhost", None, true),
    (Some("127.0.0.1"), "127.0.0.1", None, true),
    (Some("[::1]"), "[::1]", None, true),
    (Some("localhost:80"), "localhost", Some(80), true),
    (Some("localhost:443"), "localhost", Some(443), true),
    (Some("localhost:3000"), "localhost", Some(3000), true),
    (Some("localhost:18080"), "localhost", Some(18080), true),
    (Some("localhost.:8080"), "localhost.", Some(8080), false),
    (Some("127.0.0.1.:8080"), "127.0.0.1.", Some(8080), false),
    (Some(""), "", None, false),
    (Some("0.0.0.0:8080"), "0.0.0.0", Some(8080), false),
    (Some("[::]:8080"), "[::]", Some(8080), false),
    (Some("192.168.1.5:8080"), "192.168.1.5", Some(8080), false),
    (Some("127.1:8080"), "127.1", Some(8080), false),
    (Some("2130706433:8080"), "2130706433", Some(8080), false),
    (Some("gw.example:8080"), "gw.example", Some(8080), false),
    // Names that an attacker has pointed at 127.0.0.1.
    (Some("evil.example:8080"), "evil.example", Some(8080), false),
    (Some("EVIL.example"), "evil.example", None, false),
    (Some("localhost.evil.example:8080"), "localhost.evil.example", Some(8080), false),
    (Some("127.0.0.1.evil.example:8080"), "127.0.0.1.evil.example", Some(8080), false),
    (Some("evil-localhost:8080"), "evil-localhost", Some(8080), false),
];

/// What an `Origin` says: the header; the usual port of its scheme, the name and the port in it, or `None`
/// where it is no origin of a page that could have been loaded from here.
type OriginRow = (Option<&'static str>, Option<(u16, &'static str, Option<u16>)>);

const ORIGINS: [OriginRow; 29] = [
    (None, None),
    (Some("null"), None),
    (Some("NULL"), None),
    (Some(""), None),
    (Some("http://localhost:8080"), Some((80, "localhost", Some(8080)))),
    (Some("https://localhost:8080"), Some((443, "localhost", Some(8080)))),
    (Some("http://LocalHost:8080"), Some((80, "localhost", Some(8080)))),
    (Some("http://127.0.0.1:8080"), Some((80, "127.0.0.1", Some(8080)))),
    (Some("http://127.8.9.1:8080"), Some((80, "127.8.9.1", Some(8080)))),
    (Some("http://[::1]:8080"), Some((80, "[::1]", Some(8080)))),
    (Some("http://localhost"), Some((80, "localhost", None))),
    (Some("http://localhost:80"), Some((80, "localhost", Some(80)))),
    (Some("https://localhost"), Some((443, "localhost", None))),
    (Some("https://localhost:443"), Some((443, "localhost", Some(443)))),
    (Some("http://[::1]"), Some((80, "[::1]", None))),
    (Some("http://localhost:3000"), Some((80, "localhost", Some(3000)))),
    (Some("http://localhost:80800"), None),
    (Some("http://localhost.:8080"), Some((80, "localhost.", Some(8080)))),
    (Some("http://localhost:8080/"), None),
    (Some("http://user@localhost:8080"), None),
    (Some("http://localhost:8080 http://evil.example"), None),
    (Some("file://"), None),
    (Some("chrome-extension://localhost:8080"), None),
    (Some("localhost:8080"), None),
    (Some("http://gw.example:8080"), Some((80, "gw.example", Some(8080)))),
    (Some("http://evil.example:8080"), Some((80, "evil.example", Some(8080)))),
    (Some("http://evil.example"), Some((80, "evil.example", None))),
    (Some("https://evil.example"), Some((443, "evil.example", None))),
    (Some("http://localhost.evil.example:8080"), Some((80, "localhost.evil.example", Some(8080)))),
];

/// What a `Sec-Fetch-Site` says, and whether that is what a page of ours, or a person, would cause.
const SITES: [(Option<&str>, bool); 8] = [
    (None, true),
    (Some("same-origin"), true),
    (Some("none"), true),
    (Some("same-site"), false),
    (Some("cross-site"), false),
    (Some("SAME-ORIGIN"), false),
    (Some("same-origin, none"), false),
    (Some(""), false),
];

/// Where it listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Loopback { port: u16 },
    Remote,
    Unix,
}

/// Returns what SPEC.md says of a request: the code of the first guard that stops it.
fn promised(
    at: At,
    (host, name, port, is_own): HostRow,
    (origin, from): OriginRow,
    site_is_ours: bool,
    change: bool,
    may_enter: bool,
) -> Option<&'static str> {
    // "On a loopback listener a `Host` that is not ours is 403."
    if let At::Loopback { port: ours } = at
        && host.is_some()
        && !(is_own && port.unwrap_or(80) == ours)
    {
        return Some("foreign_host");
    }
    // "`Origin: null` or one that is not our `Host` is 403."
    let same = from.is_some_and(|(usual, origin_name, origin_port)| {
        host.is_some() && origin_name == name && origin_port.unwrap_or(usual) == port.unwrap_or(usual)
    });
    if origin.is_some() && !same {
        return Some("foreign_origin");
    }
    // "`Sec-Fetch-Site` other than `same-origin` or `none` on a change is 403."
    if change && !site_is_ours {
        return Some("cross_site");
    }
    // "Off loopback everything but the health routes and `/metrics` needs `Authorization: Bearer`."
    (at == At::Remote && !may_enter).then_some("unauthorized")
}

#[test]
fn the_guard_judges_every_combination_as_the_specification_says() {
    let remote = Door::Remote { token: TOKEN.to_owned() };
    let doors = [
        (At::Loopback { port: PORT }, Door::Loopback { port: PORT }),
        (At::Loopback { port: 80 }, Door::Loopback { port: 80 }),
        (At::Remote, remote),
        (At::Unix, Door::Unix),
    ];
    let bearer = format!("Bearer {TOKEN}");
    let shown = [None, Some("Bearer wrong"), Some("Basic s3cret"), Some(bearer.as_str())];
    let paths = [
        ("/health", true),
        ("/livez", true),
        ("/readyz", true),
        ("/metrics", true),
        ("/", false),
        ("/simulator", false),
        ("/api/v1/calls", false),
        ("/health/x", false),
    ];
    let (mut n, mut n_let_in) = (0_u32, 0_u32);
    for (at, door) in &doors {
        for host in HOSTS {
            for origin in ORIGINS {
                for (site, site_is_ours) in SITES {
                    for authorization in shown {
                        for (path, is_open) in paths {
                            for change in [false, true] {
                                let from = Origins { host: host.0, origin: origin.0, site, authorization };
                                let may_enter = is_open || authorization == Some(bearer.as_str());
                                let expected = promised(*at, host, origin, site_is_ours, change, may_enter);
                                let actual = door.check(path, change, from).err().map(|problem| problem.code);
                                assert_eq!(expected, actual, "{at:?} {path} change: {change} {from:?}");
                                n += 1;
                                n_let_in += u32::from(actual.is_none());
                            }
                        }
                    }
                }
            }
        }
    }
    println!("browser headers: {n} combinations, {n_let_in} of them let in");
    assert!(n_let_in > 0);
}

fn run_at_place(at: At) -> Running {
    let address = "127.0.0.1:0".parse().unwrap();
    let path = std::env::temp_dir().join(format!("dtmfd-foreign-{}.sock", std::process::id()));
    // As if others could reach it, which no test should let them.
    let remote = Door::Remote { token: TOKEN.to_owned() };
    match at {
        At::Loopback { .. } => run_at(address, None, Timings::default()),
        At::Remote => run_at(address, Some(remote), Timings::default()),
        At::Unix => run_at(Listen::Unix(path), None, Timings::default()),
    }
}

/// Every request that a page of another site can make a browser send: simple ones, with the `text/plain`
/// body that asks for no preflight, and preflights. No answer is for that page to read, and no key is pressed.
#[test]
fn a_foreign_page_changes_nothing_and_reads_nothing() {
    let body = r#"{"callId":"c1","digit":"1"}"#;
    let mut n = 0;
    for at in [At::Loopback { port: 0 }, At::Remote, At::Unix] {
        let api = run_at_place(at);
        let address = api.host();
        let port = address.rsplit(':').next().unwrap();
        let own = format!("localhost:{port}");
        let rebound = format!("evil.example:{port}");
        for host in [&own, &address, &rebound] {
            // A page that was loaded from the attacker's name is of one origin with us, once that name is ours.
            let is_rebound = host == &rebound;
            let origins: Vec<Option<String>> = if is_rebound {
                vec![None, Some(format!("http://{rebound}"))]
            } else {
                let foreign = [
                    "null",
                    "http://evil.example",
                    "https://evil.example",
                    "http://localhost:3000",
                    "http://localhost",
                    "file://",
                ];
                let rebound = format!("http://{rebound}");
                [None]
                    .into_iter()
                    .chain(foreign.map(str::to_owned).into_iter().chain([rebound]).map(Some))
                    .collect()
            };
            for origin in &origins {
                let sites: &[Option<&str>] = match (is_rebound, origin) {
                    (true, _) => &[None, Some("same-origin"), Some("none")],
                    (false, Some(_)) => &[None, Some("same-site"), Some("cross-site")],
                    // Without an Origin it is an image, a script or a link, in a browser that says so.
                    (false, None) => &[Some("same-site"), Some("cross-site")],
                };
                for site in sites {
                    for method in ["GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH"] {
                        for path in [
                            "/",
                            "/health",
                            "/livez",
                            "/readyz?verbose",
                            "/simulator",
                            "/metrics",
                            "/nothing",
                        ] {
                            let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
                            for (name, value) in [("Origin", origin.as_deref()), ("Sec-Fetch-Site", *site)] {
                                if let Some(value) = value {
                                    let _ = write!(request, "{name}: {value}\r\n");
                                }
                            }
                            let _ = write!(
                                request,
                                "Content-Type: text/plain\r\nAccess-Control-Request-Method: POST\r\n\
                                 Access-Control-Request-Headers: authorization\r\nContent-Length: {}\r\n\r\n{body}",
                                body.len()
                            );
                            let answer = api.exchange(&request);
                            n += 1;
                            let head = answer.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
                            let status = &head[9..12];
                            assert!(!head.contains("access-control"), "{request}\n{answer}");
                            assert!(head.contains("\r\nx-content-type-options: nosniff"), "{answer}");
                            let is_change = !["GET", "HEAD"].contains(&method);
                            if at == At::Unix && is_rebound {
                                // No browser gets here; who does is our own user.
                            } else if is_change || origin.is_some() && !is_rebound {
                                assert!(
                                    ["403", "401", "404", "405"].contains(&status),
                                    "{request}\n{answer}"
                                );
                                assert!(
                                    status.starts_with("40") && (is_rebound || status == "403"),
                                    "{request}\n{answer}"
                                );
                            } else if is_rebound {
                                // The browser would let the page read this.
                                let open =
                                    ["/health", "/livez", "/readyz?verbose", "/metrics"].contains(&path);
                                let expected = if at == At::Remote { "401" } else { "403" };
                                assert!(
                                    status == expected || at == At::Remote && open,
                                    "{request}\n{answer}"
                                );
                            }
                            // What is left is answered to a page that no browser lets read it: without CORS
                            // headers it is opaque, and `nosniff` keeps it from being run as a script.
                        }
                    }
                }
            }
        }
        if at != At::Unix {
            assert_eq!(0, api.n_presses(), "a foreign page has pressed a key at {at:?}");
        }
        let own_page = format!(
            "POST /simulator HTTP/1.1\r\nHost: {own}\r\nOrigin: http://{own}\r\nSec-Fetch-Site: same-origin\r\n\
             Authorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let before = api.n_presses();
        let answer = api.exchange(&own_page);
        assert!(answer.starts_with("HTTP/1.1 200 "), "our own page presses: {answer}");
        assert_eq!(before + 1, api.n_presses());
    }
    println!("foreign pages: {n} requests, no key pressed, nothing to read");
}
