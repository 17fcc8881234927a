//! Settings: flags over the environment over defaults (SPEC.md section 3). All problems are told at once.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::engine::Reach;
use crate::error::Error;
use crate::local::Listen;
use crate::observe::log::Format;
use crate::store::{self, Durability};
use crate::tenant::{Kind, Proxy, Secret, Url};

/// How many workers there are unless told otherwise, and the most there may be: a tenant that answers
/// in a second must not cap us at a few updates a second, and each costs a connection.
const WORKERS_MAX: usize = 32;
/// How many calls may be in progress unless told otherwise.
const CALLS_MAX: usize = 200_000;
/// The most that may be asked for: some 400 bytes a call.
const CALLS_LIMIT: usize = 10_000_000;
/// A secret or a token is at most this long; a file that is longer is not one.
const SECRET_MAX: u64 = 64 * 1024;

/// Where the local API listens unless told otherwise: the seed's port, on loopback.
pub const LISTEN: &str = "127.0.0.1:8080";
/// Where state is kept unless told otherwise, and systemd names no directory.
const STATE: &str = "./state";
/// Where the tree is unless told otherwise.
pub const TREE: &str = "ivr.json";

/// The flags of every command that runs the service.
#[derive(Args, Clone, Default, Debug)]
pub struct Flags {
    /// The tree [env: DTMFD_IVR] [default: ivr.json]
    #[arg(long, value_name = "FILE")]
    pub ivr: Option<String>,
    /// Where the local API listens: HOST:PORT or unix:PATH [env: DTMFD_LISTEN] [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// A file with the token that the API asks for off loopback [env: DTMFD_API_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    pub api_token_file: Option<String>,
    /// How many requests to the tenant at once, 1 to 32 [env: DTMFD_WORKERS] [default: 32]
    #[arg(long, value_name = "N")]
    pub workers: Option<String>,
    /// How many calls in progress at most [env: DTMFD_MAX_CALLS] [default: 200000]
    #[arg(long, value_name = "N")]
    pub max_calls: Option<String>,
    /// What POST /simulator may do: on, off, dry or live [env: DTMFD_SIMULATOR] [default: on]
    #[arg(long, value_name = "MODE")]
    pub simulator: Option<String>,
    /// Where calls and updates are kept: DIR, or `none` [env: DTMFD_STATE] [default: $STATE_DIRECTORY, else ./state]
    #[arg(long, value_name = "DIR")]
    pub state: Option<OsString>,
    /// What they survive: power (a power cut), process (kill -9) [env: DTMFD_DURABILITY] [default: power]
    #[arg(long, value_name = "WHAT")]
    pub durability: Option<String>,
    /// What is logged: off, error, warn, info or debug [env: DTMFD_LOG] [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// How it is written: auto, human, json or journald [env: DTMFD_LOG_FORMAT] [default: auto]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Show pressed digits in debug logs; those of masked nodes never
    #[arg(long)]
    pub log_digits: bool,
}

/// The flags of every command that asks a running daemon.
#[derive(Args, Clone, Default, Debug)]
pub struct ApiFlags {
    /// Where the daemon's local API listens: HOST:PORT or unix:PATH [env: DTMFD_LISTEN] [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", global = true)]
    pub listen: Option<String>,
    /// A file with the token that it asks for off loopback [env: DTMFD_API_TOKEN_FILE]
    #[arg(long, value_name = "FILE", global = true)]
    pub api_token_file: Option<String>,
}

/// The flags that say whose service it is.
#[derive(Args, Clone, Default, Debug)]
pub struct TenantFlags {
    /// The tenant, as in TENANT.cxone.com [env: CXONE_TENANT]
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// The OAuth client; its secret is CXONE_CLIENT_SECRET or a file, never a flag [env: CXONE_CLIENT_ID]
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// The REST API [env: CXONE_API_URL] [default: `https://TENANT.cxone.com`]
    #[arg(long, value_name = "URL")]
    pub api_url: Option<String>,
    /// Where tokens come from [env: CXONE_OAUTH_URL] [default: API-URL/oauth/token]
    #[arg(long, value_name = "URL")]
    pub oauth_url: Option<String>,
    /// The voice WebSocket [env: CXONE_WS_URL] [default: API-URL/api/v2/voice/websocket]
    #[arg(long, value_name = "URL")]
    pub ws_url: Option<String>,
    /// A PEM file of CAs to trust beside the system's [env: CXONE_CA_FILE]
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<String>,
    /// An HTTP proxy on the way to the tenant, "" for none [env: HTTPS_PROXY; NO_PROXY lists hosts reached without]
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
}

/// What the service runs by.
#[derive(Debug)]
pub struct Config {
    /// Whose service it is.
    pub tenant: Tenant,
    /// The tree's file.
    pub ivr: PathBuf,
    /// Where the local API listens.
    pub listen: Listen,
    /// What the API asks for off loopback.
    pub api_token: Option<Secret>,
    /// How many requests to the tenant at once.
    pub workers: usize,
    /// How many calls in progress at most.
    pub calls_max: usize,
    /// What the simulator may do; `None` turns it off.
    pub simulator: Option<Reach>,
    /// Where state is kept, and how well; `None` keeps it in memory.
    pub state: Option<store::Settings>,
    /// Whether debug logs show digits.
    pub log_digits: bool,
}

/// Whose service it is.
#[derive(Debug)]
pub struct Tenant {
    /// The OAuth client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    /// The REST API.
    pub api_url: Url,
    /// Where tokens come from.
    pub oauth_url: Url,
    /// The voice WebSocket.
    pub ws_url: Url,
    /// CAs to trust beside the system's, as PEM.
    pub ca: Option<Vec<u8>>,
    /// The proxy on the way there.
    pub proxy: Option<Proxy>,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug)]
pub struct LogSettings {
    /// What is logged.
    pub level: log::LevelFilter,
    /// How it is written.
    pub format: Format,
}

/// Where settings come from.
pub struct Settings<'a> {
    /// Looks a variable of the environment up.
    env: &'a dyn Fn(&str) -> Option<OsString>,
    problems: Vec<String>,
}

impl<'a> Settings<'a> {
    /// Returns settings that fall back on `env`. An empty variable counts as not set.
    pub fn new(env: &'a dyn Fn(&str) -> Option<OsString>) -> Settings<'a> {
        Settings { env, problems: Vec::new() }
    }

    /// Adds a problem that is no setting's own, to be told with the others.
    pub fn add_problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Returns whether there were problems.
    pub fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Returns `value`, unless there were problems.
    ///
    /// # Errors
    ///
    /// Returns every problem there was.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Error> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            Some(_) | None => Err(Error::Settings(self.problems)),
        }
    }

    /// Reads what is logged, and how.
    pub fn log(&mut self, flags: &Flags) -> Option<LogSettings> {
        let level = self.read(flags.log.as_deref(), "DTMFD_LOG", "--log", |text| match text {
            "off" | "error" | "warn" | "info" | "debug" => text.parse().map_err(|_| String::from("no level")),
            _ => Err("it must be off, error, warn, info or debug".to_owned()),
        });
        let format = self.read(flags.log_format.as_deref(), "DTMFD_LOG_FORMAT", "--log-format", |text| {
            text.parse().map_err(|_| "it must be auto, human, json or journald".to_owned())
        });
        Some(LogSettings {
            level: level?.unwrap_or(log::LevelFilter::Info),
            format: format?.unwrap_or(Format::Auto),
        })
    }

    /// Reads everything but whose service it is.
    pub fn service(&mut self, flags: &Flags, tenant: Option<Tenant>) -> Option<Config> {
        let api = self.api(flags.listen.as_deref(), flags.api_token_file.as_deref());
        let workers = self.read(flags.workers.as_deref(), "DTMFD_WORKERS", "--workers", |text| {
            number(text, 1, WORKERS_MAX)
        });
        let calls_max = self.read(flags.max_calls.as_deref(), "DTMFD_MAX_CALLS", "--max-calls", |text| {
            number(text, 1, CALLS_LIMIT)
        });
        let simulator = self.read(flags.simulator.as_deref(), "DTMFD_SIMULATOR", "--simulator", |text| {
            Ok(match text {
                "on" => Some(Reach::Own),
                "dry" => Some(Reach::Dry),
                "live" => Some(Reach::Live),
                "off" => None,
                _ => return Err("it must be on, off, dry or live".to_owned()),
            })
        });
        let durability =
            self.read(flags.durability.as_deref(), "DTMFD_DURABILITY", "--durability", |text| match text {
                "power" => Ok(Durability::Power),
                "process" => Ok(Durability::Process),
                _ => Err("it must be power or process".to_owned()),
            });
        let directory = self.state(flags);
        let (listen, api_token) = api?;
        let durability = durability?.unwrap_or_default();
        if !listen.is_loopback() && api_token.is_none() {
            self.problems.push(format!(
                "DTMFD_LISTEN (--listen) is `{listen}`, which others can reach: that takes an API token in \
                 DTMFD_API_TOKEN_FILE (--api-token-file) or the credential api_token"
            ));
            return None;
        }
        Some(Config {
            tenant: tenant?,
            ivr: self.ivr(flags),
            listen,
            api_token,
            workers: workers?.unwrap_or(WORKERS_MAX),
            calls_max: calls_max?.unwrap_or(CALLS_MAX),
            simulator: simulator?.unwrap_or(Some(Reach::Own)),
            state: directory.map(|directory| store::Settings { directory, durability }),
            log_digits: flags.log_digits,
        })
    }

    /// Reads where the local API listens, and the token that it asks for off loopback.
    pub fn api(
        &mut self,
        listen: Option<&str>,
        token_file: Option<&str>,
    ) -> Option<(Listen, Option<Secret>)> {
        let listen = self.read(listen, "DTMFD_LISTEN", "--listen", |text| {
            text.parse::<Listen>().map_err(|error| error.to_string())
        });
        let token_file =
            self.read(token_file, "DTMFD_API_TOKEN_FILE", "--api-token-file", |path| secret_of(path));
        let api_token = match token_file {
            Some(None) => self.credential("api_token"),
            given => given,
        };
        let listen = listen?.unwrap_or_else(|| LISTEN.parse().expect("the default is an address"));
        Some((listen, api_token?))
    }

    /// Returns the tree's file.
    pub fn ivr(&self, flags: &Flags) -> PathBuf {
        self.given_ivr(flags).unwrap_or_else(|| TREE.into())
    }

    /// Returns the tree's file if one was named.
    pub fn given_ivr(&self, flags: &Flags) -> Option<PathBuf> {
        // A path need not be UTF-8.
        flags.ivr.as_ref().map(PathBuf::from).or_else(|| self.variable("DTMFD_IVR").map(PathBuf::from))
    }

    /// Returns the state directory; `None` if state is kept in memory.
    fn state(&self, flags: &Flags) -> Option<PathBuf> {
        // Empty counts as not set, and a path need not be UTF-8.
        let given =
            flags.state.clone().filter(|path| !path.is_empty()).or_else(|| self.variable("DTMFD_STATE"));
        // systemd joins several with colons; the first is ours.
        let systemd = || {
            let all = self.variable("STATE_DIRECTORY")?;
            all.as_bytes().split(|&byte| byte == b':').next().map(|path| OsStr::from_bytes(path).to_owned())
        };
        let path = given.or_else(systemd).unwrap_or_else(|| STATE.into());
        (path != "none").then(|| path.into())
    }

    /// Returns whether it was said where state is kept.
    pub fn has_state(&self, flags: &Flags) -> bool {
        flags.state.is_some() || self.variable("DTMFD_STATE").is_some()
    }

    /// Returns whether the local API's address was named.
    pub fn has_listen(&self, flags: &Flags) -> bool {
        flags.listen.is_some() || self.variable("DTMFD_LISTEN").is_some()
    }

    /// Reads whose service it is.
    pub fn tenant(&mut self, flags: &TenantFlags) -> Option<Tenant> {
        let tenant = self.read(flags.tenant.as_deref(), "CXONE_TENANT", "--tenant", |text| {
            // It becomes a label of a host name: RFC 1035 section 2.3.1.
            let good = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            let fits = (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-');
            if good && fits {
                Ok(text.to_owned())
            } else {
                Err("it is 1 to 63 letters, digits and `-`, which it neither begins nor ends with".to_owned())
            }
        });
        let tenant = self.required(tenant, "CXONE_TENANT", "--tenant", "the NAME in https://NAME.cxone.com");
        let client_id = self.read(flags.client_id.as_deref(), "CXONE_CLIENT_ID", "--client-id", |text| {
            match text.trim() {
                "" => Err("it is blank".to_owned()),
                _ => Ok(text.to_owned()),
            }
        });
        let client_id = self.required(
            client_id,
            "CXONE_CLIENT_ID",
            "--client-id",
            "the id of an OAuth client of the tenant",
        );
        let client_secret = self.client_secret();
        let given = |kind| move |text: &str| Url::parse(text, kind).map_err(|error| error.to_string());
        let api_url = self.read(flags.api_url.as_deref(), "CXONE_API_URL", "--api-url", given(Kind::Http));
        let oauth_url =
            self.read(flags.oauth_url.as_deref(), "CXONE_OAUTH_URL", "--oauth-url", given(Kind::Http));
        let ws_url = self.read(flags.ws_url.as_deref(), "CXONE_WS_URL", "--ws-url", given(Kind::WebSocket));
        let ca = self.read(flags.ca_file.as_deref(), "CXONE_CA_FILE", "--ca-file", |path| {
            let pem = read_bounded(Path::new(path)).map_err(|error| format!("it can't be read: {error}"))?;
            crate::tenant::Tls::new(Some(&pem)).map_err(|error| error.to_string())?;
            Ok(pem)
        });
        let proxy = self.proxy(flags.proxy.as_deref());
        let api_url = match api_url? {
            Some(url) => url,
            None => Url::parse(&format!("https://{}.cxone.com", tenant.as_ref()?), Kind::Http)
                .expect("the tenant's name is a label of a host name"),
        };
        tenant?;
        Some(Tenant {
            client_id: client_id?,
            client_secret: client_secret?,
            oauth_url: oauth_url?.unwrap_or_else(|| api_url.join("/oauth/token")),
            ws_url: ws_url?.unwrap_or_else(|| api_url.to_websocket("/api/v2/voice/websocket")),
            ca: ca?,
            proxy: proxy?,
            api_url,
        })
    }

    /// Reads the proxy, and the hosts that are reached without it. As with curl, names in lower case go first.
    fn proxy(&mut self, flag_value: Option<&str>) -> Option<Option<Proxy>> {
        let either = |lower, upper| if self.variable(lower).is_some() { lower } else { upper };
        let variable = either("https_proxy", "HTTPS_PROXY");
        let list = either("no_proxy", "NO_PROXY");
        let proxy = self.read(flag_value, variable, "--proxy", |text| match text {
            "" => Ok(None),
            _ if flag_value.is_some() && text.contains('@') => Err(format!(
                "every process can read a flag, so that a user and password go into {variable} only"
            )),
            _ => Proxy::parse(text).map(Some).map_err(|error| error.to_string()),
        });
        let Some(proxy) = proxy?.flatten() else { return Some(None) };
        let list = self.env(list, "never a flag")?.unwrap_or_default();
        Some(Some(proxy.except(&list)))
    }

    fn client_secret(&mut self) -> Option<Secret> {
        if let Some(secret) = self.credential("client_secret")? {
            return Some(secret);
        }
        let path = self.env("CXONE_CLIENT_SECRET_FILE", "never a flag")?;
        let secret = self.env("CXONE_CLIENT_SECRET", "never a flag")?;
        let problem = match (path, secret) {
            (Some(path), _) => match secret_of(&path) {
                Ok(secret) => return Some(secret),
                Err(error) => {
                    let shown = path.escape_debug();
                    format!("CXONE_CLIENT_SECRET_FILE (never a flag) is `{shown}`: {error}")
                }
            },
            (None, Some(secret)) => match secret_in(&secret) {
                Ok(secret) => return Some(secret),
                Err(error) => format!("CXONE_CLIENT_SECRET (never a flag): {error}"),
            },
            (None, None) => {
                "CXONE_CLIENT_SECRET (never a flag) is missing: the OAuth client's secret, or its \
                             file in CXONE_CLIENT_SECRET_FILE"
                    .to_owned()
            }
        };
        self.problems.push(problem);
        None
    }

    /// Reads a credential that systemd handed over, if it did.
    fn credential(&mut self, name: &str) -> Option<Option<Secret>> {
        let Some(directory) = self.variable("CREDENTIALS_DIRECTORY") else { return Some(None) };
        let path = Path::new(&directory).join(name);
        if !path.exists() {
            return Some(None);
        }
        match secret_of(&path) {
            Ok(secret) => Some(Some(secret)),
            Err(error) => {
                self.problems.push(format!("the credential `{name}` (CREDENTIALS_DIRECTORY): {error}"));
                None
            }
        }
    }

    /// Reads a setting: `None` if it is wrong, `Some(None)` if it was not given.
    fn read<T>(
        &mut self,
        flag_value: Option<&str>,
        variable: &str,
        flag: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let text = match flag_value {
            Some(text) => text.to_owned(),
            None => match self.env(variable, flag)? {
                Some(text) => text,
                None => return Some(None),
            },
        };
        match parse(&text) {
            Ok(value) => Some(Some(value)),
            Err(error) => {
                let shown = without_password(&text).escape_debug().to_string();
                self.problems.push(format!("{variable} ({flag}) is `{shown}`: {error}"));
                None
            }
        }
    }

    fn required<T>(&mut self, value: Option<Option<T>>, variable: &str, flag: &str, what: &str) -> Option<T> {
        let value = value?;
        if value.is_none() {
            self.problems.push(format!("{variable} ({flag}) is missing: {what}"));
        }
        value
    }

    /// Returns a variable's text: `None` if it is none, `Some(None)` if the variable is not set.
    fn env(&mut self, variable: &str, flag: &str) -> Option<Option<String>> {
        let Some(value) = self.variable(variable) else { return Some(None) };
        match value.into_string() {
            Ok(text) => Some(Some(text)),
            Err(_) => {
                self.problems.push(format!("{variable} ({flag}) holds bytes that are no UTF-8"));
                None
            }
        }
    }

    fn variable(&self, variable: &str) -> Option<OsString> {
        (self.env)(variable).filter(|value| !value.is_empty())
    }
}

/// Returns a text without what might be a password in it: what stands before the `@` of an address.
fn without_password(text: &str) -> String {
    let Some((before, after)) = text.rsplit_once('@') else { return text.to_owned() };
    match before.split_once("://") {
        // An address may come without its scheme; then all of it may be a user and a password.
        Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            format!("{scheme}://…@{after}")
        }
        Some(_) | None => format!("…@{after}"),
    }
}

fn number(text: &str, least: usize, greatest: usize) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (least..=greatest).contains(number))
        .ok_or_else(|| format!("it must be a whole number from {least} to {greatest}"))
}

fn secret_of(path: impl AsRef<Path>) -> Result<Secret, String> {
    let bytes = read_bounded(path.as_ref()).map_err(|error| format!("it can't be read: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|_| "it holds bytes that are no UTF-8".to_owned())?;
    secret_in(&text)
}

fn secret_in(text: &str) -> Result<Secret, String> {
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.trim().is_empty() { Err("it is blank".to_owned()) } else { Ok(Secret::new(secret.to_owned())) }
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::{Error, ErrorKind, Read};
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(16 * SECRET_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > 16 * SECRET_MAX {
        return Err(Error::new(ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(env: &[(&str, &str)], tenant: &TenantFlags, flags: &Flags) -> Vec<String> {
        let look_up =
            |name: &str| env.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).into());
        let mut settings = Settings::new(&look_up);
        let tenant = settings.tenant(tenant);
        let config = settings.service(flags, tenant);
        match settings.finish(config) {
            Ok(_) => Vec::new(),
            Err(Error::Settings(problems)) => problems,
            Err(other) => panic!("{other}"),
        }
    }

    const GOOD: [(&str, &str); 3] =
        [("CXONE_TENANT", "acme"), ("CXONE_CLIENT_ID", "id"), ("CXONE_CLIENT_SECRET", "secret")];

    #[test]
    fn every_problem_is_told_at_once_and_names_variable_and_flag() {
        let flags = Flags { workers: Some("33".to_owned()), ..Flags::default() };
        let env =
            [("DTMFD_SIMULATOR", "maybe"), ("CXONE_API_URL", "http://tenant.example"), ("DTMFD_LISTEN", "x")];
        let told = problems(&env, &TenantFlags::default(), &flags);
        for (variable, flag) in [
            ("CXONE_TENANT", "--tenant"),
            ("CXONE_CLIENT_ID", "--client-id"),
            ("CXONE_CLIENT_SECRET", "never a flag"),
            ("CXONE_API_URL", "--api-url"),
            ("DTMFD_LISTEN", "--listen"),
            ("DTMFD_WORKERS", "--workers"),
            ("DTMFD_SIMULATOR", "--simulator"),
        ] {
            let named = format!("{variable} ({flag})");
            assert_eq!(
                1,
                told.iter().filter(|problem| problem.starts_with(&named)).count(),
                "{named} in {told:#?}"
            );
        }
        assert_eq!(7, told.len(), "{told:#?}");
    }

    #[test]
    fn three_settings_are_enough() {
        assert_eq!(Vec::<String>::new(), problems(&GOOD, &TenantFlags::default(), &Flags::default()));
    }

    #[test]
    fn a_listener_that_others_can_reach_takes_a_token() {
        let flags = Flags { listen: Some("0.0.0.0:8080".to_owned()), ..Flags::default() };
        let told = problems(&GOOD, &TenantFlags::default(), &flags);
        assert!(told.len() == 1 && told[0].contains("DTMFD_API_TOKEN_FILE"), "{told:#?}");
    }

    #[test]
    fn a_tenant_is_a_name_and_nothing_that_changes_the_host() {
        for name in ["acme.evil.example/", "a b", "ä", "acme#", "", "-", "a-", &"a".repeat(64)] {
            let flags = TenantFlags { tenant: Some(name.to_owned()), ..TenantFlags::default() };
            let told = problems(&GOOD, &flags, &Flags::default());
            assert!(told.len() == 1 && told[0].starts_with("CXONE_TENANT (--tenant)"), "{name}: {told:#?}");
        }
    }

    #[test]
    fn what_is_no_utf_8_is_a_problem_and_not_a_default() {
        use std::os::unix::ffi::OsStringExt as _;
        let look_up = |name: &str| match name {
            "CXONE_API_URL" => Some(OsString::from_vec(b"http://127.0.0.1:9/\xff".to_vec())),
            _ => GOOD.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).into()),
        };
        let mut settings = Settings::new(&look_up);
        let tenant = settings.tenant(&TenantFlags::default());
        let Err(Error::Settings(told)) = settings.finish(tenant) else { panic!("it is a problem") };
        assert_eq!(vec!["CXONE_API_URL (--api-url) holds bytes that are no UTF-8"], told);
    }

    #[test]
    fn a_password_in_an_address_is_not_told() {
        let env = [GOOD[0], GOOD[1], GOOD[2], ("CXONE_API_URL", "https://user:HUSH@example.com/")];
        let told = problems(&env, &TenantFlags::default(), &Flags::default());
        assert!(told.len() == 1 && !told[0].contains("HUSH") && told[0].contains("example.com"), "{told:#?}");
    }
}
