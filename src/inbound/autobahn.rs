//! The reader's connections against the Autobahn fuzzing server, which `tests/autobahn/run` starts.
//!
//! Every case runs through what the reader runs through: [`connect()`], [`Tap`] and [`session`]. What is
//! added is what the cases ask for and the reader never does: that a message is sent back.
#![expect(clippy::print_stdout, reason = "the figures are for whoever runs this")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message, WebSocket};

use super::connect::connect;
use super::counts::{Dropped, ReaderCounts};
use super::message::Decoded;
use super::policy::{Pulse, Timings};
use super::session::{self, End, Ground};
use super::stop::Stop;
use super::tap::Tap;
use crate::inbox::inbox;
use crate::tenant::stand_in::net;
use crate::tenant::{Kind, Net, Stream, Url};

/// How many cases there are without those of compression (12 and 13), which we don't ask for.
const CASES: u32 = 301;

/// Larger than any message of the cases, the greatest of which has 16 MiB, with its frame's head.
const GENEROUS: usize = 32 << 20;

/// The cases whose messages are over 64 KiB: in each group, from the first to the last number.
const OVERSIZE: [(&str, u32, u32); 6] = [
    ("9.1", 2, 6), // A text of 256 KiB, 1 MiB, 4 MiB, 8 MiB, 16 MiB; that of 9.1.1 has 64 KiB and fits.
    ("9.2", 2, 6), // The same, binary.
    ("9.3", 1, 9), // A text of 4 MiB in fragments of 64 bytes, 256 bytes, … 4 MiB.
    ("9.4", 1, 9), // The same, binary.
    ("9.5", 1, 6), // A text of 1 MiB that is written 64, 128, … 2048 bytes at a time.
    ("9.6", 1, 6), // The same, binary.
];

/// Where Autobahn would see bad UTF-8 refused in the middle of a frame: we do that at its end, which the
/// RFC leaves open.
const FAIL_FAST: &str = "6.4.";

/// What takes a text or a binary message.
type Take<'a> = &'a mut dyn FnMut(&mut WebSocket<Tap<Stream>>, Message) -> Result<Decoded, Error>;

/// The fuzzing server, as a reader sees it.
struct Server {
    url: String,
    net: Net,
}

impl Server {
    /// Holds one connection to its end.
    fn hold(&self, path: &str, config: WebSocketConfig, take: Take<'_>) -> End {
        let timings = Timings::default();
        let (inbox, outlet) = inbox();
        let (stop, counts) = (Stop::new(), ReaderCounts::default());
        let (mut dropped, mut coarse_said) = (Dropped::default(), false);
        let url = Url::parse(&format!("{}{path}", self.url), Kind::WebSocket).expect("a URL");
        let origin = Instant::now();
        let opened = connect(&url, &self.net, "t", origin + timings.connect, &|tcp| stop.guard(tcp))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut ground = Ground {
            timings: &timings,
            origin,
            stop: &stop,
            bearer: "t",
            counts: &counts,
            dropped: &mut dropped,
            coarse_said: &mut coarse_said,
        };
        let pulse = Pulse::new(&timings, ground.millis(opened.at));
        let tap = Tap::new(opened.stream, inbox, stop.clone(), opened.at, pulse.grain());
        let end = session::run_with(config, take, tap, opened.rest, pulse, &mut ground);
        assert_eq!(0, outlet.incoming.len(), "{path}: no case has a digit");
        end
    }

    fn n_cases(&self) -> u32 {
        let mut said = None;
        self.hold("/getCaseCount", session::config(), &mut |socket, message| {
            said = message.to_text().ok().and_then(|text| text.parse().ok());
            session::decode(socket, message)
        });
        said.expect("the server says how many cases it has")
    }

    /// Runs every case as `agent`, and has the server write its report.
    fn run_cases(&self, agent: &str, config: WebSocketConfig) {
        let n_cases = self.n_cases();
        assert_eq!(CASES, n_cases, "the server has other cases than these assertions are made for");
        for case in 1..=n_cases {
            let path = format!("/runCase?case={case}&agent={agent}");
            let end = self.hold(&path, config, &mut |socket, message| {
                let decoded = session::decode(socket, message.clone())?;
                socket.send(message)?;
                Ok(decoded)
            });
            assert!(
                !matches!(end, End::Silent(_) | End::Stuck(_) | End::Stopped | End::InboxClosed),
                "{path}: {end}"
            );
        }
        self.hold(&format!("/updateReports?agent={agent}"), session::config(), &mut session::decode);
    }
}

/// What the server's report says of one case.
struct Verdict {
    behavior: String,
    behavior_close: String,
    our_close_code: Option<u64>,
}

impl Verdict {
    /// Returns whether the protocol was kept, in this case and in how its connection ended. What is
    /// informational has no right or wrong.
    fn is_fine(&self, case: &str) -> bool {
        let is_lenient = self.behavior == "NON-STRICT" && case.starts_with(FAIL_FAST);
        let fine = ["OK", "INFORMATIONAL"];
        (is_lenient || fine.contains(&self.behavior.as_str())) && fine.contains(&self.behavior_close.as_str())
    }
}

/// Reads the report on `agent`, and says it in a line.
fn report(folder: &Path, agent: &str) -> BTreeMap<String, Verdict> {
    let path = folder.join("index.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let all: Value = serde_json::from_str(&text).expect("the report is JSON");
    let verdicts: BTreeMap<String, Verdict> = all[agent]
        .as_object()
        .expect("the report has cases of ours")
        .iter()
        .map(|(case, verdict)| {
            let word = |name: &str| verdict[name].as_str().expect("a word").to_owned();
            let our_close_code = verdict["remoteCloseCode"].as_u64();
            let (behavior, behavior_close) = (word("behavior"), word("behaviorClose"));
            (case.clone(), Verdict { behavior, behavior_close, our_close_code })
        })
        .collect();
    let mut cases_by_behavior = BTreeMap::<&str, Vec<&str>>::new();
    for (case, verdict) in &verdicts {
        cases_by_behavior.entry(&verdict.behavior).or_default().push(case);
    }
    let mut line = format!("{agent}: {} cases", verdicts.len());
    for (behavior, cases) in &cases_by_behavior {
        write!(line, ", {} {behavior}", cases.len()).expect("a string takes it");
        if *behavior != "OK" {
            write!(line, " ({})", cases.join(" ")).expect("a string takes it");
        }
    }
    println!("{line}");
    assert_eq!(CASES as usize, verdicts.len(), "{agent}: each case has a verdict");
    verdicts
}

/// Returns the cases that don't satisfy `is_right`.
fn wrong(verdicts: &BTreeMap<String, Verdict>, is_right: impl Fn(&str, &Verdict) -> bool) -> Vec<String> {
    let wrong = verdicts.iter().filter(|(case, verdict)| !is_right(case, verdict));
    wrong
        .map(|(case, Verdict { behavior, behavior_close, our_close_code })| {
            format!("{case}: {behavior}, its end {behavior_close} with our code {our_close_code:?}")
        })
        .collect()
}

#[test]
#[ignore = "tests/autobahn/run starts it, and the fuzzing server that it needs"]
fn keeps_the_protocol_in_every_case_of_autobahn_and_refuses_what_is_too_big() {
    let told = |name: &str| {
        std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: tests/autobahn/run runs this"))
    };
    let reports = told("AUTOBAHN_REPORTS");
    let server = Server { url: told("AUTOBAHN_URL"), net: net() };
    let began = Instant::now();
    let room_to_echo = session::config().max_write_buffer_size(GENEROUS);

    let generous = room_to_echo.max_message_size(Some(GENEROUS)).max_frame_size(Some(GENEROUS));
    server.run_cases("generous", generous);
    let verdicts = report(Path::new(&reports), "generous");
    assert_eq!(Vec::<String>::new(), wrong(&verdicts, |case, verdict| verdict.is_fine(case)));

    server.run_cases("ours", room_to_echo);
    let verdicts = report(Path::new(&reports), "ours");
    let oversize: Vec<String> = OVERSIZE
        .iter()
        .flat_map(|(group, first, last)| (*first..=*last).map(move |case| format!("{group}.{case}")))
        .collect();
    let wrong = wrong(&verdicts, |case, verdict| match oversize.iter().any(|oversize| oversize == case) {
        true => verdict.behavior == "FAILED" && verdict.our_close_code == Some(1009),
        false => verdict.is_fine(case),
    });
    assert_eq!(Vec::<String>::new(), wrong);
    println!(
        "at the limit of 64 KiB exactly {} cases are refused, with 1009: {}",
        oversize.len(),
        oversize.join(" ")
    );
    println!("{} s in all", began.elapsed().as_secs());
    assert!(began.elapsed() < Duration::from_secs(300), "a case waits for something");
}
