//! What callers do, and what the stream makes of it.

use dtmfd::engine::{Content, Reach};

use super::trees::has_mask;
use crate::differential::{random_key, random_time};
use crate::random_tree::Random;
use crate::reference::{Reference, Tree, What};

/// Something that reaches us.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) at: u64,
    pub(super) by: By,
    pub(super) id: String,
    pub(super) what: What,
}

/// By which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    Stream,
    Api(Reach),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Good,
    Impatient,
    Silent,
    Masher,
    HangsUp,
    /// Calls again with the same id.
    Again,
    /// Presses on after the end.
    Late,
    Simulated,
    /// A simulated call whose id the stream shows, too.
    Contested,
}

/// The times of the events that the stream carries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stamps {
    Fine,
    None,
}

/// How the stream is.
struct Stream {
    stamps: Stamps,
    /// One event in so many is dropped, doubled, late.
    drops: u64,
    doubles: u64,
    delays: u64,
    /// It stands still from the first to the second.
    stalls: Vec<(u64, u64)>,
}

/// What secrets are made of...
pub(super) const SECRET_DIGITS: [char; 6] = ['3', '5', '6', '7', '8', '9'];
/// ... and how many of a secret's first digits are looked for in what is written.
pub(super) const SHOWN_DIGITS: usize = 10;

/// Digits that occur nowhere else: what callers enter as a card and as a secret.
pub(super) struct Secrets {
    pub(super) card: String,
    pub(super) secret: String,
}

impl Secrets {
    fn random(random: &mut Random) -> Secrets {
        let mut digits = |count| (0..count).map(|_| random.pick(&SECRET_DIGITS)).collect();
        Secrets { card: digits(16), secret: digits(10) }
    }
}

/// Everything that reaches us between `begin` and `end`, and later where callers are late.
pub(super) fn arrivals(
    seed: (u64, u64),
    trees: &[Tree<'_>],
    begin: u64,
    end: u64,
) -> (Vec<Arrival>, Secrets) {
    let random = &mut Random(seed.0);
    let secrets = Secrets::random(random);
    let mut scripts = Vec::new();
    let bursts: Vec<u64> = (0..1 + random.below(4)).map(|_| begin + random.below(end - begin)).collect();
    let is_bursty = end - begin > 1_000_000 || random.one_in(3);
    for number in 0..3 + random.below(15) {
        let at = if is_bursty {
            random.pick(&bursts) + random.below(20_000)
        } else {
            begin + random.below(end - begin)
        };
        let kind = random.pick(&[
            Kind::Good,
            Kind::Good,
            Kind::Good,
            Kind::Impatient,
            Kind::Silent,
            Kind::Masher,
            Kind::HangsUp,
            Kind::Again,
            Kind::Late,
            Kind::Simulated,
            Kind::Contested,
        ]);
        let tree = &trees[random.below(trees.len() as u64) as usize];
        let id = format!("c-{number}");
        scripts.push((id.clone(), kind, script(random, tree, &id, at, kind, &secrets)));
    }
    // The stream's own random numbers: another stream doesn't make other callers.
    let random = &mut Random(seed.1);
    let masked = trees.iter().any(|tree| has_mask(tree.ivr));
    let stream = Stream::random(random, begin, end);
    let mut arrivals = Vec::new();
    for (id, kind, script) in scripts {
        match kind {
            Kind::Simulated => by_api(random, &id, script, &mut arrivals),
            Kind::Contested => {
                by_api(random, &id, script.clone(), &mut arrivals);
                let later = random.below(8_000);
                let script = script.into_iter().map(|(at, what)| (at + later, what)).collect();
                stream.carry(random, &id, script, masked, &mut arrivals);
            }
            Kind::Good
            | Kind::Impatient
            | Kind::Silent
            | Kind::Masher
            | Kind::HangsUp
            | Kind::Again
            | Kind::Late => stream.carry(random, &id, script, masked, &mut arrivals),
        }
    }
    arrivals.sort_by_key(|arrival| arrival.at);
    (arrivals, secrets)
}

fn by_api(random: &mut Random, id: &str, script: Vec<(u64, What)>, arrivals: &mut Vec<Arrival>) {
    let by = By::Api(random.pick(&[Reach::Own, Reach::Own, Reach::Dry, Reach::Live]));
    arrivals.extend(script.into_iter().filter(|(_, what)| !matches!(what, What::Start { .. })).map(
        |(at, what)| {
            let what = match what {
                What::Key { key, .. } => What::Key { key, stamp: None },
                What::Start { .. } | What::HangUp => what,
            };
            Arrival { at, by, id: id.to_owned(), what }
        },
    ));
}

/// Writes what a caller does, who hears what the reference says.
fn script(
    random: &mut Random,
    tree: &Tree<'_>,
    id: &str,
    begin: u64,
    kind: Kind,
    secrets: &Secrets,
) -> Vec<(u64, What)> {
    let mut reference = Reference::of(id, tree);
    let mut script: Vec<(u64, What)> = Vec::new();
    let mut now = begin;
    let mut happens = |reference: &mut Reference<'_>, at: u64, what: What| {
        reference.happens(at, &what);
        script.push((at, what));
    };
    if kind == Kind::Silent || random.one_in(2) {
        happens(&mut reference, now, start(random));
    }
    let events = match kind {
        Kind::Silent => random.below(2),
        Kind::Good | Kind::Late | Kind::Again => 4 + random.below(30),
        Kind::Impatient | Kind::Masher => 5 + random.below(25),
        Kind::HangsUp | Kind::Simulated | Kind::Contested => 1 + random.below(16),
    };
    let mut after_end = 0;
    for _ in 0..events {
        now += match kind {
            Kind::Impatient => 40 + random.below(160),
            Kind::Masher => 1 + random.below(90),
            Kind::Good
            | Kind::Silent
            | Kind::HangsUp
            | Kind::Again
            | Kind::Late
            | Kind::Simulated
            | Kind::Contested => 150 + random.below(900),
        };
        if random.one_in(8) && reference.standing().is_some_and(|standing| standing.due < now + 60_000) {
            now = random_time(random, &reference, now).max(now);
        }
        reference.pass_time(now);
        if reference.standing().is_none() && !reference.transcript.seen.is_empty() {
            after_end += 1;
            match kind {
                Kind::Late if after_end < 4 => {
                    now += random
                        .pick(&[0, 700, 1_900, 61_000, 599_000, 700_000, 3_600_000, 43_100_000, 43_300_000]);
                    reference.pass_time(now);
                }
                Kind::Again if after_end < 4 => {
                    now += random.pick(&[0, 0, 500, 60_000, 4_000_000]);
                    happens(&mut reference, now, start(random));
                    continue;
                }
                Kind::Simulated | Kind::Contested if after_end < 5 => {
                    now += random.pick(&[0, 300, 1_500, 2_000, 2_500]);
                    reference.pass_time(now);
                }
                _ if after_end > 2 => break,
                _ => (),
            }
        }
        let key = match kind {
            Kind::Masher => random.pick(&['1', '2', '3', '9', '#', '*', '0', 'A']),
            _ => key_for(random, tree, &reference, secrets),
        };
        let stamp = None;
        happens(&mut reference, now, What::Key { key, stamp });
    }
    if kind == Kind::HangsUp || random.one_in(6) {
        now += random.below(3_000);
        happens(&mut reference, now, What::HangUp);
        if random.one_in(3) {
            now += random.pick(&[0, 5, 500, 599_000, 601_000]);
            happens(&mut reference, now, What::Key { key: '1', stamp: None });
        }
    }
    script
}

fn start(random: &mut Random) -> What {
    let mut fact = |text: &str, n| random.one_in(n).then(|| text.to_owned());
    What::Start { interaction: fact("i-1", 3), from: fact("+33", 2), to: fact("+49", 3) }
}

fn key_for(random: &mut Random, tree: &Tree<'_>, reference: &Reference<'_>, secrets: &Secrets) -> char {
    if let Some(standing) = reference.standing()
        && let Content::Entry(entry) = &tree.ivr.nodes[standing.node].content
        && entry.min >= 10
        && !random.one_in(60)
    {
        let digits = if entry.max == 10 { &secrets.secret } else { &secrets.card };
        return digits[standing.buffer.len()..].chars().next().unwrap_or('#');
    }
    random_key(random, tree, reference)
}

impl Stream {
    fn random(random: &mut Random, begin: u64, end: u64) -> Stream {
        let stalls = (0..random.below(4)).map(|_| {
            let from = begin + random.below(end - begin);
            (from, from + random.below(15_000))
        });
        Stream {
            stalls: stalls.collect(),
            stamps: random.pick(&[Stamps::Fine, Stamps::Fine, Stamps::None]),
            drops: random.pick(&[u64::MAX, 50, 12]),
            doubles: random.pick(&[u64::MAX, 30, 6]),
            delays: random.pick(&[u64::MAX, 40, 8]),
        }
    }

    /// Carries what a caller does: with stamps, and with the faults of this stream.
    fn carry(
        &self,
        random: &mut Random,
        id: &str,
        script: Vec<(u64, What)>,
        masked: bool,
        arrivals: &mut Vec<Arrival>,
    ) {
        let mut last_us = 0;
        for (at, what) in script {
            let what = match what {
                What::Key { key, .. } if self.stamps == Stamps::Fine => {
                    let mut stamp = at * 1_000 + random.below(1_000);
                    if masked {
                        // Of a masked key only the stamp is kept, so that a bounce of it can't be told
                        // after a restart: there are none.
                        stamp = stamp.max(last_us + 301_000);
                    }
                    last_us = last_us.max(stamp);
                    What::Key { key, stamp: Some(stamp) }
                }
                other => other,
            };
            if random.one_in(self.drops) {
                continue;
            }
            let mut arrives = at + random.below(60);
            if random.one_in(self.delays) {
                arrives += random.below(1_500);
            }
            for _ in 0..1 + u64::from(random.one_in(self.doubles)) {
                let stalled = self.stalls.iter().find(|&&(from, to)| from <= arrives && arrives < to);
                let at = stalled.map_or(arrives, |&(_, to)| to);
                arrivals.push(Arrival { at, by: By::Stream, id: id.to_owned(), what: what.clone() });
                arrives += random.below(2_500);
            }
        }
    }
}
