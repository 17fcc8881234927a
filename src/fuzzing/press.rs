//! What must hold of the words that press digits, for any text.

use crate::press::{STEPS_MAX, Step, WAIT_MS_MAX, parse};
use crate::sandbox::PressSpec;

/// Any bytes as a script and as a `--press`: what is read is within its bounds and means the same when it is written
/// out, what isn't is pointed at, and a `--press` is made of its parts.
pub fn press(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match parse(&text) {
        Ok(steps) => {
            assert!(steps.len() <= STEPS_MAX);
            let written: String = steps.iter().map(written).collect();
            assert_eq!(Ok(&steps), parse(&written).as_ref(), "{written}");
            assert!(
                steps.iter().all(
                    |step| !matches!(step, Step::Wait(WAIT_MS_MAX..) if *step != Step::Wait(WAIT_MS_MAX))
                )
            );
        }
        Err(error) => {
            let at = text.get(error.offset..).expect("it points at a character");
            assert!(!at.is_empty());
            assert_eq!(error.position, text[..error.offset].chars().count() + 1);
            assert!(!error.to_string().contains(char::is_control), "{error}");
        }
    }
    match text.parse::<PressSpec>() {
        Ok(PressSpec { call, digits, outcome }) => {
            let outcome = outcome.map(|outcome| format!(":{outcome}")).unwrap_or_default();
            assert_eq!(text, format!("{call}={digits}{outcome}"));
            // What the script alone finds out is that a `+` lacks its number, or that something is too much.
            let known = "NoMilliseconds WaitTooLong TooManySteps";
            let agrees = |error: crate::press::PressError| known.contains(&format!("{:?}", error.kind));
            assert!(parse(&digits).map_or_else(agrees, |steps| !steps.is_empty()), "{digits}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Writes a step in the words that it may have been read from.
fn written(step: &Step) -> String {
    match step {
        Step::Key(key) => key.to_string(),
        Step::Wait(ms) => format!("+{ms} "),
        Step::UntilDeadline => "~".to_owned(),
        Step::HangUp => "!".to_owned(),
    }
}
