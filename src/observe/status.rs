//! How the links stand: written by the threads that hold them, read by `/readyz`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::engine::{Endpoint, Keeping};

/// How the links stand. Each thread writes its own part when it changes, never per event.
#[derive(Debug)]
pub struct Status {
    parts: Mutex<Parts>,
}

#[derive(Clone, Debug)]
struct Parts {
    websocket: Link,
    token: Link,
    token_until: Option<Instant>,
    updates: Endpoint,
    full: Option<&'static str>,
    /// Why the state can't be kept, if it can't.
    keeping: Option<String>,
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
            token_until: None,
            updates: Endpoint::Up,
            full: None,
            keeping: None,
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

    /// Says when the token that there is expires.
    pub fn set_token_until(&self, until: Instant) {
        self.parts().token_until = Some(until);
    }

    /// Says how the endpoint of the updates stands.
    pub fn set_updates(&self, endpoint: Endpoint) {
        self.parts().updates = endpoint;
    }

    /// Says what there is no more room for, if anything.
    pub fn set_full(&self, what: Option<&'static str>) {
        self.parts().full = what;
    }

    /// Says how keeping the state goes, and why not well.
    pub fn set_keeping(&self, keeping: Keeping, why: &str) {
        self.parts().keeping = match keeping {
            Keeping::Well => None,
            Keeping::Slow => Some("the disk takes longer than 5 s".to_owned()),
            Keeping::Failing => Some(why.to_owned()),
        };
    }

    /// Says that the service is leaving.
    pub fn set_stopping(&self) {
        self.parts().stopping = true;
    }

    /// Returns every link in words, and whether it is well at `now`: the lines of `/readyz?verbose`.
    pub fn lines(&self, now: Instant) -> Vec<(bool, String)> {
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
        let has_expired = parts.token == Link::Up && parts.token_until.is_some_and(|until| until <= now);
        let token = if has_expired { Link::Down("expired".to_owned()) } else { parts.token };
        let mut lines = vec![
            link("token", &token),
            link("websocket", &parts.websocket),
            (updates.0, format!("updates: {}", updates.1)),
        ];
        if let Some(what) = parts.full {
            lines.push((false, format!("room: no more room for {what}, new calls are refused")));
        }
        if let Some(why) = parts.keeping {
            lines.push((false, format!("state: not kept, calls go on in memory: {why}")));
        }
        if parts.stopping {
            lines.push((false, "stopping".to_owned()));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_token_that_nobody_renewed_is_not_well() {
        let status = Status::default();
        let start = Instant::now();
        let token = |ms| status.lines(start + Duration::from_millis(ms)).remove(0);
        status.set_token(Link::Up);
        status.set_token_until(start + Duration::from_millis(10));
        assert_eq!((true, "token: up".to_owned()), token(9));
        assert_eq!((false, "token: expired".to_owned()), token(10));
        status.set_token_until(start + Duration::from_millis(20));
        assert_eq!((true, "token: up".to_owned()), token(10));
        status.set_token(Link::Down("it is gone".to_owned()));
        assert_eq!((false, "token: it is gone".to_owned()), token(30), "the better reason");
    }
}
