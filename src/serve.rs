//! The threads, what connects them, and the order in which they stop.
//!
//! ```text
//! reader ──┐
//! api ─────┼─(inbox)─▶ calls ─(jobs)─▶ worker-1 … worker-n ─┐
//!          │             └─(commits)─▶ store ───────────────┤
//!          ├───────────────────────────────(inbox)──────────┘
//! gate ─▶ api ─▶ presses ─(inbox)─▶ calls     resolver: looks names up for reader and workers
//! ```
//!
//! They stop from source to sink: first what brings events, then `calls` once it has drained, then the
//! workers, whose channel ends with it. What isn't back in time is left behind: the process exits.
//!
//! One more thread is older than these and outlives them: `log` writes what all of them say.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use log::{error, info, warn};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::config::Config;
use crate::driver::{CallEnd, Clock, Driver, Report, Sinks};
use crate::engine::{Bounds, Calls, Ivr, Random};
use crate::error::Error;
use crate::history::History;
use crate::inbound::{Reader, Stop};
use crate::inbox::{Inbox, Incoming, inbox};
use crate::local::{Local, LocalStop};
use crate::observe::status::Status;
use crate::outbound::{Client, Cutter, work};
use crate::store::{KeptHistory, Store};
use crate::tenant::{Net, Tls, Tokens, resolver};

/// How long queued updates may go on after the stop was asked for.
const DRAIN_MAX: Duration = Duration::from_secs(8);
/// What hasn't come back this long after the stop was asked for is left behind.
const STOP_MAX: Duration = Duration::from_secs(9);
/// How long the reader of the log may take after a second signal.
const LAST_WORDS_MAX: Duration = Duration::from_millis(200);
/// Enough for a TLS handshake and a request with room to spare (32 KiB were, measured).
const STACK: usize = 256 * 1024;
/// The engine has one transaction in flight at a time.
const COMMITS_MAX: usize = 1;
/// Causes to stop: a signal or two, and each thread that leaves. More say nothing new.
const CAUSES_MAX: usize = 64;

/// Why the service should do something else than serve.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A signal asked it to stop, or its owner did.
    Stop,
    /// A signal asked it to read the tree again.
    Reload,
    /// A thread left though nobody had asked it to.
    ThreadLeft(String),
}

/// The running service.
pub struct Service {
    address: String,
    inbox: Inbox,
    status: Arc<Status>,
    causes: (Sender<Cause>, Receiver<Cause>),
    local: LocalStop,
    reader: Stop,
    report: Receiver<Report>,
    cutters: Vec<Cutter>,
    tokens: Tokens,
    /// Ends once every thread but the resolver has.
    alive: Receiver<()>,
}

impl Service {
    /// Opens the local API and starts every thread.
    ///
    /// `ends` hears of every call that ends, as far as it keeps up.
    ///
    /// # Errors
    ///
    /// Returns why it can't start; then no thread runs.
    pub fn start(config: Config, ivr: Arc<Ivr>, ends: Option<Sender<CallEnd>>) -> Result<Service, Error> {
        let Config { tenant, listen, api_token, workers, calls_max, simulator, state, log_digits, .. } =
            config;
        // A file that may not grow any more is an error to its writer; the signal would end us.
        signal_hook::flag::register(SIGXFSZ, Arc::default())
            .map_err(|source| Error::System { what: "cannot catch signals", source })?;
        // First: a second daemon should hear of the state directory, not of the address.
        let history =
            state.as_ref().map(|state| Box::new(KeptHistory::of(&state.directory)) as Box<dyn History>);
        let mut store = state.map(Store::open).transpose().map_err(Error::Store)?;
        let status = Arc::new(Status::default());
        let (inbox, outlet) = inbox();
        let settings = crate::local::Settings {
            listen,
            api_token: api_token.map(|token| token.reveal().to_owned()),
            simulator,
            history,
        };
        let local = Local::bind(settings, inbox.clone(), Arc::clone(&status)).map_err(Error::Listen)?;
        let address = local.address();

        let tls = Tls::new(tenant.ca.as_deref())
            .map_err(|error| Error::Settings(vec![format!("CXONE_CA_FILE (--ca-file): {error}")]))?;
        let (names, lookups) = resolver();
        let net = Net::new(names, tls).through(tenant.proxy);
        let mut seeds = Random::new(seed());
        let tokens = Tokens::new(
            &net,
            tenant.oauth_url,
            tenant.client_id,
            tenant.client_secret,
            Arc::clone(&status),
            seeds.number(),
        );

        let clock = Clock::resume(store.as_ref().and_then(Store::mark).as_ref());
        let bounds = Bounds { calls_max, attempts_max: workers };
        let mut calls = Calls::new(ivr, bounds, seeds.number(), clock.now());
        if let Some(store) = &mut store {
            calls = calls.keeping();
            store.restore(&mut calls);
        }
        // The engine keeps at most `attempts_max` attempts in flight, so `calls` never waits here.
        let (jobs, work_to_do) = bounded(workers);
        let (commits, to_be_kept) = bounded(COMMITS_MAX);
        let sinks = Sinks { jobs, commits: store.is_some().then_some(commits), ends };
        let driver = Driver::new(calls, clock, outlet, sinks, Arc::clone(&status), log_digits);

        let causes = bounded(CAUSES_MAX);
        let (alive_sender, alive) = bounded(0);
        let (report_sender, report) = bounded(1);
        let threads = Threads { causes: causes.0.clone(), alive: alive_sender };
        let reader_stop = Stop::new();
        let reader = Reader::new(
            tenant.ws_url,
            net.clone(),
            tokens.clone(),
            inbox.clone(),
            Arc::clone(&status),
            reader_stop.clone(),
            seeds.number(),
        );

        spawn_unwatched("resolver", move || lookups.run())?;
        if let Some(store) = store {
            let (inbox, status) = (inbox.clone(), Arc::clone(&status));
            threads.spawn("store", move || store.run(clock, &to_be_kept, &inbox, &status))?;
        }
        threads.spawn("calls", move || {
            let _ = report_sender.send(driver.run());
        })?;
        let mut cutters = Vec::new();
        for number in 1..=workers {
            let client = Client::new(&net, &tokens, &tenant.api_url);
            let client = if number == 1 { client.refreshing_token() } else { client };
            cutters.push(client.cutter());
            let (jobs, inbox) = (work_to_do.clone(), inbox.clone());
            threads.spawn(&format!("worker-{number}"), move || work(client, jobs, inbox))?;
        }
        let (gate, api, player, local) = local.into_parts();
        threads.spawn("api", move || api.run())?;
        threads.spawn("presses", move || player.run())?;
        threads.spawn("gate", move || gate.run())?;
        threads.spawn("reader", move || reader.run())?;
        Ok(Service {
            address,
            inbox,
            status,
            causes,
            local,
            reader: reader_stop,
            report,
            cutters,
            tokens,
            alive,
        })
    }

    /// Returns where the local API listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns a way to ask the engine.
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Returns how the links stand.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Returns a way to make the service's owner do something else.
    pub fn causes(&self) -> Sender<Cause> {
        self.causes.0.clone()
    }

    /// Waits until something else than serving is to be done.
    pub fn wait(&self) -> Cause {
        self.causes.1.recv().expect("we hold a sender")
    }

    /// As [`Service::wait`], until `deadline` at most.
    pub fn wait_until(&self, deadline: Instant) -> Option<Cause> {
        match self.causes.1.recv_deadline(deadline) {
            Ok(cause) => Some(cause),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => unreachable!("we hold a sender"),
        }
    }

    /// Lets new calls walk another tree.
    pub fn load_tree(&self, ivr: Arc<Ivr>) {
        // It fails only if `calls` has gone, which `wait` tells of.
        let _ = self.inbox.send(Incoming::TreeLoaded(ivr));
    }

    /// Stops reading, delivers what is queued for at most 8 s, and ends every thread within 10 s.
    ///
    /// Returns what the engine came to; `None` if it had died.
    pub fn stop(self) -> Option<Report> {
        let begun = Instant::now();
        self.status.set_stopping();
        self.reader.stop();
        self.local.stop();
        // It fails only if `calls` has died; then there is nothing to drain, and no report.
        let _ = self.inbox.send(Incoming::Drain(begun + DRAIN_MAX));
        let report = self.report.recv_deadline(begun + DRAIN_MAX + Duration::from_millis(500)).ok();
        // Its jobs end with `calls`; what a worker still waits for is cut.
        self.cutters.into_iter().for_each(Cutter::cut);
        self.tokens.cut();
        // Nobody ever sends: this returns when the last thread has let go of its sender.
        if self.alive.recv_deadline(begun + STOP_MAX) == Err(RecvTimeoutError::Timeout) {
            warn!("a thread did not come back in time and is left behind");
        }
        if let Some(Report { left, is_kept, .. }) = report {
            tell_what_is_left(left, is_kept);
        }
        report
    }
}

fn tell_what_is_left(left: crate::engine::Summary, is_kept: bool) {
    match (left.waiting, left.parked) {
        (0, 0) => info!("every update was acknowledged"),
        (waiting, parked) if is_kept => {
            info!(waiting, parked; "updates were not acknowledged: they go on after the next start")
        }
        (waiting, parked) => warn!(waiting, parked; "updates were not acknowledged and are lost"),
    }
    if left.calls > 0 && is_kept {
        info!(calls = left.calls; "calls were in progress: they go on after the next start");
    } else if left.calls > 0 {
        warn!(calls = left.calls; "calls were in progress: their walks are lost");
    }
}

struct Threads {
    causes: Sender<Cause>,
    alive: Sender<()>,
}

impl Threads {
    fn spawn(&self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let leaving =
            Leaving { name: name.to_owned(), causes: self.causes.clone(), _alive: self.alive.clone() };
        spawn_unwatched(name, move || {
            let _leaving = leaving;
            body();
        })
    }
}

/// Starts a thread that nobody waits for: one that may hang in a call without a way out.
pub(crate) fn spawn_unwatched(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(body)
        .map(drop)
        .map_err(|source| Error::System { what: "cannot start a thread", source })
}

/// Tells the service's owner however a thread ends, by return or by panic.
struct Leaving {
    name: String,
    causes: Sender<Cause>,
    _alive: Sender<()>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if thread::panicking() {
            error!("the thread `{}` panicked", self.name);
        }
        // Where it is full, enough causes wait.
        let _ = self.causes.try_send(Cause::ThreadLeft(std::mem::take(&mut self.name)));
    }
}

/// Turns SIGTERM, SIGINT and SIGHUP into causes. A second SIGTERM or SIGINT ends the process at once.
///
/// # Errors
///
/// Returns why the signals can't be caught.
pub fn watch_signals(causes: Sender<Cause>) -> Result<(), Error> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|source| Error::System { what: "cannot catch signals", source })?;
    spawn_unwatched("signals", move || {
        let mut stopping = false;
        for signal in signals.forever() {
            if signal == SIGHUP {
                let _ = causes.try_send(Cause::Reload);
            } else if std::mem::replace(&mut stopping, true) {
                warn!("a second signal: leaving at once, what is not kept by now is lost");
                crate::observe::log::flush_within(LAST_WORDS_MAX);
                std::process::exit(128 + signal);
            } else {
                let _ = causes.try_send(Cause::Stop);
                info!("stopping; a second signal leaves at once");
            }
        }
    })
}

/// Returns a number that no other process has: for jitter, where nobody gains by guessing.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}
