//! How the links stand: written by the threads that hold them, read by `/readyz`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engine::Endpoint;

/// How the links stand. Each thread writes its own part when it changes, never per event.
#[derive(Debug)]
pub struct Status {
    parts: Mutex<Parts>,
}

#[derive(Clone, Debug)]
struct Parts {
    websocket: Link,
    token: Link,
    updates: Endpoint,
    full: Option<&'static str>,
    stopping: bool,
}

/// A link to the tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Link {
    /// Not tried yet.
    Untried,
    /// It works.
    Up,
    /// It doesn't, and this is why.
    Down(String),
}

impl Default for Status {
    fn default() -> Status {
        let parts = Parts {
            websocket: Link::Untried,
            token: Link::Untried,
            updates: Endpoint::Up,
            full: None,
            stopping: false,
        };
        Status { parts: Mutex::new(parts) }
    }
}

impl Status {
    fn parts(&self) -> MutexGuard<'_, Parts> {
        // Every write is one assignment: what a panicking thread left is whole.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how the voice WebSocket stands.
    pub fn set_websocket(&self, link: Link) {
        self.parts().websocket = link;
    }

    /// Says how the tenant answers when asked for a token.
    pub fn set_token(&self, link: Link) {
        self.parts().token = link;
    }

    /// Says how the endpoint of the updates stands.
    pub fn set_updates(&self, endpoint: Endpoint) {
        self.parts().updates = endpoint;
    }

    /// Says what there is no more room for, if anything.
    pub fn set_full(&self, what: Option<&'static str>) {
        self.parts().full = what;
    }

    /// Says that the service is leaving.
    pub fn set_stopping(&self) {
        self.parts().stopping = true;
    }

    /// Returns every link in words, and whether it is well: the lines of `/readyz?verbose`.
    pub fn lines(&self) -> Vec<(bool, String)> {
        let parts = self.parts().clone();
        let link = |name: &str, link: &Link| match link {
            Link::Untried => (false, format!("{name}: not tried yet")),
            Link::Up => (true, format!("{name}: up")),
            Link::Down(why) => (false, format!("{name}: {why}")),
        };
        let updates = match parts.updates {
            Endpoint::Up => (true, "up"),
            Endpoint::Paused => (true, "the tenant asked for a pause"),
            Endpoint::Down => (false, "the tenant fails, one probe at a time"),
            Endpoint::Refusing => (
                false,
                "the tenant refuses our token: check the scopes voice:read, interactions:read, interactions:write",
            ),
            Endpoint::NoToken => (false, "there is no token to ask with"),
        };
        let mut lines = vec![
            link("token", &parts.token),
            link("websocket", &parts.websocket),
            (updates.0, format!("updates: {}", updates.1)),
        ];
        if let Some(what) = parts.full {
            lines.push((false, format!("room: no more room for {what}, new calls are refused")));
        }
        if parts.stopping {
            lines.push((false, "stopping".to_owned()));
        }
        lines
    }
}
