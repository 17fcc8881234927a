//! An HTTP proxy on the way to the tenant: a small one in the test process, and a real one where it is installed.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use dtmfd::tenant::Proxy;

use crate::pki::{Certified, Plan};
use crate::program::{PATIENCE, Program, Scratch, dtmfd, output};
use crate::tenant::{BEARER, SECRET, Tenant, header, net, read_head, try_links};

/// `me:p@ss` for basic authentication.
const ME: &str = "Basic bWU6cEBzcw==";

/// A proxy that knows every name as this host, and keeps all that it hears on the way to the tenant.
struct SmallProxy {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    passed: Arc<Mutex<Vec<u8>>>,
}

impl SmallProxy {
    /// Lets those through who are authorized, where that is asked for.
    fn start(authorization: Option<&'static str>) -> SmallProxy {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let passed: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (asking, passing) = (Arc::clone(&asked), Arc::clone(&passed));
        let listener = Tenant::serving(move |mut tcp, _| {
            let Some(head) = read_head(&mut BufReader::with_capacity(1, &tcp)) else { return };
            asking.lock().expect("nobody panics with it").push(head.clone());
            if authorization.is_some() && header(&head, "proxy-authorization") != authorization {
                let _ = tcp.write_all(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n");
                return;
            }
            let target = head.split(' ').nth(1).unwrap_or_default();
            let port = target.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
            match TcpStream::connect(("127.0.0.1", port)) {
                Err(_) => drop(tcp.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")),
                Ok(far) => {
                    let _ = tcp.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
                    relay(&tcp, &far, &passing);
                }
            }
        });
        SmallProxy { address: format!("127.0.0.1:{}", listener.port), asked, passed }
    }

    /// Returns the lines that it was asked with, and forgets them.
    fn asked(&self) -> Vec<String> {
        let heads = std::mem::take(&mut *self.asked.lock().expect("nobody panics with it"));
        heads.iter().map(|head| head.lines().next().unwrap_or_default().to_owned()).collect()
    }
}

/// Carries bytes both ways until both sides are done, and keeps those that go to the far side.
fn relay(near: &TcpStream, far: &TcpStream, passed: &Mutex<Vec<u8>>) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut from, mut to) = (far, near);
            let _ = std::io::copy(&mut from, &mut to);
            let _ = near.shutdown(Shutdown::Both);
        });
        let (mut from, mut to, mut buffer) = (near, far, [0; 4096]);
        while let Ok(received @ 1..) = from.read(&mut buffer) {
            passed.lock().expect("nobody panics with it").extend_from_slice(&buffer[..received]);
            if to.write_all(&buffer[..received]).is_err() {
                break;
            }
        }
        let _ = far.shutdown(Shutdown::Both);
    });
}

/// A CA, and a tenant with a certificate of it for a name that only a proxy knows, and for localhost.
fn tenant() -> (Certified, Tenant) {
    let root = Plan::ca("root").sign_itself();
    let certified = Plan::server(&["tenant.invalid", "localhost"]).signed_by(&root);
    (root, Tenant::start(Some(certified.acceptor())))
}

fn through(proxy: &str) -> Option<Proxy> {
    Some(Proxy::parse(proxy).expect("a proxy"))
}

#[test]
fn all_three_links_go_through_the_proxy_which_hears_no_credentials() {
    let (root, tenant) = tenant();
    let proxy = SmallProxy::start(Some(ME));
    let net = net(Some(&root.pem()), through(&format!("http://me:p%40ss@{}", proxy.address)));
    for (link, tried) in try_links(&net, &format!("https://tenant.invalid:{}", tenant.port)) {
        assert_eq!(Ok(()), tried, "{link}");
    }
    assert_eq!(vec![format!("CONNECT tenant.invalid:{} HTTP/1.1", tenant.port); 3], proxy.asked());
    assert!(tenant.heard().contains(SECRET) && tenant.heard().contains(BEARER), "{}", tenant.heard());
    let passed = proxy.passed.lock().expect("nobody panics with it");
    let holds = |word: &str| passed.windows(word.len()).any(|window| window == word.as_bytes());
    assert!(passed.len() > 1000 && !holds(SECRET) && !holds(BEARER) && !holds("Authorization"));
    assert!(!tenant.heard().contains("roxy"), "its password is not the tenant's: {}", tenant.heard());
}

#[test]
fn a_bad_certificate_is_refused_behind_a_proxy_too() {
    let (_, tenant) = tenant();
    let proxy = SmallProxy::start(None);
    let net = net(None, through(&proxy.address));
    for (link, tried) in try_links(&net, &format!("https://tenant.invalid:{}", tenant.port)) {
        let why = tried.expect_err(link);
        let words = format!("TLS with tenant.invalid through the proxy {}: its certificate", proxy.address);
        assert!(why.contains(&words) && why.contains("CXONE_CA_FILE"), "{link}: {why}");
    }
    assert_eq!("", tenant.heard());
}

#[test]
fn every_link_says_that_it_was_the_proxy_that_failed() {
    let (root, tenant) = tenant();
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let strict = SmallProxy::start(Some(ME));
    let open = SmallProxy::start(None);
    let saying = |answer: &'static str| {
        let listener = Tenant::serving(move |mut tcp, _| {
            let _ = read_head(&mut BufReader::with_capacity(1, &tcp));
            let _ = tcp.write_all(answer.as_bytes()).and_then(|()| tcp.shutdown(Shutdown::Write));
            let _ = std::io::copy(&mut tcp, &mut std::io::sink());
        });
        format!("127.0.0.1:{}", listener.port)
    };
    for (proxy, port, words) in [
        (strict.address.clone(), tenant.port, "it wants a user and a password (407)"),
        (format!("me:wrong@{}", strict.address), tenant.port, "it refuses the user and password"),
        (open.address.clone(), free.port(), "it cannot reach tenant.invalid"),
        (saying("HTTP/1.1 403 No\r\n\r\n"), tenant.port, "it does not let us through to tenant.invalid"),
        (saying("220 mail.example ESMTP\r\n"), tenant.port, "is this the port of an HTTP proxy?"),
        (saying(""), tenant.port, "the proxy closed it"),
        (free.to_string(), tenant.port, "connecting to the proxy 127.0.0.1"),
    ] {
        let net = net(Some(&root.pem()), through(&proxy));
        for (link, tried) in try_links(&net, &format!("https://tenant.invalid:{port}")) {
            let why = tried.expect_err(link);
            assert!(why.contains("the proxy 127.0.0.1:") && why.contains(words), "{link}: {words}: {why}");
            assert!(!why.contains("wrong"), "{why}");
        }
    }
    assert_eq!(0, tenant.connections());
}

/// `check --online` against a tenant, with the user's settings for proxies.
fn online(ca: &str, base: &str, flags: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = dtmfd(&["check", "trees/seed.json", "--online", "--ca-file", ca, "--api-url", base]);
    command.args(["--tenant", "t", "--client-id", "c"]).args(flags).env("CXONE_CLIENT_SECRET", SECRET);
    command.envs(env.iter().copied());
    output(command)
}

#[test]
fn the_proxy_comes_from_the_flag_or_the_environment_as_with_curl() {
    let folder = Scratch::new("proxy");
    let (root, tenant) = tenant();
    let ca = folder.write("ca.pem", &root.pem());
    let base = format!("https://localhost:{}", tenant.port);
    let proxy = SmallProxy::start(None);
    let right = format!("http://{}", proxy.address);
    // Whoever asks it gets nowhere.
    let wrong = format!("http://127.0.0.1:{}", Tenant::serving(|_, _| ()).port);
    for (flags, env, is_through) in [
        (&[][..], &[][..], false),
        (&[], &[("HTTPS_PROXY", right.as_str())], true),
        (&[], &[("https_proxy", &right)], true),
        (&[], &[("https_proxy", &right), ("HTTPS_PROXY", &wrong)], true),
        (&["--proxy", &right], &[("https_proxy", &wrong), ("HTTPS_PROXY", &wrong)], true),
        (&["--proxy", ""], &[("https_proxy", &wrong), ("HTTPS_PROXY", &wrong)], false),
        (&[], &[("HTTPS_PROXY", &wrong), ("NO_PROXY", "example.com, localhost")], false),
        (&[], &[("HTTPS_PROXY", &wrong), ("NO_PROXY", "x"), ("no_proxy", "*")], false),
        (&["--proxy", &wrong], &[("NO_PROXY", "localhost")], false),
        (&[], &[("HTTPS_PROXY", &right), ("NO_PROXY", "localhost.example,127.0.0.1")], true),
        // Other programs', and what ureq would take by itself.
        (&[], &[("ALL_PROXY", &wrong), ("all_proxy", &wrong), ("HTTP_PROXY", &wrong)], false),
    ] {
        let (code, text) = online(&ca, &base, flags, env);
        assert_eq!(Some(0), code, "{flags:?} {env:?}: {text}");
        assert_eq!(if is_through { 2 } else { 0 }, proxy.asked().len(), "{flags:?} {env:?}: {text}");
    }
}

#[test]
fn a_bad_proxy_is_told_with_the_other_settings_and_never_its_password() {
    for (flags, env, words) in [
        (
            &[][..],
            Some("https://me:hush@proxy:1"),
            "HTTPS_PROXY (--proxy) is `https://…@proxy:1`: asks for TLS to the proxy",
        ),
        (&[], Some("me:hush@proxy"), "HTTPS_PROXY (--proxy) is `…@proxy`: has no port"),
        (&[], Some("socks5h://proxy:1"), "HTTPS_PROXY (--proxy) is `socks5h://proxy:1`: is no http: proxy"),
        (&["--proxy", "http://me:hush@proxy:1"], None, "every process can read a flag"),
    ] {
        let mut command = dtmfd(&[&["run", "--workers", "0"], flags].concat());
        command.envs(env.map(|value| ("HTTPS_PROXY", value)));
        let (code, text) = output(command);
        assert_eq!(Some(78), code, "{text}");
        assert!(
            text.contains(words) && text.contains("CXONE_TENANT") && text.contains("DTMFD_WORKERS"),
            "{text}"
        );
        assert!(!text.contains("hush"), "{text}");
    }
}

#[test]
fn the_service_says_which_links_go_through_the_proxy() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let mut command = dtmfd(&["run", "--tenant", "t", "--client-id", "c", "--ivr", "trees/seed.json"]);
    command.args(["--listen", "127.0.0.1:0", "--log-format", "human", "--ws-url", "wss://voice.invalid/v"]);
    command.env("CXONE_CLIENT_SECRET", SECRET).env("NO_PROXY", "voice.invalid");
    command.env("HTTPS_PROXY", format!("http://me:hush-hush-proxy@{free}"));
    let mut program = Program::start(command);
    let line = program.wait_for("a proxy is on the way");
    assert!(line.contains(&free.to_string()) && line.contains("api oauth"), "{line}");
    assert!(!line.contains("websocket"), "{line}");
    program.wait_for(&format!("connecting to the proxy {free}"));
    program.signal("TERM");
    let (status, text) = program.end(Duration::from_secs(10));
    assert_eq!(Some(0), status.code(), "{text}");
    assert!(!text.contains("hush"), "{text}");
}

/// Starts tinyproxy, which wants `me` and `p.ss` and lets through to `port` only. Returns its address.
fn tinyproxy(folder: &Scratch, port: u16) -> (Program, String) {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let settings = format!(
        "Port {}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nBasicAuth me p.ss\nConnectPort {port}\nLogLevel Connect\n",
        free.port()
    );
    let settings = folder.write("tinyproxy.conf", &settings);
    let mut command = Command::new("tinyproxy");
    command.args(["-d", "-c", &settings]);
    let mut proxy = Program::start(command);
    proxy.wait_for("Initializing");
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(free).is_err() {
        assert!(Instant::now() < deadline, "tinyproxy does not listen");
        thread::sleep(Duration::from_millis(20));
    }
    (proxy, free.to_string())
}

#[test]
fn all_three_links_go_through_a_real_proxy() {
    if Command::new("tinyproxy").arg("-v").output().is_err() {
        // Loudly: a test that did not run must not look like one that passed.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED the real proxy: it needs tinyproxy (apt-get install tinyproxy-bin)"
        );
        return;
    }
    let folder = Scratch::new("tinyproxy");
    let (root, tenant) = tenant();
    let ca = folder.write("ca.pem", &root.pem());
    let base = format!("https://localhost:{}", tenant.port);
    let (program, address) = tinyproxy(&folder, tenant.port);
    let links = |user: &str, base: &str| {
        try_links(&net(Some(&root.pem()), through(&format!("http://{user}{address}"))), base)
    };

    assert_eq!([("token", Ok(())), ("WebSocket", Ok(())), ("REST", Ok(()))], links("me:p%2Ess@", &base));
    assert_eq!(3, tenant.connections());
    let other = Tenant::start(None);
    for (user, base, words) in [
        ("", base.clone(), "it wants a user and a password (407)"),
        ("me:wrong@", base.clone(), "it refuses the user and password in HTTPS_PROXY (401)"),
        (
            "me:p%2Ess@",
            format!("https://localhost:{}", other.port),
            "it does not let us through to localhost",
        ),
    ] {
        for (link, tried) in links(user, &base) {
            let why = tried.expect_err(link);
            assert!(why.contains(&format!("the proxy {address}: {words}")), "{why}");
        }
    }
    assert_eq!((3, 0), (tenant.connections(), other.connections()));

    let (code, text) = online(&ca, &base, &[], &[("HTTPS_PROXY", &format!("http://me:p%2Ess@{address}"))]);
    assert_eq!(Some(0), code, "{text}");
    assert_eq!(5, tenant.connections());
    program.signal("TERM");
    let (_, log) = program.end(Duration::from_secs(10));
    let asked = format!("CONNECT localhost:{} HTTP/1.1", tenant.port);
    assert_eq!(3 + 6 + 2, log.matches(&asked).count(), "{log}");
    let _ = writeln!(std::io::stderr(), "real proxy: tinyproxy let 5 connections through and refused 9");
}
