//! Any bytes as a tree: findings, never a panic, an overflow or a finding outside the text; and where
//! there is a tree, it can be rendered in every way.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let loaded = dtmfd::tree::load(&text);
    for finding in &loaded.findings {
        assert!(text.get(finding.span.clone()).is_some(), "{finding:?} is no part of the text");
    }
    assert!(loaded.ivr.is_some() || !loaded.findings.is_empty());
    let _ = dtmfd::tree::human(&loaded.findings, "fuzz.json", &text, true);
    let _ = dtmfd::tree::json(&loaded.findings, "fuzz.json", &text);
    let _ = dtmfd::tree::github(&loaded.findings, "fuzz.json", &text);
});
