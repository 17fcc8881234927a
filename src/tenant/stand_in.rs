//! A stand-in for the tenant in tests: an HTTP server that notes what it is asked, over TLS too.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod, SslVersion};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Name, X509NameRef};

use super::{Kind, Net, Tls, Url, resolver};

/// How long anything in a test may take before it counts as stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Returns a way out that trusts the system's store.
pub(crate) fn net() -> Net {
    net_with(None)
}

/// Returns a way out that trusts this CA, too.
pub(crate) fn net_trusting(authority: &Authority) -> Net {
    net_with(Some(&authority.ca_pem()))
}

fn net_with(ca_pem: Option<&[u8]>) -> Net {
    let (resolver, lookups) = resolver();
    thread::spawn(move || lookups.run());
    Net::new(resolver, Tls::new(ca_pem).expect("a certificate"))
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// How many came before, over all connections.
    pub(crate) index: usize,
    /// `POST /path HTTP/1.1`.
    pub(crate) line: String,
    /// Names in lower case, in the order they came.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// What to answer.
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    closes: bool,
}

/// Returns an answer with this status and body.
pub(crate) fn answer(status: u16, body: &str) -> Reply {
    Reply { status, headers: Vec::new(), body: body.to_owned(), closes: false }
}

impl Reply {
    pub(crate) fn with(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Answers nothing and closes the connection.
    pub(crate) fn nothing() -> Reply {
        answer(0, "").then_close()
    }

    /// Closes the connection afterwards, without having said so.
    pub(crate) fn then_close(mut self) -> Reply {
        self.closes = true;
        self
    }
}

/// Holds a handler back until it is opened.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn wait(&self) {
        let is_shut = |open: &mut bool| !*open;
        drop(self.0.1.wait_timeout_while(self.0.0.lock().unwrap(), PATIENCE, is_shut).unwrap());
    }

    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

/// A server on loopback; its threads end with the test process.
pub(crate) struct StandIn {
    pub(crate) url: Url,
    notes: Arc<Notes>,
}

#[derive(Default)]
struct Notes {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Default)]
struct Counts {
    requests: Vec<Seen>,
    opened: usize,
    closed: usize,
}

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

impl StandIn {
    pub(crate) fn new(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> StandIn {
        StandIn::start(None, Arc::new(handler))
    }

    /// Speaks TLS 1.3, which sends session tickets after the handshake.
    pub(crate) fn over_tls(
        authority: &Authority,
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> StandIn {
        StandIn::start(Some(authority.certify("127.0.0.1").acceptor()), Arc::new(handler))
    }

    pub(crate) fn over_tls_1_2(
        authority: &Authority,
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> StandIn {
        let certified = authority.certify("127.0.0.1");
        StandIn::start(Some(certified.acceptor_up_to(SslVersion::TLS1_2)), Arc::new(handler))
    }

    fn start(acceptor: Option<SslAcceptor>, handler: Arc<Handler>) -> StandIn {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let address = listener.local_addr().expect("an address");
        let url = Url::parse(&format!("{scheme}://{address}"), Kind::Http).expect("a URL");
        let notes = Arc::new(Notes::default());
        let noting = Arc::clone(&notes);
        thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let (notes, handler, acceptor) =
                    (Arc::clone(&noting), Arc::clone(&handler), acceptor.clone());
                notes.change(|counts| counts.opened += 1);
                thread::spawn(move || {
                    match acceptor {
                        None => converse(tcp, &notes, &*handler),
                        Some(acceptor) => {
                            drop(acceptor.accept(tcp).map(|tls| converse(tls, &notes, &*handler)))
                        }
                    }
                    notes.change(|counts| counts.closed += 1);
                });
            }
        });
        StandIn { url, notes }
    }

    /// Returns what came, in order.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.notes.counts.lock().unwrap().requests.clone()
    }

    /// Returns how many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.notes.counts.lock().unwrap().opened
    }

    /// Waits until this many requests have come.
    pub(crate) fn await_requests(&self, count: usize) {
        self.notes.await_that(|counts| counts.requests.len() >= count);
    }

    /// Waits until every connection is closed.
    pub(crate) fn await_closed(&self) {
        self.notes.await_that(|counts| counts.opened == counts.closed);
    }
}

impl Notes {
    fn change<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        let changed = change(&mut self.counts.lock().unwrap());
        self.changed.notify_all();
        changed
    }

    fn await_that(&self, holds: impl Fn(&Counts) -> bool) {
        let counts = self.counts.lock().unwrap();
        let waited = self.changed.wait_timeout_while(counts, PATIENCE, |counts| !holds(counts)).unwrap();
        assert!(!waited.1.timed_out(), "it did not come");
    }
}

fn converse(stream: impl Read + Write, notes: &Notes, handler: &Handler) {
    let mut stream = BufReader::new(stream);
    while let Some(mut seen) = read_request(&mut stream) {
        seen = notes.change(|counts| {
            seen.index = counts.requests.len();
            counts.requests.push(seen.clone());
            seen
        });
        let reply = handler(&seen);
        if reply.status == 0 {
            break;
        }
        let mut head = format!("HTTP/1.1 {} Whatever\r\n", reply.status);
        let has_length = reply.headers.iter().any(|(name, _)| name == "Content-Length");
        for (name, value) in &reply.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !has_length {
            head += &format!("Content-Length: {}\r\n", reply.body.len());
        }
        let whole = format!("{head}\r\n{}", reply.body);
        if stream.get_mut().write_all(whole.as_bytes()).is_err() || reply.closes {
            break;
        }
    }
}

fn read_request(stream: &mut impl BufRead) -> Option<Seen> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let line = lines.remove(0);
    let headers: Vec<_> = lines
        .iter()
        .map(|line| line.split_once(": ").expect("a header"))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut seen = Seen { index: 0, line, headers, body: String::new() };
    let length = seen.header("content-length").map_or(0, |length| length.parse().expect("a length"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    seen.body = String::from_utf8(body).expect("text");
    Some(seen)
}

/// A certificate authority of a test's own.
pub(crate) struct Authority(Certified);

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct Certified {
    certificate: X509,
    key: PKey<Private>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let key = new_key();
        let subject = common_name(name);
        let certificate = certificate(&subject, &key, &subject, &key, Some(name), true, 3600);
        Authority(Certified { certificate, key })
    }

    pub(crate) fn ca_pem(&self) -> Vec<u8> {
        self.0.certificate.to_pem().expect("a PEM")
    }

    /// Returns its own certificate, to be presented by a server.
    pub(crate) fn itself(&self) -> Certified {
        self.0.clone()
    }

    /// Certifies a host name or an IP address for an hour.
    pub(crate) fn certify(&self, host: &str) -> Certified {
        self.certify_for(host, 3600)
    }

    /// Certifies one whose hour is over.
    pub(crate) fn certify_expired(&self, host: &str) -> Certified {
        self.certify_for(host, -60)
    }

    fn certify_for(&self, host: &str, lasts_s: i64) -> Certified {
        let key = new_key();
        let issuer = self.0.certificate.subject_name();
        let subject = common_name("server");
        let certificate = certificate(&subject, &key, issuer, &self.0.key, Some(host), false, lasts_s);
        Certified { certificate, key }
    }
}

impl Certified {
    pub(crate) fn acceptor(&self) -> SslAcceptor {
        self.acceptor_up_to(SslVersion::TLS1_3)
    }

    fn acceptor_up_to(&self, version: SslVersion) -> SslAcceptor {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("OpenSSL");
        builder.set_max_proto_version(Some(version)).expect("a version");
        builder.set_private_key(&self.key).expect("a key");
        builder.set_certificate(&self.certificate).expect("a certificate");
        builder.build()
    }
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

fn common_name(name: &str) -> X509Name {
    let mut builder = X509Name::builder().expect("OpenSSL");
    builder.append_entry_by_nid(Nid::COMMONNAME, name).expect("a name");
    builder.build()
}

fn certificate(
    subject: &X509NameRef,
    key: &PKey<Private>,
    issuer: &X509NameRef,
    issuer_key: &PKey<Private>,
    host: Option<&str>,
    is_ca: bool,
    lasts_s: i64,
) -> X509 {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let now = i64::try_from(now).expect("before the end of time");
    let at = |offset_s: i64| Asn1Time::from_unix(now + offset_s).expect("a time");
    let mut serial = BigNum::new().expect("OpenSSL");
    serial.rand(64, openssl::bn::MsbOption::MAYBE_ZERO, false).expect("a number");
    let mut builder = X509::builder().expect("OpenSSL");
    builder.set_version(2).expect("X.509 version 3");
    builder.set_serial_number(&serial.to_asn1_integer().expect("a number")).expect("a number");
    builder.set_subject_name(subject).expect("a name");
    builder.set_issuer_name(issuer).expect("a name");
    builder.set_pubkey(key).expect("a key");
    builder.set_not_before(&at(-7200)).expect("a time");
    builder.set_not_after(&at(lasts_s)).expect("a time");
    if is_ca {
        let constraints = BasicConstraints::new().critical().ca().build().expect("an extension");
        builder.append_extension(constraints).expect("an extension");
    }
    if let Some(host) = host {
        let mut names = SubjectAlternativeName::new();
        match host.parse::<std::net::IpAddr>() {
            Ok(_) => names.ip(host),
            Err(_) => names.dns(host),
        };
        let names = names.build(&builder.x509v3_context(None, None)).expect("an extension");
        builder.append_extension(names).expect("an extension");
    }
    builder.sign(issuer_key, MessageDigest::sha256()).expect("a signature");
    builder.build()
}
