//! How long `dtmfd check` takes over large trees, and whether that grows with their size alone.
//!
//! Beside it stands the limit: what serde_json takes to read the same text into a `Value`, which checks
//! nothing. Medians of 15 runs, with the fastest and the slowest.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

const RUNS: usize = 15;

fn main() {
    let mut out = std::io::stdout();
    for nodes in [1_000, 2_500, 5_000, 10_000] {
        let text = tree(nodes);
        let loaded = dtmfd::tree::load(&text);
        assert!(loaded.ivr.is_some(), "{}", dtmfd::tree::human(&loaded.findings, "tree", &text, false));
        let check = median(|| drop(black_box(dtmfd::tree::load(black_box(&text)))));
        let limit = median(|| drop(black_box(serde_json::from_str::<serde_json::Value>(black_box(&text)))));
        let ratio = check.1.as_secs_f64() / limit.1.as_secs_f64();
        let size = text.len() / 1024;
        writeln!(
            out,
            "{nodes:>6} nodes, {size:>4} KiB: {} | limit {} | ratio {ratio:.1}",
            spread(check),
            spread(limit)
        )
        .expect("somebody reads");
    }
}

fn spread((least, median, greatest): (Duration, Duration, Duration)) -> String {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    format!("{:.2} ms ({:.2}-{:.2})", ms(median), ms(least), ms(greatest))
}

fn median(mut run: impl FnMut()) -> (Duration, Duration, Duration) {
    let mut times: Vec<_> = (0..RUNS)
        .map(|_| {
            let begun = Instant::now();
            run();
            begun.elapsed()
        })
        .collect();
    times.sort();
    (times[0], times[RUNS / 2], times[RUNS - 1])
}

/// Returns a tree of menus that lead on, back and to ends, as a generator of trees would write it.
fn tree(nodes: usize) -> String {
    let mut text = String::from("{\"rootNode\":\"n0\",\"nodes\":{");
    for node in 0..nodes {
        let next = (node + 1) % nodes;
        let other = (node * 7 + 3) % nodes;
        let comma = if node == 0 { "" } else { "," };
        write!(
            text,
            "{comma}\"n{node}\":{{\"choices\":{{\"1\":\"n{next}\",\"2\":\"n{other}\",\"3X\":{{\"outcome\":\"o\"}}}}}}"
        )
        .expect("a string takes everything");
    }
    text.push_str("}}");
    text
}
