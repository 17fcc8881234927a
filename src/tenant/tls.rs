//! What we trust, and the one TLS connector that all links share.

use std::fmt;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use native_tls::{Certificate, Protocol, TlsConnector, TlsStream};
use openssl::x509::X509;

/// What the tenant must prove who it is against: the system's store, and a CA of the user's beside it.
pub struct Tls {
    extra: Vec<Certificate>,
    /// It costs about 1 MB and 20 ms, since it reads the whole system store: built on first use, which a tenant on
    /// loopback never comes to.
    connector: Mutex<Option<TlsConnector>>,
}

/// Why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The CA file holds no certificate.
    #[error("holds no certificate: a PEM file has lines of -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// A certificate in the CA file can't be read.
    #[error("holds a certificate that cannot be read ({0}), and must hold PEM certificates only")]
    BadCertificate(String),
    /// The TLS library can't be set up.
    #[error("the TLS library cannot be set up: {0}")]
    Library(String),
}

impl Tls {
    /// Trusts the system's store, and every certificate of a PEM file, where there is one.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the PEM file.
    pub fn new(ca_pem: Option<&[u8]>) -> Result<Tls, TlsError> {
        let extra = match ca_pem {
            None => Vec::new(),
            Some(pem) => {
                let certificates = Certificate::stack_from_pem(pem)
                    .map_err(|error| TlsError::BadCertificate(reason(&error.to_string()).to_owned()))?;
                if certificates.is_empty() {
                    return Err(TlsError::NoCertificate);
                }
                certificates
            }
        };
        Ok(Tls { extra, connector: Mutex::new(None) })
    }

    /// Returns the connector: TLS 1.2 at least. Whoever comes while it is being built waits.
    pub(super) fn connector(&self) -> Result<TlsConnector, TlsError> {
        let mut slot = self.connector.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connector) = &*slot {
            return Ok(connector.clone());
        }
        let mut builder = TlsConnector::builder();
        builder.min_protocol_version(Some(Protocol::Tlsv12));
        for certificate in &self.extra {
            builder.add_root_certificate(certificate.clone());
        }
        let connector = builder.build().map_err(|error| TlsError::Library(error.to_string()))?;
        *slot = Some(connector.clone());
        Ok(connector)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("extra", &self.extra.len()).finish_non_exhaustive()
    }
}

/// Says why a handshake failed, in words for whoever has to put it right.
pub(super) fn explain(error: &native_tls::Error) -> String {
    let text = error.to_string();
    // Why a certificate was refused stands in brackets behind everything else.
    let verdict = text.strip_suffix(')').and_then(|text| text.rsplit_once(" ("));
    match verdict {
        Some((refusal, verdict)) if refusal.contains("certificate verify failed") => refused(verdict),
        _ => broken(&text),
    }
}

/// Looks for `host` where it belongs in the peer's certificate.
///
/// Where a certificate names no host in its subjectAltName at all, OpenSSL makes do with the common name of its
/// subject, in which CAs don't vouch for hosts (RFC 9525 section 6.3), and native-tls has no switch for that.
///
/// # Errors
///
/// Returns what is wrong with the certificate.
pub(super) fn verify_name<S: Read + Write>(stream: &TlsStream<S>, host: &str) -> Result<(), String> {
    if host.parse::<IpAddr>().is_ok() {
        return Ok(()); // OpenSSL looks for addresses in the right place only.
    }
    let der = stream.peer_certificate().ok().flatten().and_then(|certificate| certificate.to_der().ok());
    let certificate = der.and_then(|der| X509::from_der(&der).ok());
    let names = certificate.and_then(|certificate| certificate.subject_alt_names());
    match names.is_some_and(|names| names.iter().any(|name| name.dnsname().is_some())) {
        true => Ok(()),
        false => Err(refused(NO_NAME)),
    }
}

const NO_NAME: &str = "no host in its subjectAltName";

/// Says why a certificate was refused, and what would help: OpenSSL's verdict is one about the whole chain.
fn refused(verdict: &str) -> String {
    let has = |words: &[&str]| words.iter().any(|word| verdict.contains(word));
    let advice = if has(&["issuer", "self-signed", "first certificate"]) {
        "; no CA that is trusted here has issued it: a CA of your own is added by CXONE_CA_FILE (--ca-file), and a \
         server must send its intermediate certificates"
    } else if has(&["has expired", "not yet valid"]) {
        ": it or a CA above it must be renewed, unless the clock of this machine is wrong"
    } else if has(&["mismatch"]) {
        ": it is made out to another host than the URL names"
    } else if has(&["purpose"]) {
        ": it or a CA above it is not made for TLS servers (extended key usage serverAuth)"
    } else if has(&["invalid CA", "path length", "certificate signing", "invalid non-CA"]) {
        ": what has issued it may not issue certificates"
    } else if has(&["subtree violation"]) {
        ": a CA above it may not issue certificates for this host (name constraints)"
    } else if has(&["too weak"]) {
        ": it or a CA above it must have 2048 bits of RSA or 224 of an elliptic curve, and a signature with SHA-256"
    } else if has(&["signature failure"]) {
        ": it is damaged, or forged"
    } else if has(&[NO_NAME]) {
        ": it names its host as its subject's common name, which does not count"
    } else {
        ""
    };
    format!("its certificate is refused: {verdict}{advice}")
}

/// Says why a handshake broke before, or beside, the peer's certificate.
fn broken(text: &str) -> String {
    let is = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let reason = reason(text);
    if is(&["unsupported protocol", "alert protocol version"]) {
        format!("{reason}: it speaks TLS 1.1 or older, and 1.2 is the least")
    } else if is(&["wrong version number", "packet length too long", ":http request:"]) {
        format!("{reason}: what answers there speaks no TLS, is the port right?")
    } else if is(&[":asn1 encoding routines:"]) {
        format!("its certificate is refused: it cannot be read ({reason})")
    } else {
        reason.to_owned()
    }
}

/// Picks the reason out of `error:CODE:LIBRARY:FUNCTION:REASON:FILE:LINE:…`, OpenSSL's way of writing.
fn reason(text: &str) -> &str {
    if !text.starts_with("error:") {
        return text;
    }
    text.split(':').nth(4).filter(|reason| !reason.is_empty()).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::stand_in::Authority;

    #[test]
    fn takes_certificates_and_nothing_else() {
        let pem = |name| Authority::new(name).ca_pem();
        assert!(Tls::new(None).is_ok());
        assert_eq!(1, Tls::new(Some(&pem("a"))).expect("a certificate").extra.len());
        let two = [pem("a"), b"\n# comment\n".to_vec(), pem("b")].concat();
        assert_eq!(2, Tls::new(Some(&two)).expect("certificates").extra.len());
        for nothing in [&b""[..], b"hello", b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"]
        {
            assert!(matches!(Tls::new(Some(nothing)), Err(TlsError::NoCertificate)));
        }
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let error = Tls::new(Some(broken)).expect_err("no certificate in it");
        assert!(matches!(error, TlsError::BadCertificate(_)), "{error}");
    }

    #[test]
    fn builds_one_connector_and_only_when_it_is_needed() {
        let tls = Tls::new(None).expect("the system's store");
        assert!(tls.connector.lock().unwrap().is_none());
        tls.connector().expect("a connector");
        assert!(tls.connector.lock().unwrap().is_some());
    }

    #[test]
    fn picks_the_reason_out_of_what_openssl_says() {
        for (text, expected) in [
            ("unexpected EOF", "unexpected EOF"),
            ("error:0A00010B:SSL routines:fn:wrong version number:ssl/a.c:1:", "wrong version number"),
            ("error:", "error:"),
        ] {
            assert_eq!(expected, reason(text));
        }
    }
}
