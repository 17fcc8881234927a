//! The local API of the real binary, asked over raw sockets, and what its process holds meanwhile.

use std::collections::HashSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use dtmfd::sandbox::{Faults, StandIn};

use crate::process::{ONE_KEY, run_against};
use crate::program::{PATIENCE, Program, Scratch};

/// The service, connected to a stand-in tenant that lives in the test's own process.
pub(crate) struct Api {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
    tenant: Option<StandIn>,
    _folder: Scratch,
}

/// What the process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// All but the connections to the tenant.
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    pub(crate) resident_kib: usize,
}

impl Api {
    pub(crate) fn start(name: &str) -> Api {
        Api::start_as(name, |_| ())
    }

    /// As [`Api::start`], with something done to the command before.
    pub(crate) fn start_as(name: &str, prepare: impl FnOnce(&mut Command)) -> Api {
        let folder = Scratch::new(name);
        let tenant = StandIn::start(Faults::default(), |_| ()).expect("it listens");
        let tree = folder.write("one-key.json", ONE_KEY);
        let mut command = run_against(&tenant.url(), &tree);
        command.args(["--log-format", "human", "--log", "debug"]).env("CXONE_CLIENT_SECRET", "s");
        prepare(&mut command);
        let mut program = Program::start(command);
        let open = program.wait_for("the local API is open");
        let (_, address) = open.split_once("address=").expect("it says where");
        let address = address.split(' ').next().unwrap_or_default().parse().expect("an address");
        // The two threads that say these things don't wait for one another.
        if !program.has_said("websocket open") {
            program.wait_for("websocket open");
        }
        Api { program, address, tenant: Some(tenant), _folder: folder }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// Sends this, ends our half, and returns all that comes back.
    pub(crate) fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        // Who is refused early may find the door shut; the answer tells.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        all_of(&mut stream)
    }

    /// Returns whether honest clients are served: by the gate, by the engine, and with a press.
    pub(crate) fn is_well(&self) -> bool {
        HONEST.iter().all(|kind| ask(self.address, *kind))
    }

    #[track_caller]
    pub(crate) fn wait_until_well(&self) -> Duration {
        let begin = Instant::now();
        while !self.is_well() {
            assert!(begin.elapsed() < PATIENCE, "it did not come back");
            std::thread::sleep(Duration::from_millis(20));
        }
        begin.elapsed()
    }

    pub(crate) fn held(&self) -> Held {
        let process = format!("/proc/{}", self.program.id());
        let status = fs::read_to_string(format!("{process}/status")).expect("it runs");
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|digits| digits.parse().ok()).unwrap_or_default()
        };
        // Connections to the tenant are those that are not at our port: they come and go with updates.
        let table = fs::read_to_string(format!("{process}/net/tcp")).expect("it runs");
        let ours = format!(":{:04X}", self.address.port());
        let to_tenant = table.lines().skip(1).filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            (!fields.get(1)?.ends_with(&ours))
                .then(|| fields.get(9).map(|inode| format!("socket:[{inode}]")))?
        });
        let to_tenant: HashSet<_> = to_tenant.collect();
        let descriptors = fs::read_dir(format!("{process}/fd")).expect("it runs");
        let descriptors = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        Held {
            descriptors: descriptors.filter(|link| !to_tenant.contains(&*link.to_string_lossy())).count(),
            threads: number("Threads:"),
            resident_kib: number("VmRSS:"),
        }
    }

    /// Stops the service, which must go in order, and returns all that it said.
    #[track_caller]
    pub(crate) fn end(mut self) -> String {
        self.program.signal("TERM");
        let (status, text) = self.program.end(Duration::from_secs(10));
        assert_eq!(Some(0), status.code(), "{text}");
        self.tenant.take().expect("it is there until now").stop();
        text
    }
}

/// Returns a process's soft limit, as /proc names it: a number or `unlimited`.
pub(crate) fn soft_limit(pid: u32, name: &str) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect("every system has this limit");
    line.split_whitespace().next().expect("the soft one comes first").to_owned()
}

/// Sets a process's soft limit, as its own user may, who is `user` where that is another than ours.
#[track_caller]
pub(crate) fn set_soft_limit(pid: u32, option: &str, to: &str, user: Option<u32>) {
    let mut command = Command::new("prlimit");
    command.args(["--pid", &pid.to_string(), &format!("--{option}={to}:")]);
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let status = command.status().expect("prlimit runs: it comes with util-linux");
    assert!(status.success(), "{option} cannot be {to}: raise the hard limit (`ulimit -H`)");
}

/// What honest clients ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Honest {
    /// What the gate and tiny_http answer.
    Health,
    /// What the engine answers.
    Livez,
    /// A key press.
    Press,
}

pub(crate) const HONEST: [Honest; 3] = [Honest::Health, Honest::Livez, Honest::Press];

/// Asks once, and returns whether the answer was whole and right.
pub(crate) fn ask(address: SocketAddr, kind: Honest) -> bool {
    ask_within(address, kind, PATIENCE)
}

/// As [`ask`]; nothing for as long as `patience` is no answer.
pub(crate) fn ask_within(address: SocketAddr, kind: Honest, patience: Duration) -> bool {
    let (request, expected) = match kind {
        Honest::Health => (format!("GET /health HTTP/1.1\r\nHost: {address}\r\n\r\n"), "\r\n\r\nok"),
        Honest::Livez => (format!("GET /livez HTTP/1.1\r\nHost: {address}\r\n\r\n"), "\r\n\r\nok"),
        Honest::Press => (press(address, "honest"), "\r\n\r\n{\"status\":\"digit_processed\"}"),
    };
    let Ok(mut stream) = TcpStream::connect_timeout(&address, patience) else { return false };
    stream.set_read_timeout(Some(patience)).expect("a timeout can be set");
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer); // What is not all is seen to be so below.
    answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(expected.as_bytes())
}

/// Returns a request that presses a key on a call of this name.
pub(crate) fn press(address: SocketAddr, call: &str) -> String {
    let body = format!(r#"{{"callId":"{call}","digit":"1"}}"#);
    format!("POST /simulator HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream
}

/// Reads until the end. What came before a reset counts, the reset does not.
pub(crate) fn all_of(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        let patient = ![std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut].contains(&error.kind());
        assert!(patient, "the connection did not end: {:?}", String::from_utf8_lossy(&bytes));
    }
    bytes
}

/// Returns the status of every answer in what came back. No body of ours looks like a status line.
pub(crate) fn statuses(answer: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answer);
    let after = text.match_indices("HTTP/1.1 ").map(|(at, found)| &text[at + found.len()..]);
    after.filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}
