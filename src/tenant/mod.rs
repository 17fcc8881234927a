//! What both directions need of the tenant: addresses, the way to them, and the token.
//!
//! [`Net::dial`] is the only way out of dtmfd: REST ([`agent()`]), the token and the WebSocket go through it, so that
//! they share one name lookup, one proxy, one trust store and one set of deadlines.

mod agent;
mod dial;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod oauth;
mod policy;
mod proxy;
mod resolver;
mod retry_after;
mod secret;
mod socket;
#[cfg(test)]
pub(crate) mod stand_in;
mod tls;
mod token;
mod tunnel;
mod url;

pub(crate) use agent::NoLookup;
pub use agent::{Limits, Unanswered, agent, agent_within};
pub use dial::{DialError, Hop, Net};
pub use policy::{Next, Token, TokenPolicy};
pub use proxy::{Proxy, ProxyUrlError};
pub use resolver::{Lookups, ResolveError, Resolver, resolver};
pub use retry_after::retry_after_ms;
pub use secret::Secret;
pub use socket::{Socket, Stream};
pub use tls::{Tls, TlsError};
pub use token::{NoToken, Tokens};
pub use tunnel::NoTunnel;
pub use url::{Kind, Url, UrlError};
