//! What must hold of [`decode`](super::message::decode) for any bytes.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::message::{Kind, decode};
use crate::call_id;
use crate::engine::{Event, Facts, Source};
use crate::inbox::Batch;

/// Any bytes as a message: what is dropped adds nothing, what is not adds one event with ids that pass the
/// rules, and another reader of JSON sees the same kind in it.
pub fn message(bytes: &[u8]) {
    let mut batch = Batch::default();
    let decoded = decode(bytes, &mut batch);
    let kind = decoded.kind;
    assert_eq!(kind.is_dropped(), batch.is_empty());
    assert!(!decoded.coarse || kind == Kind::Dtmf);
    let mut told = Vec::new();
    for event in batch.events(Source::Voice) {
        let (Event::KeyPressed { call, .. }
        | Event::CallEnded { call, .. }
        | Event::CallStarted { call, .. }) = event
        else {
            panic!("a message brought {event:?}");
        };
        assert_eq!(Ok(()), call_id::check(call));
        if let Event::CallStarted { facts: Facts { interaction, from, to }, .. } = event {
            assert_eq!(Ok(()), interaction.map_or(Ok(()), call_id::check));
            for fact in [from, to].into_iter().flatten() {
                assert!(
                    !fact.is_empty() && fact.len() <= 128 && !fact.contains(char::is_control),
                    "{fact:?}"
                );
            }
        }
        told.push(call.to_owned());
    }
    assert_eq!(usize::from(!kind.is_dropped()), told.len());
    // What serde_json reads in full we read as well, though not the other way round: a field that nobody knows
    // may nest as deep as it likes.
    if let Ok(Fields(fields)) = serde_json::from_slice(bytes) {
        let (expected, call) = reference(&fields);
        assert_eq!(expected, kind);
        assert!(kind.is_dropped() || call == told.first().map(String::as_str), "{call:?}, not {told:?}");
    }
}

/// Reads a message plainly, from all its fields.
fn reference(fields: &[(String, Value)]) -> (Kind, Option<&str>) {
    let known = ["type", "callId", "digit", "timestamp", "interactionId", "from", "to"];
    let all = |name: &str| fields.iter().filter(|(found, _)| found == name).count();
    let text =
        |name: &str| fields.iter().find(|(found, _)| found == name).and_then(|(_, value)| value.as_str());
    if known.into_iter().any(|name| all(name) > 1) {
        return (Kind::Malformed, None);
    }
    let kind = match text("type") {
        None => return (Kind::Malformed, None),
        Some("dtmf") => Kind::Dtmf,
        Some("call_started") => Kind::CallStarted,
        Some("call_ended") => Kind::CallEnded,
        Some(_) => return (Kind::UnknownType, None),
    };
    let Some(call) = text("callId") else { return (Kind::Malformed, None) };
    let digits = "0123456789*#ABCDabcd";
    let kind = match (kind, text("digit")) {
        _ if call_id::check(call).is_err() => Kind::BadCallId,
        (Kind::Dtmf, None) => Kind::Malformed,
        (Kind::Dtmf, Some(digit)) if digit.chars().count() != 1 || !digits.contains(digit) => Kind::BadDigit,
        (kind, _) => kind,
    };
    (kind, Some(call))
}

/// An object's fields in their order, the same one twice if it is there twice.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = entries.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(All)
    }
}
