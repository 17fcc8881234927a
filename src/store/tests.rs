//! The store against a real engine, and against files that something happened to.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::types::Value;

use super::table::whole;
use super::*;
use crate::engine::{Bounds, Event, Facts, Ivr, Key, Output, Page, Random, Source, Tick};
use crate::history::History as _;

/// A directory of its own in memory where there is some, gone with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = base.join(format!("dtmfd-store-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Scratch(path)
    }

    fn settings(&self) -> Settings {
        Settings { directory: self.0.clone(), durability: Durability::Process }
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const BOUNDS: Bounds = Bounds { calls_max: 200_000, attempts_max: 4 };

fn sample() -> Arc<Ivr> {
    crate::tree::load(crate::tree::SAMPLE).ivr.unwrap()
}

/// An engine whose transactions are made at once.
struct Rig {
    store: Store,
    clock: Clock,
    calls: Calls,
    now: Tick,
    /// How far events are apart.
    step_ms: u64,
    ended: Vec<(String, String)>,
    found: Vec<Commit>,
}

impl Rig {
    /// Begins where the directory's last process ended, as `serve` does.
    fn start(scratch: &Scratch, ivr: Arc<Ivr>) -> Rig {
        let mut store = Store::open(scratch.settings()).unwrap();
        let clock = Clock::resume(store.mark().as_ref());
        let now = clock.now();
        let mut calls = Calls::new(ivr, BOUNDS, 7, now).keeping();
        store.restore(&mut calls);
        let mut rig = Rig { store, clock, calls, now, step_ms: 100, ended: Vec::new(), found: Vec::new() };
        rig.drain();
        rig
    }

    fn event(&mut self, event: Event<'_>) {
        self.now = self.now.after(self.step_ms);
        self.calls.handle(event, self.now);
        self.drain();
    }

    fn press(&mut self, call: &str, digits: &str) {
        for symbol in digits.chars() {
            let key = Key::parse(symbol).unwrap();
            self.event(Event::KeyPressed { source: Source::Voice, call, key, stamp: None });
        }
    }

    fn pass(&mut self, ms: u64) {
        let until = self.now.after(ms);
        while let Some(due) = self.calls.poll_timeout().filter(|&due| due <= until) {
            self.now = self.now.max(due);
            self.calls.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what else there is, the shell does")]
    fn drain(&mut self) {
        while let Some(output) = self.calls.poll_output() {
            match output {
                Output::Commit(commit) => {
                    let State::Open(open) = &mut self.store.state else { panic!("it is closed") };
                    open.apply(&commit, &self.clock).unwrap();
                    let number = commit.number;
                    self.found.push(commit);
                    self.calls.handle(Event::Committed(number), self.now);
                }
                Output::Ended { call } => {
                    let call = self.calls.call(call).unwrap();
                    self.ended.push((call.id().to_owned(), call.end().unwrap().outcome.to_string()));
                }
                _ => (),
            }
        }
        // It looks at every call: too slow after each event of very many.
        if self.step_ms > 0 {
            self.calls.check_invariants();
        }
    }

    fn open(&self) -> &Open {
        let State::Open(open) = &self.store.state else { panic!("it is closed") };
        open
    }
}

#[test]
fn a_call_goes_on_where_it_stood_and_ends_as_it_would_have() {
    let scratch = Scratch::new("round");
    let mut rig = Rig::start(&scratch, sample());
    rig.press("a", "1A");
    rig.press("b", "2");
    rig.event(Event::CallStarted {
        source: Source::Voice,
        call: "c",
        facts: Facts { interaction: Some("i"), from: None, to: Some("+49") },
    });
    rig.press("done", "1A1");
    assert_eq!([("done".to_owned(), "completed".to_owned())], *rig.ended);
    rig.pass(50);
    drop(rig); // Nothing is closed, nothing is said: as a process that is killed.

    let mut rig = Rig::start(&scratch, sample());
    rig.pass(2_000); // The time of the rig before was ahead of the clock.
    assert_eq!((3, 1), (rig.calls.summary().calls, rig.calls.summary().waiting));
    rig.press("a", "1");
    rig.press("done", "2");
    rig.pass(60_000);
    rig.ended.sort();
    let told: Vec<_> = rig.ended.iter().map(|(call, outcome)| (call.as_str(), outcome.as_str())).collect();
    assert_eq!([("a", "completed"), ("b", "timeout_fallback"), ("c", "timeout_fallback")], *told);
    assert_eq!(Counts { calls: 0, updates: 4, ended: 4, history: 4 }, rig.open().counts);
}

#[test]
fn a_transaction_that_is_made_twice_changes_nothing_more() {
    let scratch = Scratch::new("twice");
    let mut rig = Rig::start(&scratch, sample());
    for call in ["a", "b", "c"] {
        rig.press(call, "1A1");
        rig.press(&format!("{call}-live"), "1");
    }
    rig.pass(50);
    let counts = rig.open().counts;
    assert_eq!(Counts { calls: 3, updates: 3, ended: 3, history: 3 }, counts);
    let clock = rig.clock;
    let commits = std::mem::take(&mut rig.found);
    let State::Open(open) = &mut rig.store.state else { panic!("it is closed") };
    commits.iter().for_each(|commit| open.apply(commit, &clock).unwrap());
    assert_eq!(counts, open.counts);
    let rows: i64 = open.connection.query_row("SELECT count(*) FROM history", [], |row| row.get(0)).unwrap();
    assert_eq!(3, rows);
}

#[test]
fn the_history_tells_the_last_calls_first_page_by_page() {
    let scratch = Scratch::new("history");
    let mut rig = Rig::start(&scratch, sample());
    for number in 0..250 {
        rig.press(&format!("call-{}", number % 50), "1A1");
        rig.now = rig.now.after(13 * 60 * 60 * 1000);
    }
    rig.pass(50);
    let history = KeptHistory::of(&scratch.0);
    let mut after = 0;
    let mut pages = Vec::new();
    loop {
        let page = history.page(None, Page { after, limit: 1_000 }).unwrap();
        pages.push(page.entries);
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!([100, 100, 50], *pages.iter().map(Vec::len).collect::<Vec<_>>());
    let all = pages.concat();
    assert!(all.is_sorted_by(|one, next| one.number > next.number && one.ended_ms > next.ended_ms));
    let first = &all[0];
    assert_eq!(
        ("call-49", "completed", "confirm", "", true),
        (first.id.as_str(), first.outcome.as_str(), first.node.as_str(), first.reason.as_str(), first.writes)
    );
    let keys: String = first.presses.iter().map(|press| press.key.unwrap().symbol()).collect();
    assert_eq!("1A1", keys);
    assert!(first.number < 1 << 53 && first.ended_ms - first.began_ms == 200);
    let of_one = history.page(Some("call-7"), Page { after: 0, limit: 5 }).unwrap();
    assert_eq!((5, None), (of_one.entries.len(), of_one.next));
}

#[test]
fn a_second_store_finds_the_directory_held() {
    let scratch = Scratch::new("held");
    let first = Store::open(scratch.settings()).unwrap();
    assert!(matches!(Store::open(scratch.settings()), Err(OpenError::InUse(_))));
    drop(first);
    assert!(Store::open(scratch.settings()).is_ok());
}

#[test]
fn a_directory_that_is_set_wrong_is_an_error() {
    let scratch = Scratch::new("wrong");
    fs::create_dir(&scratch.0).unwrap();
    let file = scratch.0.join("file");
    fs::write(&file, "x").unwrap();
    for directory in [file.clone(), file.join("below"), scratch.0.join("none/below")] {
        let settings = Settings { directory: directory.clone(), durability: Durability::Power };
        let error = Store::open(settings).unwrap_err();
        assert!(matches!(error, OpenError::Wrong { .. }), "{directory:?}: {error:?}");
        assert!(error.to_string().contains("--state"), "{error}");
    }
}

#[test]
fn a_database_that_is_taken_away_is_made_anew_with_everything_in_it() {
    let scratch = Scratch::new("taken");
    let mut rig = Rig::start(&scratch, sample());
    rig.press("a", "1");
    rig.pass(50);
    let Rig { mut store, clock, mut calls, mut now, .. } = rig;
    let path = scratch.0.join(DATABASE);
    let (inbox, outlet) = crate::inbox::inbox();
    let status = Status::default();
    for replaced in [false, true] {
        fs::remove_file(&path).unwrap();
        if replaced {
            fs::write(&path, "something else").unwrap();
        }
        let empty = Commit { number: 1, changes: Vec::new() };
        store.take(&empty, &clock, &inbox, &status);
        let heard: Vec<_> = outlet.incoming.try_iter().collect();
        assert!(matches!(*heard, [Incoming::StoreLost, Incoming::Committed(1)]), "{heard:?}");
        now = now.after(50);
        calls.handle(Event::StoreLost, now);
        now = now.after(50);
        calls.handle_timeout(now);
        while let Some(output) = calls.poll_output() {
            if let Output::Commit(commit) = output {
                store.take(&commit, &clock, &inbox, &status);
                assert!(matches!(outlet.incoming.try_recv(), Ok(Incoming::Committed(_))));
                calls.handle(Event::Committed(commit.number), now);
            }
        }
        let State::Open(open) = &store.state else { panic!("it is closed") };
        assert_eq!(1, open.counts.calls);
    }
    assert_eq!(b"something else"[..], fs::read(scratch.0.join("dtmfd.db.damaged-1")).unwrap());
}

/// A tree that asks for a card number, which nobody is to see.
const CARD: &str = r##"{ "rootNode": "card", "nodes": {
    "card": { "collect": { "min": 12, "max": 16, "as": "card" }, "endKey": "#", "mask": true, "nextNode": "sure" },
    "sure": { "choices": { "1": { "outcome": "paid", "set": { "clear": "{card!raw}" } } } } } }"##;

#[test]
fn the_digits_of_a_masked_node_are_in_no_file() {
    let scratch = Scratch::new("masked");
    let ivr = crate::tree::load(CARD);
    let ivr = ivr.ivr.unwrap_or_else(|| panic!("{:?}", ivr.findings));
    let number = "4929157308264751";
    let mut rig = Rig::start(&scratch, Arc::clone(&ivr));
    for call in ["half", "more", "done"] {
        rig.press(call, &number[..10]);
        rig.pass(50);
    }
    rig.press("more", &number[10..]);
    rig.press("done", &format!("{}#1", &number[10..]));
    rig.pass(50);
    assert!(rig.ended.contains(&("done".to_owned(), "paid".to_owned())), "{:?}", rig.ended);
    drop(rig);
    // A damaged one with its copies, too.
    let path = scratch.0.join(DATABASE);
    let mut bytes = fs::read(&path).unwrap();
    bytes[60] ^= 0xff;
    fs::write(&path, bytes).unwrap();
    drop(Rig::start(&scratch, ivr));
    assert!(scratch.names().iter().any(|name| name == "dtmfd.db.damaged-1"), "{:?}", scratch.names());

    // As text, and as four bits a digit in either order: six digits are enough to know a part again.
    let nibbles: Vec<u8> = number[..6].bytes().map(|digit| digit - b'0').collect();
    let packed = |first: usize| {
        let pairs = nibbles[first..].chunks_exact(2);
        [
            pairs.clone().map(|pair| pair[0] << 4 | pair[1]).collect::<Vec<_>>(),
            pairs.map(|pair| pair[1] << 4 | pair[0]).collect(),
        ]
    };
    let mut traces = vec![number.as_bytes()[..6].to_vec(), nibbles.clone()];
    traces.extend(packed(0));
    for name in scratch.names() {
        let bytes = fs::read(scratch.0.join(&name)).unwrap();
        for trace in &traces {
            assert!(!bytes.windows(trace.len()).any(|part| part == trace), "{trace:x?} is in {name}");
        }
    }
}

#[test]
fn a_call_that_ended_before_its_row_was_found_does_not_go_on() {
    let scratch = Scratch::new("overtaken");
    let mut rig = Rig::start(&scratch, sample());
    rig.press("a", "1");
    rig.pass(50);
    let row = rig.found.iter().flat_map(|commit| &commit.changes).find_map(|change| {
        if let crate::engine::Change::PutCall(_, row) = change { Some(row.clone()) } else { None }
    });
    let row = row.unwrap();
    rig.press("a", "A1");
    rig.pass(50);
    rig.found.clear();
    rig.calls.restore(crate::engine::Row::Call { source: Source::Voice, id: "a", row: &row }).unwrap();
    rig.calls.restored();
    rig.pass(50);
    assert_eq!(0, rig.calls.summary().calls);
    let is_removed = |change: &crate::engine::Change| matches!(change, crate::engine::Change::RemoveCall(_));
    assert!(rig.found.iter().flat_map(|commit| &commit.changes).any(is_removed), "{:?}", rig.found);
}

/// A database's rows by their table and key.
type Rows = HashMap<(u8, i64), Vec<Value>>;

/// Reads each of `keys` by itself, as anybody could.
fn readable(path: &Path, keys: &Rows) -> Rows {
    let Ok(connection) = Connection::open(path) else { return Rows::new() };
    let mut found = Rows::new();
    for &(tag, key) in keys.keys() {
        let table = Table::ALL.into_iter().find(|table| *table as u8 == tag).unwrap();
        let sql = format!("{} WHERE key=?1", table.each());
        let Ok(mut statement) = connection.prepare_cached(&sql) else { continue };
        let row: Result<Vec<Value>, _> = statement
            .query_row([key], |row| (1..table.columns().len() + 2).map(|place| row.get(place)).collect());
        if let Ok(row) = row {
            let columns: Vec<_> = row.iter().map(rusqlite::types::ValueRef::from).collect();
            if whole(table, key, &columns).is_some() {
                found.insert((tag, key), row);
            }
        }
    }
    found
}

/// Reads all rows of a database that is in order.
fn all(connection: &Connection) -> Rows {
    let mut rows = Rows::new();
    for table in Table::ALL {
        let n_columns = table.columns().len() + 2;
        let mut statement = connection.prepare(table.each()).unwrap();
        let mut found = statement.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let values = (1..n_columns).map(|place| row.get(place).unwrap()).collect();
            rows.insert((table as u8, row.get(0).unwrap()), values);
        }
    }
    rows
}

/// What tells which version of a row it is, where there may be several.
fn version(tag: u8, row: &[Value]) -> i64 {
    let place = match tag {
        3 => 2,
        4 => 3,
        1 | 5 => 0,
        _ => return 0,
    };
    let Value::Integer(number) = row[place] else { panic!("{row:?}") };
    number
}

/// A database's files, and every row that was ever in it.
struct Template {
    main: Vec<u8>,
    log: Vec<u8>,
    rows: Rows,
}

/// Makes a database of some sixty pages: with everything in it that there can be, deleted rows too, and
/// all of it in the database, or the younger half in its log.
fn template(scratch: &Scratch, with_log: bool) -> Template {
    let mut rig = Rig::start(scratch, sample());
    for number in 0..120 {
        rig.press(&format!("call-{number:04}-{}", "x".repeat(number % 90)), "1");
        rig.press(&format!("done-{number:04}"), "1A1");
        if with_log && number == 60 {
            rig.pass(50);
            rig.open().connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        }
    }
    rig.pass(50);
    rig.step_ms = 20;
    for number in 0..120 {
        rig.press(&format!("live-{number:04}-{}", "x".repeat(number % 90)), "1");
    }
    for number in (0..120).step_by(7) {
        rig.press(&format!("live-{number:04}-{}", "x".repeat(number % 90)), "A1");
    }
    rig.pass(50);
    if !with_log {
        rig.open().connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    }
    let rows = all(&rig.open().connection);
    let main = fs::read(scratch.0.join(DATABASE)).unwrap();
    let log = fs::read(scratch.0.join("dtmfd.db-wal")).unwrap();
    assert!(main.len() > 25 * pages::PAGE && log.is_empty() != with_log, "{} {}", main.len(), log.len());
    Template { main, log, rows }
}

/// Does something to the files. Returns what, in words.
fn mutate(main: &mut Vec<u8>, log: &mut Vec<u8>, random: &mut Random) -> String {
    let mut below = |n: usize| (random.number() % n.max(1) as u64) as usize;
    let in_log = !log.is_empty() && below(2) == 0;
    let target = if in_log { "log" } else { "main" };
    let bytes = if in_log { log } else { main };
    if bytes.is_empty() {
        return "nothing".to_owned();
    }
    let n_pages = bytes.len() / pages::PAGE;
    match below(9) {
        0 => {
            let length = below(bytes.len() + 1);
            bytes.truncate(length);
            format!("{target} cut to {length}")
        }
        1 => {
            let length = below(n_pages + 1) * pages::PAGE;
            bytes.truncate(length);
            format!("{target} cut to {length}")
        }
        2 => {
            let flips = 1 + below(8);
            for _ in 0..flips {
                let (at, bit) = (below(bytes.len()), below(8));
                bytes[at] ^= 1 << bit;
            }
            format!("{target}: {flips} bits flipped")
        }
        3 => {
            let at = below(bytes.len());
            let end = (at + 1 + below(3 * pages::PAGE)).min(bytes.len());
            for byte in &mut bytes[at..end] {
                *byte = below(256) as u8;
            }
            format!("{target}: garbage in {at}..{end}")
        }
        4 => {
            let at = below(n_pages) * pages::PAGE;
            let end = (at + pages::PAGE * (1 + below(3))).min(bytes.len());
            bytes[at..end].fill(0);
            format!("{target}: zeroes in {at}..{end}")
        }
        5 if n_pages > 1 => {
            let (one, other) = (below(n_pages), below(n_pages));
            for place in 0..pages::PAGE {
                bytes.swap(one * pages::PAGE + place, other * pages::PAGE + place);
            }
            format!("{target}: pages {one} and {other} swapped")
        }
        6 if n_pages > 1 => {
            let (from, to) = (below(n_pages) * pages::PAGE, below(n_pages) * pages::PAGE);
            bytes.copy_within(from..from + pages::PAGE, to);
            format!("{target}: page at {from} written over the one at {to}")
        }
        7 => {
            // Where it hurts: the headers of the file, of pages and of the log.
            let at = (below(n_pages.max(1)) * pages::PAGE + below(108)).min(bytes.len() - 1);
            let byte = below(256) as u8;
            bytes[at] = byte;
            format!("{target}: {byte} at {at}")
        }
        _ if bytes.len() > 64 => {
            bytes[60..64].copy_from_slice(&99u32.to_be_bytes());
            format!("{target}: made by a newer version")
        }
        _ => "nothing".to_owned(),
    }
}

#[test]
fn whatever_happens_to_the_files_nothing_that_is_readable_is_lost() {
    let long = std::env::var_os("DTMFD_LONG").is_some();
    let rounds = if long { 100_000 } else { 5_000 };
    let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let templates =
        [template(&Scratch::new("template"), false), template(&Scratch::new("template-log"), true)];
    // Each template by a thread of its own.
    let replaced: u64 = std::thread::scope(|scope| {
        let run = |place: usize| {
            let template = &templates[place];
            move || {
                (0..rounds / 2)
                    .map(|round| survive(template, place, seed, 2 * round + place as u64))
                    .sum::<u64>()
            }
        };
        let threads = [scope.spawn(run(0)), scope.spawn(run(1))];
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(replaced > rounds / 3, "{replaced} of {rounds} were damaged");
}

/// Does something to the files and opens them. Returns 1 if they were found damaged.
fn survive(template: &Template, place: usize, seed: u64, round: u64) -> u64 {
    let (ours, theirs) = (Scratch::new(&format!("ours-{place}")), Scratch::new(&format!("theirs-{place}")));
    {
        let mut random = Random::new(seed.wrapping_mul(1 << 32) + round);
        let (mut main, mut log) = (template.main.clone(), template.log.clone());
        let mut what = mutate(&mut main, &mut log, &mut random);
        if random.number().is_multiple_of(4) {
            what = format!("{what}, {}", mutate(&mut main, &mut log, &mut random));
        }
        for scratch in [&ours, &theirs] {
            let _ = fs::remove_dir_all(&scratch.0);
            fs::create_dir(&scratch.0).unwrap();
            fs::write(scratch.0.join(DATABASE), &main).unwrap();
            if !log.is_empty() {
                fs::write(scratch.0.join("dtmfd.db-wal"), &log).unwrap();
            }
        }
        let expected = readable(&theirs.0.join(DATABASE), &template.rows);
        let mut store = Store::open(ours.settings()).unwrap();
        let State::Open(open) = &store.state else { panic!("round {round}, {what}: {:?}", store.state) };
        let found = all(&open.connection);
        for ((tag, key), row) in &expected {
            let is_there = match found.get(&(*tag, *key)) {
                Some(found) if *tag == Table::Mark as u8 => version(*tag, found) >= version(*tag, row),
                Some(found) => found == row || version(*tag, found) > version(*tag, row),
                // It ended in a part of the log that only we read.
                None => *tag == Table::Calls as u8 && found.contains_key(&(Table::Ended as u8, *key)),
            };
            assert!(is_there, "round {round}, {what}: table {tag}, key {key} is lost");
        }
        let mut names = ours.names();
        names.retain(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
        if names.len() > 1 {
            assert_eq!([DATABASE, "dtmfd.db.damaged-1"], *names, "round {round}, {what}");
            let kept = fs::read(ours.0.join("dtmfd.db.damaged-1")).unwrap();
            assert!(kept == main, "round {round}, {what}: the copy is another");
        } else if log == template.log {
            // Where nothing was said, nothing is missing.
            assert!(found == template.rows, "round {round}, {what}: something is missing in silence");
        }
        // The rows that there are must not trouble the engine.
        let mut calls = Calls::new(sample(), BOUNDS, 7, Tick(1)).keeping();
        store.restore(&mut calls);
        calls.check_invariants();
        u64::from(names.len() > 1)
    }
}

/// 100 000 of each in the long setting: what the README tells of comes from it.
#[test]
fn goes_on_with_many_calls_and_updates_at_once() {
    let many = if std::env::var_os("DTMFD_LONG").is_some() { 100_000 } else { 5_000 };
    let scratch = Scratch::new("many");
    let mut rig = Rig::start(&scratch, sample());
    rig.step_ms = 0;
    for digit in ["1", "A", "1"] {
        (0..many).for_each(|call| rig.press(&format!("5f0c9a7e-done-{call:08}"), digit));
        rig.pass(100);
        rig.found.clear();
    }
    (0..many).for_each(|call| rig.press(&format!("5f0c9a7e-live-{call:08}"), "1"));
    rig.pass(100);
    let counts = rig.open().counts;
    assert_eq!(Counts { calls: many, updates: many, ended: many, history: many }, counts);
    drop(rig);
    let bytes = fs::metadata(scratch.0.join(DATABASE)).unwrap().len();
    let clock = Clock::start();
    let begun = clock.now();
    let mut store = Store::open(scratch.settings()).unwrap();
    let opened_ms = clock.now().since(begun);
    let opened = clock.now();
    let time = Clock::resume(store.mark().as_ref());
    let mut calls = Calls::new(sample(), BOUNDS, 7, time.now()).keeping();
    store.restore(&mut calls);
    let restored = clock.now();
    let summary = calls.summary();
    assert_eq!((many as usize, many as usize), (summary.calls, summary.waiting));
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let high = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let restored_ms = restored.since(opened);
    tell(&format!(
        "{many} calls and updates: {bytes} bytes on disk, looked at in {opened_ms} ms, restored in {restored_ms} ms; with the engine that made them: {high}"
    ));
}

#[expect(clippy::print_stderr, reason = "the figures of the README are read off it")]
fn tell(line: &str) {
    eprintln!("{line}");
}
