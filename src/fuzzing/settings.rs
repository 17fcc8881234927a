//! What must hold of settings, whatever is set.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::config::{Flags, Settings, TenantFlags};
use crate::tenant::{Kind, Proxy, Url};

/// The client secret, and what `$P` before an `@` stands for: the password of an address.
const SECRET: &str = "canary_secret_71c0";
const PASSWORD: &str = "canary_password_9d2e";

/// Settings that name a file: any path could be one that never ends.
const FILES: [&str; 5] = [
    "CXONE_CLIENT_SECRET_FILE",
    "CXONE_CA_FILE",
    "DTMFD_API_TOKEN_FILE",
    "CREDENTIALS_DIRECTORY",
    "DTMFD_STATE",
];

/// Any bytes as lines of `NAME=value`, where names are those of the environment, or `--tenant` and its like.
///
/// What is accepted is within its bounds and sends credentials nowhere in the clear; a problem is one line that
/// shows no secret.
pub fn settings(bytes: &[u8]) {
    let mut lines: Vec<(String, Vec<u8>)> = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let Some(equals) = line.iter().position(|byte| *byte == b'=') else { continue };
        let (name, value) = (String::from_utf8_lossy(&line[..equals]).into_owned(), &line[equals + 1..]);
        let mut value = value.to_vec();
        if let (Some(place), Some(at)) =
            (value.windows(2).position(|two| two == b"$P"), value.iter().rposition(|byte| *byte == b'@'))
            && place < at
        {
            value.splice(place..place + 2, PASSWORD.bytes());
        }
        if FILES.contains(&name.as_str()) {
            value.splice(0..0, *b"/nonexistent/");
        }
        lines.push((name, value));
    }
    let named = |name: &str| lines.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
    let env = |name: &str| match name {
        "CXONE_CLIENT_SECRET" => Some(OsString::from(SECRET)),
        _ => named(name).map(OsString::from_vec),
    };
    let flag = |name: &str| named(name).map(|value| String::from_utf8_lossy(&value).into_owned());
    let whose = TenantFlags {
        tenant: flag("--tenant"),
        client_id: flag("--client-id"),
        api_url: flag("--api-url"),
        oauth_url: flag("--oauth-url"),
        ws_url: flag("--ws-url"),
        ca_file: None,
        proxy: flag("--proxy"),
    };
    let flags = Flags {
        listen: flag("--listen"),
        workers: flag("--workers"),
        max_calls: flag("--max-calls"),
        simulator: flag("--simulator"),
        log: flag("--log"),
        log_format: flag("--log-format"),
        ..Flags::default()
    };
    let mut settings = Settings::new(&env);
    let _ = settings.log(&flags);
    let tenant = settings.tenant(&whose);
    let config = settings.service(&flags, tenant);
    match settings.finish(config) {
        Ok(config) => {
            assert!((1..=32).contains(&config.workers) && (1..=10_000_000).contains(&config.calls_max));
            assert!(config.listen.is_loopback(), "no token was given: {}", config.listen);
            let tenant = &config.tenant;
            assert_eq!(SECRET, tenant.client_secret.reveal());
            url(&tenant.api_url, Kind::Http);
            url(&tenant.oauth_url, Kind::Http);
            url(&tenant.ws_url, Kind::WebSocket);
            if let Some(proxy) = &tenant.proxy {
                assert_eq!(
                    Ok(proxy.to_string()),
                    Proxy::parse(&proxy.to_string()).map(|proxy| proxy.to_string())
                );
            }
            // An address may have an `@` in its path, which is nobody's password.
            assert!(!format!("{config:?}").contains(SECRET));
            assert!(!format!("{:?}", tenant.proxy).contains(PASSWORD));
        }
        Err(error) => {
            let said = error.to_string();
            assert!(!said.contains(SECRET) && !said.contains(PASSWORD), "{said}");
            let lines = said.split('\n').all(|line| !line.contains(char::is_control));
            assert!(lines, "{said:?}");
        }
    }
}

/// An address is one that credentials may go to, and the same when it is read again.
fn url(url: &Url, kind: Kind) {
    let shown = url.to_string();
    assert_eq!(Ok(url), Url::parse(&shown, kind).as_ref(), "{shown}");
    let is_here = url.host() == "localhost" || url.host() == "::1" || url.host().starts_with("127.");
    assert!(
        url.is_secure() || is_here || url.host().parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    );
    assert!(shown.bytes().all(|byte| byte.is_ascii_graphic()) && !shown.contains('#'), "{shown}");
    let authority = url.authority();
    assert!(!authority.contains(['@', '/', '?']) && url.path().starts_with('/'), "{shown}");
}
