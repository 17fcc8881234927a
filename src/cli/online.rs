//! `dtmfd check --online`: whether the tenant lets us in, as `run` would ask it.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::Tenant;
use crate::error::{Chain, Error};
use crate::inbound::connect::connect;
use crate::observe::status::Status;
use crate::serve::spawn_unwatched;
use crate::tenant::{Net, Tls, Tokens, Url, resolver};

/// How long the WebSocket may take to open: as long as `run` gives it.
const OPEN_MAX: Duration = Duration::from_secs(15);
/// A close frame without a reason, masked with zeros (RFC 6455 section 5.5.1).
const GOODBYE: [u8; 6] = [0x88, 0x80, 0, 0, 0, 0];
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// What the tenant was asked, and whether it worked.
#[derive(Debug)]
pub(super) struct Step {
    what: &'static str,
    url: Url,
    took: Duration,
    /// Why it did not work.
    pub(super) result: Result<(), String>,
}

impl Step {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "step": self.what,
            "url": self.url.to_string(),
            "ok": self.result.is_ok(),
            "tookMs": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "error": self.result.as_ref().err(),
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step { what, url, took, result } = self;
        match result {
            Ok(()) => write!(f, "online: {what}: ok after {} ms ({url})", took.as_millis()),
            Err(why) => write!(f, "online: {what}: failed ({url}): {why}"),
        }
    }
}

/// Fetches a token and opens the WebSocket once. Without a token there is no second step.
pub(super) fn probe(tenant: Tenant) -> Result<Vec<Step>, Error> {
    let tls = Tls::new(tenant.ca.as_deref())
        .map_err(|error| Error::Settings(vec![format!("CXONE_CA_FILE (--ca-file): {error}")]))?;
    let (names, lookups) = resolver();
    spawn_unwatched("resolver", move || lookups.run())?;
    let Tenant { client_id, client_secret, oauth_url, ws_url, proxy, .. } = tenant;
    let net = Net::new(names, tls).through(proxy);
    // It is asked once, so there are no random pauses to seed.
    let status = Arc::new(Status::default());
    let tokens = Tokens::new(&net, oauth_url.clone(), client_id, client_secret, status, 0);

    let began = Instant::now();
    let token = tokens.bearer();
    let result = token.as_ref().map(drop).map_err(|no_token| no_token.why.clone());
    let mut steps = vec![Step { what: "token", url: oauth_url, took: began.elapsed(), result }];
    if let Ok(token) = token {
        let began = Instant::now();
        let opened = connect(&ws_url, &net, &token.bearer, began + OPEN_MAX, &|_| ());
        let took = began.elapsed();
        let result = match opened {
            Ok(mut opened) => {
                // It worked; a tenant that doesn't hear the goodbye sees the connection close.
                let deadline = Instant::now() + GOODBYE_MAX;
                if opened.stream.set_deadline(Some(deadline)).is_ok() {
                    let _ = opened.stream.write_all(&GOODBYE).and_then(|()| opened.stream.flush());
                }
                Ok(())
            }
            Err(error) => Err(Chain(&error).to_string()),
        };
        steps.push(Step { what: "voice WebSocket", url: ws_url, took, result });
    }
    Ok(steps)
}
