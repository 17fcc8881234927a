//! What both directions need of the tenant: addresses, the way to them, and the token.
//!
//! [`Net::dial`] is the only way out of dtmfd: REST ([`agent`]), the token and the WebSocket go through it, so that
//! they share one name lookup, one trust store and one set of deadlines.

mod agent;
mod dial;

mod resolver;
mod secret;
mod socket;
#[cfg(test)]
pub(crate) mod stand_in;
mod tls;

mod url;

pub use agent::{Limits, Unanswered, agent, agent_within};
pub use dial::{DialError, Net};
pub use resolver::{Lookups, ResolveError, Resolver, resolver};
pub use secret::Secret;
pub use socket::{Socket, Stream};
pub use tls::{Tls, TlsError};
pub use url::{Kind, Url, UrlError};
