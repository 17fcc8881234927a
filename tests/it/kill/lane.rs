//! One history of kills: a tenant, a state directory, processes one after the other, and callers who go on
//! whatever becomes of them. What was sent, when and to which process is taken down.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tungstenite::{Error, Message};

use super::caller::{Act, Sent, Step, Trees, Walk, random_walk};
use super::daemon::{Daemon, Home};
use super::tenant::{Tenant, Voice};
use crate::random_tree::Random;

/// So many callers press at once.
const CALLERS: usize = 40;
/// So long after its last step a stream that comes back may send a walk's steps again.
const REPLAYED: Duration = Duration::from_secs(2);
/// So many steps of a walk at most are sent again.
const REPLAYED_MAX: usize = 12;
/// A process opens its WebSocket within this, on a busy machine.
const READY: Duration = Duration::from_secs(30);

/// A process that is asked to leave is gone within 10 s; some more where the machine is busy.
const LEFT: Duration = Duration::from_secs(15);

/// A process that ran.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Life {
    /// When it was killed; one that left by itself was not.
    pub(super) killed: Option<Instant>,
}

pub(super) struct Lane {
    pub(super) tenant: Tenant,
    pub(super) home: Home,
    pub(super) trees: Trees,
    pub(super) random: Random,
    pub(super) walks: Vec<Walk>,
    pub(super) lives: Vec<Life>,
    /// Places of walks whose steps may still be sent.
    active: Vec<usize>,
    voice: Option<Voice>,
    /// The last life that opened a WebSocket.
    heard: Option<usize>,
    /// Whether callers keep coming.
    is_open: bool,
    tree_b: bool,
    stamp: u64,
}

impl Lane {
    pub(super) fn new(seed: u64, home: Home, trees: Trees) -> Lane {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970");
        let lane = Lane {
            tenant: Tenant::start(seed ^ 0x7e4a),
            home,
            trees,
            random: Random(seed),
            walks: Vec::new(),
            lives: Vec::new(),
            active: Vec::new(),
            voice: None,
            heard: None,
            is_open: false,
            tree_b: false,
            stamp: now.as_millis() as u64,
        };
        lane.home.write_tree(&lane.trees.a());
        lane
    }

    /// Lets callers come from now on, or no more.
    pub(super) fn set_open(&mut self, open: bool) {
        self.is_open = open;
    }

    pub(super) fn add(&mut self, walk: Walk) {
        self.active.push(self.walks.len());
        self.walks.push(walk);
    }

    pub(super) fn stamp(&self) -> u64 {
        self.stamp
    }

    /// Changes the tree that new calls walk, at the next start or reload.
    pub(super) fn change_tree(&mut self) {
        self.tree_b = !self.tree_b;
        self.home.write_tree(&if self.tree_b { self.trees.b() } else { self.trees.a() });
    }

    pub(super) fn start(&mut self, wrapper: &[&str]) -> Daemon {
        self.lives.push(Life::default());
        // What an earlier process opened is of no use any more.
        while self.tenant.voices().try_recv().is_ok() {}
        self.home.start(&self.tenant, wrapper)
    }

    /// Kills a process.
    pub(super) fn kill(&mut self, mut daemon: Daemon) {
        if daemon.has_ended() {
            let code = daemon.bury(&mut self.home);
            panic!("it ended by itself with {code:?}:\n{}", self.home.said());
        }
        let at = daemon.kill(&mut self.home);
        self.died(at);
    }

    /// A process is gone that was killed at `at`.
    pub(super) fn died(&mut self, at: Instant) {
        self.lives.last_mut().expect("it was started").killed = Some(at);
        self.voice = None;
    }

    /// Stops a process as an operator does, and sees to it that it leaves in good order.
    pub(super) fn stop(&mut self, daemon: Daemon) {
        let begun = Instant::now();
        let code = self.leave(daemon);
        assert_eq!(Some(0), code, "it left badly:\n{}", self.home.said());
        assert!(begun.elapsed() < LEFT, "it took {:?} to leave", begun.elapsed());
    }

    /// Asks a process to leave, and goes on until it has. Returns its exit code.
    pub(super) fn leave(&mut self, mut daemon: Daemon) -> Option<i32> {
        daemon.ask_to_leave();
        let begun = Instant::now();
        // The end of a WebSocket is answered.
        while !daemon.has_ended() && begun.elapsed() < LEFT {
            self.turn();
        }
        self.voice = None;
        daemon.bury(&mut self.home)
    }

    /// Goes on until the process has opened its WebSocket; returns whether it has, rather than ended.
    pub(super) fn wait_until_ready(&mut self, daemon: &mut Daemon) -> bool {
        let deadline = Instant::now() + READY;
        while self.voice.is_none() {
            if daemon.has_ended() {
                return false;
            }
            assert!(Instant::now() < deadline, "no WebSocket after {READY:?}:\n{}", self.home.said());
            self.turn();
        }
        true
    }

    /// Goes on for so long.
    pub(super) fn run_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.turn();
        }
    }

    /// Does what is due, and waits for a millisecond or so.
    pub(super) fn turn(&mut self) {
        if let Ok(voice) = self.tenant.voices().try_recv() {
            let timeout = voice.get_ref().set_read_timeout(Some(Duration::from_millis(1)));
            timeout
                .and_then(|()| voice.get_ref().set_write_timeout(Some(Duration::from_secs(5))))
                .expect("a socket");
            self.voice = Some(voice);
            self.come_back();
        }
        self.press();
        match self.voice.as_mut().map(Voice::read) {
            Some(Err(Error::Io(error)))
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Some(Ok(_)) => (),
            Some(Err(_)) => self.voice = None,
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }

    /// Returns whether every caller is done.
    pub(super) fn is_done(&self) -> bool {
        self.active.iter().all(|&place| self.walks[place].has_finished())
    }

    fn press(&mut self) {
        let now = Instant::now();
        let mut pressing = 0;
        let mut active = std::mem::take(&mut self.active);
        active.retain(|&place| {
            while let Some(step) = self.walks[place].step(now) {
                self.send(place, step);
            }
            let walk = &self.walks[place];
            pressing += usize::from(!walk.has_finished());
            !walk.has_finished() || walk.due + REPLAYED > now
        });
        self.active = active;
        if self.is_open {
            (pressing..CALLERS).for_each(|_| self.admit());
        }
    }

    fn admit(&mut self) {
        let number = self.walks.len();
        let mut walk = random_walk(&mut self.random, &self.trees, self.tree_b, number, self.stamp);
        walk.due = Instant::now() + Duration::from_millis(self.random.below(200));
        if self.random.one_in(10)
            && let Some(ended) = self.ended_walk()
        {
            // The same call begins anew: only the stream's word makes it so.
            walk.call = self.walks[ended].call.clone();
            let start = !matches!(walk.steps[0].act, Act::Start);
            walk.interaction = Some(format!("again-{number}"));
            walk.is_again = true;
            if start {
                let first = walk.steps[0].clone();
                let begin = Step { act: Act::Start, after: Duration::ZERO, ..first };
                walk.steps.insert(0, begin);
            }
        }
        self.add(walk);
    }

    /// Returns a walk that has ended for the tenant as well, and whose call has not begun anew.
    fn ended_walk(&mut self) -> Option<usize> {
        let place = self.random.below(self.walks.len().max(1) as u64) as usize;
        let walk = self.walks.get(place)?;
        let posts = self.tenant.posts();
        let has_ended =
            posts.iter().any(|post| post.to == walk.call || Some(&post.to) == walk.interaction.as_ref());
        let is_only = self.walks.iter().filter(|other| other.call == walk.call).count() == 1;
        (has_ended && is_only && !self.active.contains(&place)).then_some(place)
    }

    /// A WebSocket was opened: as streams do, it goes on with what comes now, or sends again what the process
    /// before was sent, and what it missed.
    fn come_back(&mut self) {
        let comes_again = self.random.one_in(2);
        let before = self.heard.replace(self.lives.len() - 1);
        let now = Instant::now();
        for place in self.active.clone() {
            let walk = &self.walks[place];
            // Replays are told by the last 16 events of a call: no more than that come again.
            let replays = comes_again && !walk.has_reentered;
            let first = walk.next.saturating_sub(REPLAYED_MAX);
            for step in 0..walk.next {
                let known = &mut self.walks[place].steps[step];
                let was_held = std::mem::take(&mut known.held);
                let was_sent = known.sent.last().is_some_and(|sent| Some(sent.life) == before);
                // That a call begins is not said twice: it would begin anew.
                let may_again = was_held || known.act != Act::Start;
                if replays && step >= first && (was_sent || was_held) && may_again {
                    self.send(place, step);
                }
            }
            if !comes_again && self.random.one_in(2) {
                self.walks[place].enter_again(now);
            }
        }
    }

    fn send(&mut self, place: usize, step: usize) {
        let life = self.lives.len() - 1;
        let walk = &mut self.walks[place];
        let Some(voice) = &mut self.voice else {
            walk.steps[step].held = true;
            return;
        };
        let Step { act, stamp, .. } = walk.steps[step];
        let call = &walk.call;
        let text = match act {
            Act::Open(key) | Act::Masked(key) => {
                format!(r#"{{"type":"dtmf","digit":"{key}","callId":"{call}","timestamp":{stamp}}}"#)
            }
            Act::HangUp => format!(r#"{{"type":"call_ended","callId":"{call}"}}"#),
            Act::Start => {
                let interaction = walk.interaction.as_deref().unwrap_or(call);
                format!(r#"{{"type":"call_started","callId":"{call}","interactionId":"{interaction}"}}"#)
            }
        };
        walk.steps[step].sent.push(Sent { life, at: Instant::now() });
        if voice.send(Message::text(text)).is_err() {
            self.voice = None;
        }
    }
}
