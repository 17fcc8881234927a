//! A message of the voice WebSocket: JSON in, an event in the batch out. Pure.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::call_id;
use crate::engine::{Facts, Key, Stamp};
use crate::inbox::Batch;

/// The most bytes that a fact of a call has, such as the caller's number. A longer one is ignored.
const FACT_MAX: usize = 128;

/// What a message was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// A digit, which is in the batch.
    Dtmf,
    /// A call's start, which is in the batch.
    CallStarted,
    /// A call's end, which is in the batch.
    CallEnded,
    /// A well-formed message of a type that we don't know. Dropped.
    UnknownType,
    /// Not JSON, no object, or a field is missing or of a wrong type. Dropped.
    Malformed,
    /// Its call id can't name a call ([`call_id::check`]). Dropped.
    BadCallId,
    /// Its digit is no DTMF key. Dropped.
    BadDigit,
}

impl Kind {
    /// Every kind, for tables of counters.
    pub const ALL: [Kind; 7] = [
        Kind::Dtmf,
        Kind::CallStarted,
        Kind::CallEnded,
        Kind::UnknownType,
        Kind::Malformed,
        Kind::BadCallId,
        Kind::BadDigit,
    ];

    /// Returns the kind's name in counters and logs.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Dtmf => "dtmf",
            Kind::CallStarted => "call_started",
            Kind::CallEnded => "call_ended",
            Kind::UnknownType => "unknown_type",
            Kind::Malformed => "malformed",
            Kind::BadCallId => "bad_call_id",
            Kind::BadDigit => "bad_digit",
        }
    }

    /// Returns whether such messages are dropped.
    pub fn is_dropped(self) -> bool {
        !matches!(self, Kind::Dtmf | Kind::CallStarted | Kind::CallEnded)
    }
}

/// What [`decode`] made of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// What it was.
    pub kind: Kind,
    /// It is a digit whose timestamp counts whole seconds, too coarse to tell duplicates by.
    pub coarse: bool,
}

impl From<Kind> for Decoded {
    fn from(kind: Kind) -> Decoded {
        Decoded { kind, coarse: false }
    }
}

/// Reads one message and adds what it tells of to `batch`; nothing is added where it is dropped.
///
/// It allocates only where a string holds an escape. Fields that we don't know are ignored, and so
/// are a timestamp and facts of a call that make no sense: a digit or a start is worth more than
/// they are.
pub fn decode(bytes: &[u8], batch: &mut Batch) -> Decoded {
    // A derived `Deserialize` would take an array for the fields in order, too.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Kind::Malformed.into();
    }
    let Ok(message) = serde_json::from_slice::<Message<'_>>(bytes) else {
        return Kind::Malformed.into();
    };
    let Some(name) = message.name.text() else {
        return Kind::Malformed.into();
    };
    let kind = match name {
        "dtmf" => Kind::Dtmf,
        "call_started" => Kind::CallStarted,
        "call_ended" => Kind::CallEnded,
        _ => return Kind::UnknownType.into(),
    };
    let Some(call) = message.call_id.text() else {
        return Kind::Malformed.into();
    };
    if call_id::check(call).is_err() {
        return Kind::BadCallId.into();
    }
    if kind == Kind::Dtmf {
        return press(call, &message, batch);
    }
    if kind == Kind::CallStarted {
        let interaction = message.interaction_id.text().filter(|id| call_id::check(id).is_ok());
        batch.start(call, Facts { interaction, from: message.from.fact(), to: message.to.fact() });
    } else {
        batch.end(call);
    }
    kind.into()
}

fn press(call: &str, message: &Message<'_>, batch: &mut Batch) -> Decoded {
    let Some(digit) = message.digit.text() else {
        return Kind::Malformed.into();
    };
    let mut symbols = digit.chars();
    let (Some(key), None) = (symbols.next().and_then(Key::parse), symbols.next()) else {
        return Kind::BadDigit.into();
    };
    let (stamp, coarse) = match message.timestamp.time() {
        Time::None => (None, false),
        Time::Coarse => (None, true),
        Time::Fine(stamp) => (Some(stamp), false),
    };
    batch.press(call, key, stamp);
    Decoded { kind: Kind::Dtmf, coarse }
}

/// The fields that we know. None has a type here, so that one of a wrong type costs that field and
/// not the message.
#[derive(serde::Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Message<'a> {
    #[serde(borrow, rename = "type")]
    name: Value<'a>,
    #[serde(borrow)]
    call_id: Value<'a>,
    #[serde(borrow)]
    digit: Value<'a>,
    #[serde(borrow)]
    timestamp: Value<'a>,
    #[serde(borrow)]
    interaction_id: Value<'a>,
    #[serde(borrow)]
    from: Value<'a>,
    #[serde(borrow)]
    to: Value<'a>,
}

/// A field's value, as far as it can serve for anything.
#[derive(Default)]
enum Value<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    #[default]
    Other,
}

/// When something happened, as its sender says.
#[derive(PartialEq, Debug)]
enum Time {
    /// Not said, or not in a way that we know.
    None,
    /// Said in whole seconds.
    Coarse,
    /// Said in something finer.
    Fine(Stamp),
}

impl Value<'_> {
    fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Number(_) | Value::Other => None,
        }
    }

    /// Returns a text that can be stored, shown and sent on as it is.
    fn fact(&self) -> Option<&str> {
        self.text().filter(|text| (1..=FACT_MAX).contains(&text.len()) && text.chars().all(is_printable))
    }

    /// Reads a time since the Unix epoch, its unit told by its size: below 10^11 seconds, below
    /// 10^14 milliseconds, below 10^17 microseconds. A double is exact to the microsecond until 2255.
    fn time(&self) -> Time {
        let Value::Number(number) = *self else {
            return Time::None;
        };
        let micros =
            |unit: f64| number.trunc() as Stamp * unit as Stamp + (number.fract() * unit).round() as Stamp;
        match number {
            _ if number.is_nan() || number <= 0.0 => Time::None,
            _ if number < 1e11 && number.fract() == 0.0 => Time::Coarse,
            _ if number < 1e11 => Time::Fine(micros(1e6)),
            _ if number < 1e14 => Time::Fine(micros(1e3)),
            _ if number < 1e17 => Time::Fine(micros(1.0)),
            _ => Time::None,
        }
    }
}

/// Returns whether `c` shows as itself: no control character, none that hides or turns others.
fn is_printable(c: char) -> bool {
    let turns_or_hides = matches!(c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !c.is_control() && !turns_or_hides
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value<'a>, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

/// Takes any value there is.
struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value<'de>, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::{Event, Source};

    /// Decodes `json` and writes down what came of it.
    fn told(json: &str) -> String {
        let mut batch = Batch::default();
        let Decoded { kind, coarse } = decode(json.as_bytes(), &mut batch);
        let events: Vec<String> = batch
            .events(Source::Voice)
            .map(|event| {
                if let Event::KeyPressed { call, key, stamp, .. } = event {
                    format!("{call} {key} {stamp:?}")
                } else if let Event::CallStarted { call, facts, .. } = event {
                    format!("{call} {:?} {:?} {:?}", facts.interaction, facts.from, facts.to)
                } else {
                    format!("{event:?}")
                }
            })
            .collect();
        format!("{}{}: {}", kind.name(), if coarse { " coarse" } else { "" }, events.join(", "))
    }

    #[test]
    fn reads_digits_and_drops_what_is_none() {
        for (json, expected) in [
            (
                r#"{"type":"dtmf","digit":"1","callId":"c-7f3a91","timestamp":1732377600000}"#,
                "dtmf: c-7f3a91 1 Some(1732377600000000)",
            ),
            (
                r##" {"callId":"c","extra":{"a":[1,{}]},"digit":"#","type":"dtmf","b":null} "##,
                "dtmf: c # None",
            ),
            (r#"{"type":"dtmf","digit":"d","callId":"a@b%c~"}"#, "dtmf: a@b%c~ D None"),
            (r#"{"\u0074ype":"dt\u006df","digit":"\u0037","callId":"\u0063"}"#, "dtmf: c 7 None"),
            (r#"{"type":"dtmf","digit":"1","digit":"2","callId":"c"}"#, "malformed: "),
            (r#"{"type":"dtmf","digit":1,"callId":"c"}"#, "malformed: "),
            (r#"{"type":"dtmf","callId":"c"}"#, "malformed: "),
            (r#"{"type":"dtmf","digit":"1"}"#, "malformed: "),
            (r#"{"type":"dtmf","digit":"1","callId":7}"#, "malformed: "),
            (r#"{"type":7,"digit":"1","callId":"c"}"#, "malformed: "),
            (r#"{"digit":"1","callId":"c"}"#, "malformed: "),
            (r#"["dtmf","c","1"]"#, "malformed: "),
            (r#"{"type":"dtmf","digit":"1","callId":"c"} x"#, "malformed: "),
            (r#"{"type":"dtmf","digit":"1","callId":"\ud800"}"#, "malformed: "),
            ("", "malformed: "),
            ("null", "malformed: "),
            ("\u{feff}{}", "malformed: "),
            ("{}", "malformed: "),
            (r#"{"type":"dtmf","digit":"","callId":"c"}"#, "bad_digit: "),
            (r#"{"type":"dtmf","digit":"12","callId":"c"}"#, "bad_digit: "),
            (r#"{"type":"dtmf","digit":"E","callId":"c"}"#, "bad_digit: "),
            (r#"{"type":"dtmf","digit":"1","callId":""}"#, "bad_call_id: "),
            (r#"{"type":"dtmf","digit":"1","callId":".."}"#, "bad_call_id: "),
            (r#"{"type":"dtmf","digit":"1","callId":"a/b"}"#, "bad_call_id: "),
            (r#"{"type":"dtmf","digit":"1","callId":"a\u0000"}"#, "bad_call_id: "),
            (r#"{"type":"heartbeat"}"#, "unknown_type: "),
            (r#"{"type":"DTMF","digit":"1","callId":"c"}"#, "unknown_type: "),
        ] {
            assert_eq!(expected, told(json), "{json}");
        }
    }

    #[test]
    fn takes_a_timestamp_where_it_tells_duplicates_apart() {
        for (timestamp, expected) in [
            ("1732377600", "dtmf coarse: c 1 None"),
            ("1732377600.0", "dtmf coarse: c 1 None"),
            ("99999999999", "dtmf coarse: c 1 None"),
            ("1732377600.25", "dtmf: c 1 Some(1732377600250000)"),
            ("100000000000", "dtmf: c 1 Some(100000000000000)"),
            ("1732377600000.0", "dtmf: c 1 Some(1732377600000000)"),
            ("1.7323776e12", "dtmf: c 1 Some(1732377600000000)"),
            ("99999999999999", "dtmf: c 1 Some(99999999999999000)"),
            ("100000000000000", "dtmf: c 1 Some(100000000000000)"),
            ("1732377600000001", "dtmf: c 1 Some(1732377600000001)"),
            ("100000000000000000", "dtmf: c 1 None"),
            ("18446744073709551616", "dtmf: c 1 None"),
            ("0", "dtmf: c 1 None"),
            ("-1732377600000", "dtmf: c 1 None"),
            ("\"1732377600000\"", "dtmf: c 1 None"),
            ("null", "dtmf: c 1 None"),
            ("true", "dtmf: c 1 None"),
            ("{\"s\":[1]}", "dtmf: c 1 None"),
            ("[]", "dtmf: c 1 None"),
            ("", "malformed: "),
        ] {
            let json = format!(r#"{{"type":"dtmf","digit":"1","callId":"c","timestamp":{timestamp}}}"#);
            assert_eq!(expected, told(&json), "{timestamp}");
        }
    }

    #[test]
    fn reads_starts_and_ends_and_ignores_facts_that_make_no_sense() {
        let long = "5".repeat(FACT_MAX + 1);
        let nones = "call_started: c None None None";
        for (more, expected) in [
            ("", nones),
            (
                r#","interactionId":"i","from":"+49 30","to":"Zoë""#,
                r#"call_started: c Some("i") Some("+49 30") Some("Zoë")"#,
            ),
            (r#","interactionId":"a/b","from":"a\nb","to":"\u202e""#, nones),
            (r#","interactionId":5,"from":null,"to":{}"#, nones),
            (&format!(r#","interactionId":"{long}","from":"{long}","to":"""#), nones),
        ] {
            let json = format!(r#"{{"type":"call_started","callId":"c"{more}}}"#);
            assert_eq!(expected, told(&json), "{json}");
        }
        let end = r#"{"type":"call_ended","callId":"c"}"#;
        assert_eq!(r#"call_ended: CallEnded { source: Voice, call: "c" }"#, told(end));
    }

    #[test]
    fn an_ordinary_message_is_borrowed_from() {
        let json = r#"{"type":"dtmf","digit":"1","callId":"c","timestamp":1732377600000}"#;
        let Message { name, call_id, digit, .. } = serde_json::from_slice(json.as_bytes()).unwrap();
        for value in [name, call_id, digit] {
            assert!(matches!(value, Value::Text(Cow::Borrowed(_))));
        }
    }

    /// Something like a message, wrong in any way.
    fn messages() -> impl Strategy<Value = String> {
        let value = prop_oneof![
            Just("\"dtmf\"".to_owned()),
            Just("\"call_started\"".to_owned()),
            Just("\"call_ended\"".to_owned()),
            Just("\"1\"".to_owned()),
            any::<f64>().prop_map(|number| number.to_string()),
            any::<i64>().prop_map(|number| number.to_string()),
            "\\PC{0,200}".prop_map(|text| serde_json::Value::from(text).to_string()),
            "[!-~]{1,130}".prop_map(|text| serde_json::Value::from(text).to_string()),
            "[ -~]{0,9}",
        ];
        let field =
            prop_oneof!["type", "callId", "digit", "timestamp", "interactionId", "from", "to", "[a-z]"];
        let fields = prop::collection::vec((field, value), 0..9);
        fields.prop_map(|fields| {
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            format!("{{{}}}", fields.join(","))
        })
    }

    fn keeps_its_promises(bytes: &[u8]) -> Result<(), TestCaseError> {
        let mut batch = Batch::default();
        let kind = decode(bytes, &mut batch).kind;
        prop_assert_eq!(kind.is_dropped(), batch.is_empty());
        for event in batch.events(Source::Voice) {
            let (Event::KeyPressed { call, .. }
            | Event::CallEnded { call, .. }
            | Event::CallStarted { call, .. }) = event
            else {
                return Err(TestCaseError::fail("another event"));
            };
            prop_assert_eq!(Ok(()), call_id::check(call));
            if let Event::CallStarted { facts: Facts { interaction: Some(interaction), .. }, .. } = event {
                prop_assert_eq!(Ok(()), call_id::check(interaction));
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            keeps_its_promises(&bytes)?;
        }

        #[test]
        fn no_message_brings_an_id_that_breaks_the_rules(message in messages()) {
            keeps_its_promises(message.as_bytes())?;
        }
    }

    #[test]
    fn deep_nesting_is_malformed_and_harmless() {
        for open in ["[", "{\"a\":"] {
            let json = format!(r#"{{"type":"dtmf","timestamp":{}"#, open.repeat(20_000));
            assert_eq!("malformed: ", told(&json));
        }
    }
}
