//! A call as a row: what is kept of it, so that it goes on after the process that held it.

use std::sync::Arc;

use super::super::event::{Facts, Source, Tick};
use super::super::ivr::{Content, Ivr, Mask, NodeId, Version};
use super::super::key::{Digits, Key};
use super::super::presses::Presses;
use super::super::row::{Reader, Unreadable, Writer};
use super::super::variables::Record;
use super::{Attempt, Call, Failures, HIDDEN, SEEN_MAX, STAMP_SHIFT, UNKNOWN};

impl Call {
    /// Writes the row of a call in progress. The digits of masked nodes are not in it.
    pub(in super::super) fn write_row(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.wide(self.ivr.version.0);
        writer.byte(u8::from(self.dry));
        writer.tick(self.began);
        writer.number(self.generation.since(self.began));
        let facts = self.facts.as_deref();
        let fact = |fact: Option<&Option<Box<str>>>, writer: &mut Writer| {
            writer.option(fact.and_then(Option::as_deref), |writer, text| writer.text(text));
        };
        fact(facts.map(|facts| &facts.interaction), &mut writer);
        fact(facts.map(|facts| &facts.from), &mut writer);
        fact(facts.map(|facts| &facts.to), &mut writer);

        writer.number(u64::from(self.node.0));
        let is_hidden = !self.entry.is_empty() && self.hides_entry();
        writer.byte(u8::from(is_hidden));
        if !is_hidden {
            self.entry.write(&mut writer);
            writer.tick(self.attempt.guarded_until);
            writer.option(self.attempt.first_digit, Writer::tick);
            writer.option(self.attempt.until, Writer::tick);
            writer.option(self.trailing, |writer, (key, until)| {
                writer.byte(key.event());
                writer.tick(until);
            });
        }
        writer.number(u64::from(self.failures.no_input));
        writer.number(u64::from(self.failures.no_match));
        writer.number(u64::from(self.steps));
        writer.number(u64::from(self.progress));
        writer.number(self.seen.len() as u64);
        for event in &self.seen {
            let is_known = event & (HIDDEN | UNKNOWN) == 0;
            writer.number(event >> STAMP_SHIFT);
            writer.option(is_known.then_some(*event as u8 & 0xf), Writer::byte);
        }
        self.record.write_row(&mut writer);
        writer.number(self.back.len() as u64);
        for (node, path_len) in &self.back {
            writer.number(u64::from(node.0));
            writer.number(u64::from(*path_len));
        }
        writer.option(self.presses.as_ref(), |writer, presses| presses.write_row(writer));
        writer.finish()
    }

    /// Returns whether the entry is, or may become, that of a node that masks its entries.
    fn hides_entry(&self) -> bool {
        self.node().mask != Mask::Off || self.may_reach_mask()
    }

    /// Reads what [`Call::write_row`] wrote. A node whose entry was not written begins again `now`.
    ///
    /// # Errors
    ///
    /// The row is damaged, or `tree` doesn't know its tree.
    pub(in super::super) fn read_row(
        source: Source,
        id: &str,
        row: &[u8],
        tree: impl Fn(Version) -> Option<Arc<Ivr>>,
        now: Tick,
    ) -> Result<Call, Unreadable> {
        let mut reader = Reader::new(row)?;
        let ivr = tree(Version(reader.wide()?)).ok_or(Unreadable)?;
        let dry = reader.flag()?;
        let began = reader.tick()?;
        let generation = began.after(reader.number()?);
        let interaction = reader.option(Reader::text)?;
        let from = reader.option(Reader::text)?;
        let to = reader.option(Reader::text)?;

        let node_of = |reader: &mut Reader<'_>| {
            let node: u32 = reader.narrow()?;
            if (node as usize) < ivr.nodes.len() { Ok(NodeId(node)) } else { Err(Unreadable) }
        };
        let node = node_of(&mut reader)?;
        if matches!(ivr.node(node).content, Content::End(_)) {
            return Err(Unreadable);
        }
        let is_hidden = reader.flag()?;
        let mut entry = Digits::EMPTY;
        let mut attempt = Attempt { guarded_until: now, first_digit: None, until: None };
        let mut trailing = None;
        if !is_hidden {
            entry = Digits::read(&mut reader)?;
            attempt = Attempt {
                guarded_until: reader.tick()?,
                first_digit: reader.option(Reader::tick)?,
                until: reader.option(Reader::tick)?,
            };
            trailing = reader.option(|reader| Ok((key_of(reader)?, reader.tick()?)))?;
        }
        let failures = Failures { no_input: reader.narrow()?, no_match: reader.narrow()? };
        let (steps, progress) = (reader.narrow()?, reader.narrow()?);
        let seen = reader.list(|reader| {
            let stamp = reader.number()?;
            let key = reader.option(key_of)?;
            Ok(stamp << STAMP_SHIFT | key.map_or(UNKNOWN, |key| u64::from(key.event())))
        })?;
        if seen.len() > SEEN_MAX {
            return Err(Unreadable);
        }
        let record = Record::read_row(&mut reader, ivr.slots.len())?;
        let back = reader.list(|reader| Ok((node_of(reader)?, reader.narrow()?)))?;
        let presses = reader.option(Presses::read_row)?;
        reader.finish()?;

        let mut call = Call {
            source,
            id: Arc::from(id),
            facts: None,
            ivr: Arc::clone(&ivr),
            began,
            generation,
            dry,
            node,
            entry,
            attempt,
            failures,
            steps,
            trailing,
            seen,
            record,
            back,
            end: None,
            progress,
            met_mask: false,
            presses,
        };
        call.learn(Facts { interaction, from, to });
        if is_hidden {
            call.offer(ivr.node(node), now);
        }
        Ok(call)
    }
}

fn key_of(reader: &mut Reader<'_>) -> Result<Key, Unreadable> {
    Key::ALL.get(usize::from(reader.byte()?)).copied().ok_or(Unreadable)
}
