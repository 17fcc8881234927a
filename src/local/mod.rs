//! The local API: `curl`, health checks and, later, the live page.
//!
//! ```text
//! clients ─▶ gate (bounds, deadlines, strict reading) ─(private unix socket)─▶ tiny_http ─▶ api ─▶ inbox
//! ```

mod conn;
#[cfg(test)]
mod foreign;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gate;
mod guard;
mod head;
#[cfg(test)]
mod hostile;
mod lane;
mod listen;
#[cfg(test)]
mod noise;
mod plays;
mod problem;
mod request;
mod routes;
mod server;

use std::io;
use std::sync::Arc;

pub use gate::{Gate, GateHandle};
pub use listen::{BadListen, Listen};
pub use plays::Player;
pub use server::Api;

use crate::engine::Reach;
use crate::history::History;
use crate::inbox::Inbox;
use crate::observe::status::Status;
use conn::Timings;
use guard::Door;
use lane::Lane;
use listen::Listener;
use routes::Routes;

/// How the local API is to be.
pub struct Settings {
    /// Where to listen (`--listen`).
    pub listen: Listen,
    /// What others than this machine's processes have to show (`--api-token-file`); not asked for on
    /// loopback.
    pub api_token: Option<String>,
    /// What a simulated press may do (`--simulator`); `None` turns the simulator off.
    pub simulator: Option<Reach>,
    /// Where ended calls are found; `None` if nothing is kept.
    pub history: Option<Box<dyn History>>,
}

/// Why the local API cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address or the path is not to be had.
    #[error("cannot listen on {listen} (--listen, DTMFD_LISTEN)")]
    Listen {
        /// Where.
        listen: Listen,
        /// Why.
        source: io::Error,
    },
    /// Others can reach the address, and there is no token to know them by.
    #[error(
        "{listen} (--listen, DTMFD_LISTEN) can be reached from other machines: \
         set --api-token-file (DTMFD_API_TOKEN_FILE), or listen on 127.0.0.1"
    )]
    NoToken {
        /// Where.
        listen: Listen,
    },
    /// There is no place for the private socket.
    #[error(
        "cannot make a private directory for the local API in $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR or {}",
        std::env::temp_dir().display()
    )]
    Private {
        /// Why not in the last of them.
        source: io::Error,
    },
}

/// The local API, bound and not yet running.
pub struct Local {
    address: Listen,
    gate: Gate,
    api: Api,
    player: Player,
    stop: LocalStop,
}

/// Stops the local API.
#[derive(Clone, Debug)]
pub struct LocalStop(GateHandle);

impl LocalStop {
    /// Makes all threads end within about a second: the gate once it has finished the answers under
    /// way, `api` after it, and `presses` after that. To call it twice does nothing more.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl Local {
    /// Opens both sockets; starts no thread but tiny_http's own.
    ///
    /// # Errors
    ///
    /// Returns what is not to be had, and the setting that asked for it.
    pub fn bind(settings: Settings, inbox: Inbox, status: Arc<Status>) -> Result<Local, BindError> {
        Local::bind_with(settings, inbox, status, Timings::default())
    }

    fn bind_with(
        settings: Settings,
        inbox: Inbox,
        status: Arc<Status>,
        timings: Timings,
    ) -> Result<Local, BindError> {
        let Settings { listen, api_token, simulator, history } = settings;
        let failed = |source| BindError::Listen { listen: listen.clone(), source };
        let bad_token = || BindError::NoToken { listen: listen.clone() };
        Door::of(&listen, api_token.as_deref()).ok_or_else(bad_token)?; // Before anyone can connect.
        let listener = Listener::bind(&listen).map_err(failed)?;
        let address = listener.local().map_err(failed)?;
        let door = Door::of(&address, api_token.as_deref()).ok_or_else(bad_token)?;
        let lane = Arc::new(Lane::open().map_err(|source| BindError::Private { source })?);
        let (gate, handle) = Gate::new(listener, Arc::clone(&lane), timings).map_err(failed)?;
        let (plays, player) = plays::plays(inbox.clone());
        let api = Api { lane, routes: Routes { door, inbox, status, simulator, plays, history } };
        Ok(Local { address, gate, api, player, stop: LocalStop(handle) })
    }

    /// Returns where it listens, with the port that the system chose where 0 was asked for.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Returns what the threads `gate`, `api` and `presses` run, and what stops them.
    pub fn into_parts(self) -> (Gate, Api, Player, LocalStop) {
        (self.gate, self.api, self.player, self.stop)
    }
}
