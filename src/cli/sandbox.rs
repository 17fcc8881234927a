//! `dtmfd sandbox`: the real service against a stand-in tenant in the same process.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use crossbeam_channel::{Receiver, bounded};
use log::{LevelFilter, info, warn};

use super::{environment, read_tree, walkable};
use crate::config::{Config, Flags, LISTEN, LogSettings, Settings, TREE, Tenant};
use crate::driver::CallEnd;
use crate::engine::{Answer, Ivr};
use crate::error::Error;
use crate::inbox::Ask;
use crate::local::Listen;
use crate::observe::log::{Format, Out, init, last_words};
use crate::press::{self, Step};
use crate::sandbox::{Callers, Fail, Faults, Post, PressSpec, Seen, StandIn, parse_duration};
use crate::serve::{Cause, Service, watch_signals};
use crate::tenant::{Kind, Secret, Url};
use crate::tree::{RAW, SAMPLE, SAMPLE_NAME, raw_variables};

/// How many ended calls may wait to be heard of: far more than a command line can press.
const ENDS_MAX: usize = 16_384;
/// How long the stand-in's WebSocket may take to open: it is on loopback.
const OPEN_MAX: Duration = Duration::from_secs(15);
/// How long variables may be on their way after the last call ended. Longer than the longest faults
/// that make sense.
const ARRIVE_MAX: Duration = Duration::from_secs(600);
/// How long who reads the journey may take for the end of it. A signal meanwhile has to wait as long, so
/// it is less than the 10 s it may take.
const READ_MAX: Duration = Duration::from_secs(8);
/// How long after a signal, when most of the 10 s may be over.
const HURRY: Duration = Duration::from_millis(200);
/// How often we look whether they have arrived.
const LOOK: Duration = Duration::from_millis(20);

/// The flags of `dtmfd sandbox`.
#[derive(Args, Debug)]
pub(super) struct Sandbox {
    /// Press digits on a call, 200 ms apart: 0-9 * # A-D, w and W pause, ~ waits for the deadline, ! hangs up;
    /// quote them, as in 'demo=~', or the shell makes something else of them
    #[arg(long, value_name = "CALL=DIGITS[:OUTCOME]", num_args = 1.., value_parser = script)]
    press: Vec<(PressSpec, Vec<Step>)>,
    /// Leave once every pressed call has ended: 0 if all went as asked, else 1
    #[arg(long, requires = "press")]
    exit: bool,
    /// Fail the first N requests of every update with STATUS, or the first of the run with 401
    #[arg(long, value_name = "STATUS:N|401")]
    fail: Vec<Fail>,
    /// Cut the WebSocket every so often, as in 20s
    #[arg(long, value_name = "EVERY", value_parser = parse_duration)]
    drop: Option<Duration>,
    /// Answer every request so late, as in 800ms
    #[arg(long, value_name = "DELAY", value_parser = parse_duration)]
    slow: Option<Duration>,
    #[command(flatten)]
    service: Flags,
}

fn script(text: &str) -> Result<(PressSpec, Vec<Step>), String> {
    let spec: PressSpec = text.parse().map_err(|error| format!("{error}"))?;
    crate::call_id::check(&spec.call).map_err(|error| format!("the call in `{text}`: {error}"))?;
    let steps = press::parse(&spec.digits).map_err(|error| format!("the digits in `{text}`: {error}"))?;
    Ok((spec, steps))
}

impl Sandbox {
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let mut settings = Settings::new(&environment);
        let log = self.log(&mut settings);
        let has_listen = settings.has_listen(&self.service);
        let has_state = settings.has_state(&self.service);
        let given = settings.given_ivr(&self.service);
        let config = settings.service(&self.service, Some(nobody()));
        let (mut config, log) = settings.finish(config.zip(log))?;
        let (name, ivr) = match given {
            Some(path) => (path.display().to_string(), read_tree(&path)?),
            None if has_tree() => (TREE.to_owned(), read_tree(Path::new(TREE))?),
            None => (SAMPLE_NAME.to_owned(), walkable(crate::tree::load(SAMPLE), SAMPLE_NAME, SAMPLE)?),
        };
        init(log.level, log.format, Out::Stdout)?;

        let (opened, open) = bounded(1);
        let faults = Faults { fail: self.fail, drop_every: self.drop, slow: self.slow };
        let raw = raw_variables(&ivr);
        let tenant = StandIn::start(faults, move |seen| {
            if seen == Seen::WebSocketOpened {
                let _ = opened.try_send(());
            }
            tell(seen, &raw);
        })
        .map_err(|source| Error::System { what: "cannot start the stand-in tenant", source })?;
        config.tenant = tenant_at(&tenant.url(), config.tenant);
        config.log_digits = true;
        // It is to be tried, not lived in: nothing of one run is in the next unless asked for.
        config.state = config.state.filter(|_| has_state);

        let (ends, ended) = bounded(ENDS_MAX);
        info!(tree = name, tenant:% = tenant.url(); "the sandbox: a stand-in tenant on this machine");
        let service = start(config, ivr, ends, has_listen)?;
        watch_signals(service.causes())?;
        let address = service.address();
        info!("press digits: curl -d '{{\"callId\":\"c1\",\"digit\":\"1\"}}' http://{address}/simulator");

        // Digits pressed before would wait for it, and then come all at once.
        let _ = open.recv_timeout(OPEN_MAX);
        let mut callers = Callers::new(self.press, Instant::now());
        let mut stopped = press_all(&mut callers, &tenant, &service, &ended)?;
        if stopped.is_none() && self.exit {
            stopped = wait_for_updates(&service);
        } else if stopped.is_none() {
            stopped = Some(wait_for_stop(&service));
        }
        // What is acknowledged while it stops has arrived as well.
        service.stop();
        let (pressed, complaints) = callers.verdict(&tenant);
        tenant.stop();
        match stopped {
            Some(Cause::ThreadLeft(name)) => Err(Error::ThreadDied(name)),
            _ if !self.exit => Ok(ExitCode::SUCCESS),
            _ => {
                let patience = if stopped.is_some() { HURRY } else { READ_MAX };
                Ok(verdict(pressed, &complaints, patience))
            }
        }
    }

    /// The journey is what the sandbox is for: unless told otherwise it shows every digit, for people.
    fn log(&self, settings: &mut Settings<'_>) -> Option<LogSettings> {
        let given = |flag: &Option<String>, variable| flag.is_some() || environment(variable).is_some();
        let mut log = settings.log(&self.service)?;
        if !given(&self.service.log, "DTMFD_LOG") {
            log.level = LevelFilter::Debug;
        }
        if !given(&self.service.log_format, "DTMFD_LOG_FORMAT") {
            log.format = Format::Human;
        }
        Some(log)
    }
}

/// Returns whether there is an `ivr.json`; one that can't be read, or a link to nowhere, is one as well.
fn has_tree() -> bool {
    !matches!(Path::new(TREE).symlink_metadata(), Err(error) if error.kind() == ErrorKind::NotFound)
}

/// Opens the service. Where nobody named an address and the usual one is taken, any other will do.
fn start(
    config: Config,
    ivr: Arc<Ivr>,
    ends: crossbeam_channel::Sender<CallEnd>,
    has_listen: bool,
) -> Result<Service, Error> {
    if !has_listen && std::net::TcpListener::bind(LISTEN).is_err() {
        warn!("{LISTEN} is taken: the local API takes another port");
        let listen: Listen = "127.0.0.1:0".parse().expect("an address");
        return Service::start(Config { listen, ..config }, ivr, Some(ends));
    }
    Service::start(config, ivr, Some(ends))
}

/// Lets everybody press and waits until their calls have ended; returns what came in between.
fn press_all(
    callers: &mut Callers,
    tenant: &StandIn,
    service: &Service,
    ended: &Receiver<CallEnd>,
) -> Result<Option<Cause>, Error> {
    loop {
        let next = callers
            .step(tenant, service.inbox(), ended)
            .map_err(|error| Error::System { what: "cannot press", source: io::Error::other(error) })?;
        let Some(next) = next else { return Ok(None) };
        if let Some(cause) = service.wait_until(next)
            && cause != Cause::Reload
        {
            return Ok(Some(cause));
        }
    }
}

/// Waits until nothing is on its way any more; returns what came in between.
fn wait_for_updates(service: &Service) -> Option<Cause> {
    let deadline = Instant::now() + ARRIVE_MAX;
    while Instant::now() < deadline {
        match service.inbox().ask(Ask::Summary, LOOK * 50) {
            Ok(Answer::Summary(summary)) if summary.waiting == 0 => return None,
            _ => (),
        }
        if let Some(cause) = service.wait_until(Instant::now() + LOOK)
            && cause != Cause::Reload
        {
            return Some(cause);
        }
    }
    None
}

fn wait_for_stop(service: &Service) -> Cause {
    loop {
        match service.wait() {
            Cause::Reload => warn!("the sandbox keeps its tree: start it again to load another"),
            cause @ (Cause::Stop | Cause::ThreadLeft(_)) => return cause,
        }
    }
}

/// Says what the stand-in saw, but for the values of the variables that are `raw`.
fn tell(seen: Seen, raw: &HashSet<Arc<str>>) {
    match seen {
        Seen::TokenAsked { status } => info!(status; "tenant: asked for a token"),
        Seen::WebSocketOpened => info!("tenant: the voice WebSocket is open"),
        Seen::WebSocketCut => warn!("tenant: cuts the voice WebSocket"),
        Seen::VariablesPosted(Post { interaction, attempt, status, variables, .. }) => {
            let mut written = String::new();
            for (name, value) in &variables {
                let value = if raw.contains(&**name) { RAW } else { value };
                written.push_str(&format!(" {name}={value}"));
            }
            info!(interaction, attempt, status; "tenant: variables{written}");
        }
    }
}

/// Says how it went, as the last line, and makes the exit code of it.
fn verdict(pressed: usize, complaints: &[String], patience: Duration) -> ExitCode {
    let calls = if pressed == 1 { "1 call".to_owned() } else { format!("{pressed} calls") };
    let (line, code) = match complaints {
        [] => (format!("ok: {calls} pressed, all ended as asked and their variables arrived"), 0),
        _ => (format!("failed: {}", complaints.join("; ")), 1),
    };
    last_words(Out::Stdout, &line, patience);
    ExitCode::from(code)
}

/// A tenant to be replaced by the stand-in once it listens.
fn nobody() -> Tenant {
    let url = |text: &str, kind| Url::parse(text, kind).expect("an address on loopback");
    Tenant {
        client_id: "sandbox".to_owned(),
        client_secret: Secret::new("sandbox".to_owned()),
        api_url: url("http://127.0.0.1:1", Kind::Http),
        oauth_url: url("http://127.0.0.1:1", Kind::Http),
        ws_url: url("ws://127.0.0.1:1", Kind::WebSocket),
        ca: None,
        proxy: None,
    }
}

fn tenant_at(url: &str, tenant: Tenant) -> Tenant {
    let api_url = Url::parse(url, Kind::Http).expect("the stand-in gives an address on loopback");
    Tenant {
        oauth_url: api_url.join("/oauth/token"),
        ws_url: api_url.to_websocket("/api/v2/voice/websocket"),
        api_url,
        ..tenant
    }
}
