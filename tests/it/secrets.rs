//! Secrets reach the tenant and nobody else: the daemon runs at its most talkative through all that goes wrong, and
//! everything that it says, writes and answers is searched. (Masked digits: `canary`.)

use std::fmt::Write as _;
use std::fs;
use std::io::{BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

use crate::program::{BINARY, Program, Scratch, dtmfd, output, root};
use crate::tenant::{Tenant, as_a_tenant, header, read_head};

/// What is looked for. Each would look otherwise in JSON, in a URL and in base64.
const SECRET: &str = "S3cr\"et\\kanari/0+1&=x";
const TOKEN: &str = "T0k\"en\\kanari/2+3&=yA";
const PASSWORD: &str = "Pa%ss\\kanari\"4+5&=zB";
const API_TOKEN: &str = "Ap1\"tok\\kanari/6+7&=w";

/// Returns a secret in every shape that it may be shown in, but for what is around it.
fn shapes(secret: &str) -> Vec<String> {
    let json = serde_json::Value::from(secret).to_string();
    let json = json[1..json.len() - 1].to_owned();
    let twice = serde_json::Value::from(json.as_str()).to_string();
    let percent = |all: bool| {
        secret.bytes().fold(String::new(), |mut text, byte| {
            match byte.is_ascii_alphanumeric() && !all {
                true => text.push(char::from(byte)),
                false => drop(write!(text, "%{byte:02X}")),
            }
            text
        })
    };
    let mut shapes = vec![
        secret.to_owned(),
        json.replace('/', "\\/"),
        json.clone(),
        twice[1..twice.len() - 1].to_owned(),
        secret.escape_debug().to_string(),
        secret.escape_default().to_string(),
        percent(false),
        percent(true),
        percent(false).to_lowercase(),
        secret.replace('&', "&amp;").replace('"', "&quot;"),
        format!("{:?}", secret.as_bytes()),
        // In part: what breaks off in the midst of one.
        secret[..12].to_owned(),
        secret[8..].to_owned(),
    ];
    // Base64 of it at each place that it may have in what is encoded: the symbols that are its own.
    for before in 0..3 {
        let bytes = [&[b':'; 3][..before], secret.as_bytes()].concat();
        for encoded in [BASE64_STANDARD_NO_PAD.encode(&bytes), BASE64_URL_SAFE_NO_PAD.encode(&bytes)] {
            shapes.push(encoded[2 * before..encoded.len() - 2].to_owned());
        }
    }
    shapes
}

/// Checks that nothing of ours is in a text.
#[track_caller]
fn tells_nothing(of: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    for secret in [SECRET, TOKEN, PASSWORD, API_TOKEN] {
        for shape in shapes(secret) {
            assert!(!text.contains(&shape), "{of}: {secret:?} is there as {shape:?}:\n{text}");
        }
    }
}

/// Checks every file of a folder, but for the one that holds the API's token.
fn files_tell_nothing(folder: &Path) -> usize {
    let mut seen = 0;
    for entry in fs::read_dir(folder).expect("it is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            seen += files_tell_nothing(&path);
        } else if path.file_name() != Some("api_token".as_ref()) && path.is_file() {
            tells_nothing(&path.display().to_string(), &fs::read(&path).expect("it can be read"));
            seen += 1;
        }
    }
    seen
}

/// A tenant that repeats what it was asked, head and body, in its answers of `statuses`: to the token endpoint, to the
/// WebSocket, to the API. 200 is what a tenant says.
fn echoing(statuses: [u16; 3]) -> Tenant {
    Tenant::serving(move |tcp, heard: &Mutex<String>| {
        let mut stream = BufReader::new(tcp);
        while let Some(head) = read_head(&mut stream) {
            let length =
                header(&head, "content-length").map_or(0, |length| length.parse().expect("a length"));
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("the body is there");
            let asked = format!("{head}{}", String::from_utf8_lossy(&body));
            heard.lock().expect("nobody panics with it").push_str(&asked);
            let place = match head.split(' ').nth(1).unwrap_or_default() {
                "/oauth/token" => 0,
                "/api/v2/voice/websocket" => 1,
                _ => 2,
            };
            let answer = match (statuses[place], place) {
                (200, 0) => {
                    let grant = serde_json::json!({ "access_token": TOKEN, "expires_in": 3600 }).to_string();
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{grant}", grant.len())
                }
                (200, _) => as_a_tenant(&head),
                (status, _) => {
                    let quoted = serde_json::Value::from(asked.as_str());
                    let body =
                        format!(r#"{{"error":"{TOKEN}","error_description":{quoted},"raw":"{asked}"}}"#);
                    let location = format!("https://elsewhere.invalid/?t={}", TOKEN.replace('"', "%22"));
                    format!(
                        "HTTP/1.1 {status} No {TOKEN}\r\nLocation: {location}\r\nX-Echo: {TOKEN}\r\n\
                         Content-Length: {}\r\n\r\n{body}",
                        body.len()
                    )
                }
            };
            if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// A command with all secrets, as talkative as can be.
fn talkative(command: &str, folder: &Scratch, more: &[&str]) -> Command {
    let mut program = dtmfd(&[command]);
    program.args(["--tenant", "t", "--client-id", "c"]).args(more);
    program.current_dir(folder.path());
    program.env("CXONE_CLIENT_SECRET", SECRET).env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace");
    program.env("DTMFD_LOG", "debug").env("DTMFD_STATE", folder.path().join("state"));
    program
}

fn service(folder: &Scratch, more: &[&str]) -> Command {
    let tree = fs::read_to_string(root("tests/trees/seed.json")).expect("it is there");
    let (tree, token) = (folder.write("ivr.json", &tree), folder.write("api_token", API_TOKEN));
    let mut program = talkative("run", folder, &["--ivr", &tree, "--api-token-file", &token, "--log-digits"]);
    program.args(more);
    program
}

/// Asks the local API, with its token and with another, and returns all answers.
fn ask(address: &str) -> String {
    let press = |digit| format!(r#"{{"callId":"c1","digit":"{digit}"}}"#);
    let mut said = String::new();
    let asked = [
        ("GET /readyz?verbose", String::new()),
        ("GET /health", String::new()),
        ("GET /metrics", String::new()),
        ("GET /api/v1/status", String::new()),
        ("GET /api/v1/outbox", String::new()),
        ("POST /simulator", press("1")),
        ("POST /simulator", press("A")),
        ("POST /simulator", press("1")),
        ("POST /simulator", "{".to_owned()),
        ("PUT /simulator", String::new()),
    ];
    for (request, body) in &asked {
        for token in [API_TOKEN, "Ap1\"wrong"] {
            let mut tcp = TcpStream::connect(address).expect("it listens");
            let length = body.len();
            let head = format!("{request} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n");
            write!(tcp, "{head}Content-Length: {length}\r\n\r\n{body}").expect("it is read");
            tcp.read_to_string(&mut said).expect("it answers and closes");
        }
    }
    said
}

/// What a `run` is to be put through.
struct Trial {
    statuses: [u16; 3],
    /// What it says once it has come to what is tried.
    until: &'static str,
    signal: &'static str,
}

#[test]
fn whatever_the_tenant_answers_nothing_that_is_said_or_written_or_answered_tells_a_secret() {
    for (number, Trial { statuses, until, signal }) in [
        Trial { statuses: [200, 200, 200], until: "was acknowledged|call ended", signal: "TERM" },
        Trial { statuses: [200, 401, 403], until: "403", signal: "TERM" },
        Trial { statuses: [200, 403, 401], until: "401", signal: "ABRT" },
        Trial { statuses: [200, 302, 302], until: "302", signal: "TERM" },
        Trial { statuses: [200, 500, 422], until: "422", signal: "QUIT" },
        Trial { statuses: [401, 200, 200], until: "refuses our credentials", signal: "TERM" },
        Trial { statuses: [500, 200, 200], until: "500", signal: "KILL" },
    ]
    .into_iter()
    .enumerate()
    {
        let folder = Scratch::new(&format!("secrets-{number}"));
        let tenant = echoing(statuses);
        let url = format!("http://127.0.0.1:{}", tenant.port);
        let mut program = Program::start(service(
            &folder,
            &["--api-url", &url, "--listen", "127.0.0.1:0", "--log-format", "json"],
        ));
        let line = program.wait_for("the local API is open");
        let opened: serde_json::Value = serde_json::from_str(&line).expect("a line is JSON");
        let address = opened["address"].as_str().expect("it has an address").to_owned();
        let process = program.id();
        tells_nothing("cmdline", &fs::read(format!("/proc/{process}/cmdline")).expect("it runs"));
        tells_nothing("comm", &fs::read(format!("/proc/{process}/comm")).expect("it runs"));
        let answers = ask(&address);
        assert!(answers.contains("HTTP/1.1 200") && answers.contains("problem+json"), "{answers}");
        tells_nothing("the local API", answers.as_bytes());
        let words: Vec<_> = until.split('|').collect();
        program.wait_for_any(&words);
        tells_nothing("the local API", ask(&address).as_bytes());
        program.signal(signal);
        let (_, text) = program.end(Duration::from_secs(20));
        tells_nothing("what was said", text.as_bytes());
        // The tree, and what is kept in the state directory.
        assert!(files_tell_nothing(folder.path()) > 1, "the state directory is below this one");
        let cores = fs::read_dir(folder.path()).expect("it is there").flatten();
        let is_core = |name: &str| name.starts_with("core");
        assert!(
            !cores.map(|entry| entry.file_name()).any(|name| is_core(&name.to_string_lossy())),
            "{signal}"
        );
        // It was sent to whom it is for, or nothing was tried.
        let heard = tenant.heard();
        assert!(heard.contains(&serde_json::Value::from(SECRET).to_string()), "{heard}");
        let bearer = format!("authorization: bearer {TOKEN}").to_lowercase();
        assert_eq!(statuses[0] == 200, heard.to_lowercase().contains(&bearer), "{heard}");
    }
}

#[test]
fn no_bad_setting_proxy_or_certificate_makes_a_command_tell_a_secret() {
    let folder = Scratch::new("secrets-commands");
    let encoded = PASSWORD.bytes().fold(String::new(), |mut text, byte| {
        write!(text, "%{byte:02x}").expect("a string takes it");
        text
    });
    // A proxy that repeats what it was asked, its user and password in base64 among it.
    let proxy = Tenant::answering(None, |head| {
        format!(
            "HTTP/1.1 407 {}\r\nX-Echo: {}\r\n\r\n{head}",
            head.replace("\r\n", " "),
            head.replace("\r\n", " ")
        )
    });
    let proxied = format!("http://me:{encoded}@127.0.0.1:{}", proxy.port);
    // No TLS is spoken here.
    let plain = Tenant::start(None);
    let secure = format!("https://127.0.0.1:{}", plain.port);
    let refusing = echoing([401, 401, 401]);
    let refusing_url = format!("http://127.0.0.1:{}", refusing.port);
    let opening = echoing([200, 403, 200]);
    let opening_url = format!("http://127.0.0.1:{}", opening.port);
    let tree =
        folder.write("ivr.json", &fs::read_to_string(root("tests/trees/seed.json")).expect("it is there"));
    let bad = format!("ftp://me:{encoded}@x:1");
    let mut n_said = 0;
    for (flags, env, expected) in [
        (["--api-url", &refusing_url], None, 1),
        (["--api-url", &opening_url], None, 1),
        (["--api-url", &secure], None, 1),
        (["--api-url", "https://tenant.invalid"], Some(&proxied), 1),
        (["--api-url", &secure], Some(&bad), 78),
        (["--api-url", "https://me:Pa%ss\\kanari\"4+5&=zB@x"], None, 78),
    ] {
        for json in [&[][..], &["--format", "json"]] {
            let mut command = talkative("check", &folder, &[&["--online", &tree], &flags[..], json].concat());
            command.envs(env.map(|proxy| ("HTTPS_PROXY", proxy)));
            let (code, text) = output(command);
            assert_eq!(Some(expected), code, "{flags:?} {env:?}: {text}");
            tells_nothing(&format!("check --online {flags:?}"), text.as_bytes());
            n_said += text.len();
        }
    }
    let asked = proxy.heard();
    assert!(
        asked.contains("roxy-") && asked.to_lowercase().contains("proxy-authorization: basic "),
        "{asked}"
    );
    assert!(n_said > 1000, "{n_said} bytes");
}

/// Root reads everything. So this asks as somebody else, which only root can.
#[test]
fn nobody_but_root_reads_the_memory_or_the_environment_and_no_core_is_written() {
    let folder = Scratch::new("secrets-memory");
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let mut program = Program::start(service(
        &folder,
        &["--api-url", &format!("http://{free}"), "--listen", "127.0.0.1:0"],
    ));
    program.wait_for("the local API is open");
    let limits = fs::read_to_string(format!("/proc/{}/limits", program.id())).expect("it runs");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("there is one");
    assert_eq!(["0", "0", "bytes"], core.split_whitespace().skip(4).collect::<Vec<_>>()[..], "{core}");
    drop(program);

    let nobody = 65_534;
    let copy = std::env::temp_dir().join(format!("dtmfd-nobody-{}", std::process::id()));
    fs::copy(BINARY, &copy).expect("it can be copied");
    let mut command = Command::new(&copy);
    command
        .args(["sandbox", "--listen", "127.0.0.1:0"])
        .uid(nobody)
        .gid(nobody)
        .env("CXONE_CLIENT_SECRET", SECRET);
    let run =
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let Ok(mut daemon) = run else {
        fs::remove_file(&copy).expect("it is there");
        let _ =
            writeln!(std::io::stderr(), "SKIPPED another user's look: only root can ask as somebody else");
        return;
    };
    let read = |process: u32, file: &str| {
        let mut cat = Command::new("cat");
        cat.arg(format!("/proc/{process}/{file}")).uid(nobody).gid(nobody);
        cat.output().expect("cat runs")
    };
    let mut other = Command::new("sleep").arg("60").uid(nobody).gid(nobody).spawn().expect("sleep runs");
    let mut seen = read(daemon.id(), "environ");
    // Before its first line of code it is as any other; that is over at once.
    for _ in 0..1000 {
        if !seen.status.success() {
            break;
        }
        std::thread::yield_now();
        seen = read(daemon.id(), "environ");
    }
    let maps = read(daemon.id(), "maps");
    let known = read(other.id(), "environ");
    for process in [&mut daemon, &mut other] {
        process.kill().expect("it runs");
        process.wait().expect("it can be waited for");
    }
    fs::remove_file(&copy).expect("it is there");
    assert!(known.status.success(), "another's is read: {known:?}");
    assert!(!seen.status.success() && seen.stdout.is_empty(), "{seen:?}");
    assert!(!maps.status.success() || maps.stdout.is_empty(), "{maps:?}");
}

#[test]
fn the_search_finds_every_shape() {
    for secret in [SECRET, TOKEN, PASSWORD, API_TOKEN] {
        let basic = BASE64_STANDARD_NO_PAD.encode(format!("me:{secret}"));
        let json = serde_json::json!({ "a": secret }).to_string();
        for text in [secret, &basic, &json, &format!("{json:?}"), &format!("{secret:?}")] {
            assert!(shapes(secret).iter().any(|shape| text.contains(shape)), "{text}");
        }
    }
}
