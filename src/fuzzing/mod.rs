//! What must hold whatever comes from outside, a function for each place where it comes in.
//!
//! `fuzz/` feeds them what libFuzzer thinks of, the tests here what it was given to begin with and what it has
//! found. Not in any build but those.

mod press;
mod rows;
mod settings;

pub use crate::inbound::fuzzing::message;
pub use crate::local::fuzzing::gate;
pub use crate::outbound::fuzzing::answer;
pub use crate::tenant::fuzzing::token;
pub use press::press;
pub use rows::row;
pub use settings::settings;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    type Target = fn(&[u8]);

    const TARGETS: [(&str, Target); 7] = [
        ("answer", answer),
        ("gate", gate),
        ("message", message),
        ("press", press),
        ("row", row),
        ("settings", settings),
        ("token", token),
    ];

    /// Returns what a target is given to begin with, and what once broke it.
    fn seeds(name: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
        let mut paths: Vec<_> = fs::read_dir(folder)
            .expect("every target has seeds")
            .map(|entry| entry.expect("it can be listed").path())
            .collect();
        paths.sort();
        paths.into_iter().map(|path| fs::read(path).expect("it can be read")).collect()
    }

    #[test]
    fn every_seed_holds_and_so_does_every_beginning_of_it() {
        for (name, target) in TARGETS {
            let seeds = seeds(name);
            assert!(!seeds.is_empty(), "{name} has seeds");
            for seed in seeds {
                (0..=seed.len()).for_each(|length| target(&seed[..length]));
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_hold(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            TARGETS.iter().for_each(|(_, target)| target(&bytes));
        }

        #[test]
        fn a_seed_with_bytes_changed_holds(
            target in prop::sample::select(&TARGETS[..]),
            which in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let seeds = seeds(target.0);
            let mut bytes = seeds[which.index(seeds.len())].clone();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            target.1(&bytes);
        }
    }
}
