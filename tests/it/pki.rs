//! Certificates good and bad, made in the test process.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslAcceptorBuilder, SslMethod, SslVersion};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Extension, X509NameBuilder};

/// A certificate with its key, and what a server sends along with it.
#[derive(Clone)]
pub(crate) struct Certified {
    pub(crate) certificate: X509,
    pub(crate) key: PKey<Private>,
    /// The CAs between it and the root, the nearest first.
    pub(crate) chain: Vec<X509>,
}

/// What a certificate says. Its default is a good one of a server without a name.
pub(crate) struct Plan<'a> {
    pub(crate) subject: &'a str,
    /// Names and addresses in its subjectAltName; none leaves that out.
    pub(crate) hosts: &'a [&'a str],
    /// Since when and until when, in seconds from now.
    pub(crate) valid_s: (i64, i64),
    /// What it says about being a CA; `None` leaves that out. With how many CAs may stand below it.
    pub(crate) ca: Option<(bool, Option<u32>)>,
    /// Whether it may sign certificates, where it says what its key is for.
    pub(crate) may_sign: Option<bool>,
    /// A purpose: serverAuth, clientAuth.
    pub(crate) purpose: Option<Purpose>,
    /// The only domain it may issue certificates for.
    pub(crate) permitted: Option<&'a str>,
    /// RSA with this many bits, else the curve P-256.
    pub(crate) rsa_bits: Option<u32>,
    pub(crate) digest: MessageDigest,
}

#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Server,
    Client,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Plan {
            subject: "server",
            hosts: &[],
            valid_s: (-7200, 7200),
            ca: None,
            may_sign: None,
            purpose: Some(Purpose::Server),
            permitted: None,
            rsa_bits: None,
            digest: MessageDigest::sha256(),
        }
    }
}

impl<'a> Plan<'a> {
    /// A good CA.
    pub(crate) fn ca(subject: &'a str) -> Plan<'a> {
        Plan { subject, ca: Some((true, None)), purpose: None, ..Plan::default() }
    }

    /// A good server's.
    pub(crate) fn server(hosts: &'a [&'a str]) -> Plan<'a> {
        Plan { hosts, ..Plan::default() }
    }

    /// Makes it, signed by its own key.
    pub(crate) fn sign_itself(&self) -> Certified {
        let key = self.key();
        let certificate = self.certificate(&key, None);
        Certified { certificate, key, chain: Vec::new() }
    }

    /// Makes it, signed by a CA, with which a server sends all CAs below the root.
    pub(crate) fn signed_by(&self, issuer: &Certified) -> Certified {
        let key = self.key();
        let certificate = self.certificate(&key, Some(issuer));
        let is_root = issuer.certificate.subject_name().try_cmp(issuer.certificate.issuer_name());
        let is_root = is_root.expect("names can be compared").is_eq();
        let nearest = (!is_root).then(|| issuer.certificate.clone());
        let chain = nearest.into_iter().chain(issuer.chain.iter().cloned()).collect();
        Certified { certificate, key, chain }
    }

    fn key(&self) -> PKey<Private> {
        match self.rsa_bits {
            Some(bits) => PKey::from_rsa(Rsa::generate(bits).expect("a key")).expect("a key"),
            None => {
                let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
                PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
            }
        }
    }

    fn certificate(&self, key: &PKey<Private>, issuer: Option<&Certified>) -> X509 {
        let mut subject = X509NameBuilder::new().expect("a name");
        subject.append_entry_by_text("CN", self.subject).expect("a common name");
        let subject = subject.build();
        let mut serial = BigNum::new().expect("a number");
        serial.rand(127, MsbOption::MAYBE_ZERO, false).expect("a random number");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let now = i64::try_from(now).expect("before the end of time");
        let at = |offset_s: i64| Asn1Time::from_unix(now + offset_s).expect("a time");

        let mut builder = X509::builder().expect("a builder");
        builder.set_version(2).expect("version 3");
        builder.set_serial_number(&serial.to_asn1_integer().expect("a serial")).expect("a serial");
        builder.set_subject_name(&subject).expect("a subject");
        let issuer_name = issuer.map_or(&*subject, |issuer| issuer.certificate.subject_name());
        builder.set_issuer_name(issuer_name).expect("an issuer");
        builder.set_pubkey(key).expect("a key");
        builder.set_not_before(&at(self.valid_s.0)).expect("a time");
        builder.set_not_after(&at(self.valid_s.1)).expect("a time");
        for extension in self.extensions(&builder) {
            builder.append_extension(extension).expect("an extension");
        }
        builder.sign(issuer.map_or(key, |issuer| &issuer.key), self.digest).expect("a signature");
        builder.build()
    }

    fn extensions(&self, builder: &openssl::x509::X509Builder) -> Vec<X509Extension> {
        let mut extensions = Vec::new();
        if let Some((is_ca, pathlen)) = self.ca {
            let mut constraints = BasicConstraints::new();
            constraints.critical();
            if is_ca {
                constraints.ca();
            }
            if let Some(pathlen) = pathlen {
                constraints.pathlen(pathlen);
            }
            extensions.push(constraints.build().expect("an extension"));
        }
        if let Some(may_sign) = self.may_sign {
            let mut usage = KeyUsage::new();
            usage.critical().digital_signature();
            if may_sign {
                usage.key_cert_sign();
            }
            extensions.push(usage.build().expect("an extension"));
        }
        if let Some(purpose) = self.purpose {
            let mut usage = ExtendedKeyUsage::new();
            match purpose {
                Purpose::Server => usage.server_auth(),
                Purpose::Client => usage.client_auth(),
            };
            extensions.push(usage.build().expect("an extension"));
        }
        if !self.hosts.is_empty() {
            let mut names = SubjectAlternativeName::new();
            for host in self.hosts {
                match host.parse::<IpAddr>() {
                    Ok(_) => names.ip(host),
                    Err(_) => names.dns(host),
                };
            }
            extensions.push(names.build(&builder.x509v3_context(None, None)).expect("an extension"));
        }
        extensions.extend(self.permitted.map(name_constraints));
        extensions
    }
}

/// permittedSubtrees with one domain: RFC 5280 section 4.2.1.10.
fn name_constraints(domain: &str) -> X509Extension {
    let wrapped = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).ok().filter(|length| *length < 128).expect("it is short");
        [&[tag, length], content].concat()
    };
    // NameConstraints { [0] { GeneralSubtree { base: [2] dNSName } } }
    let der = wrapped(0x30, &wrapped(0xa0, &wrapped(0x30, &wrapped(0x82, domain.as_bytes()))));
    let oid = Asn1Object::from_str("2.5.29.30").expect("an OID");
    let content = Asn1OctetString::new_from_bytes(&der).expect("bytes");
    X509Extension::new_from_der(&oid, true, &content).expect("an extension")
}

impl Certified {
    pub(crate) fn pem(&self) -> String {
        String::from_utf8(self.certificate.to_pem().expect("a PEM")).expect("PEM is ASCII")
    }

    /// The same without the CAs between it and the root.
    pub(crate) fn alone(self) -> Certified {
        Certified { chain: Vec::new(), ..self }
    }

    /// The same with a bit of its signature turned over.
    pub(crate) fn damaged(self) -> Certified {
        let mut der = self.certificate.to_der().expect("DER");
        *der.last_mut().expect("it ends with the signature") ^= 1;
        Certified { certificate: X509::from_der(&der).expect("the bytes are in their places"), ..self }
    }

    /// Returns what a server presents it with, TLS 1.2 and 1.3, however weak it is.
    pub(crate) fn acceptor(&self) -> SslAcceptor {
        self.present(SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("OpenSSL"))
    }

    /// Returns what a server presents it with that speaks nothing newer than `version`.
    pub(crate) fn old_acceptor(&self, version: SslVersion) -> SslAcceptor {
        let mut builder = SslAcceptor::mozilla_intermediate(SslMethod::tls_server()).expect("OpenSSL");
        builder.set_min_proto_version(None).expect("any version");
        builder.set_max_proto_version(Some(version)).expect("a version");
        self.present(builder)
    }

    fn present(&self, mut builder: SslAcceptorBuilder) -> SslAcceptor {
        builder.set_security_level(0);
        builder.set_private_key(&self.key).expect("a key");
        builder.set_certificate(&self.certificate).expect("a certificate");
        for certificate in &self.chain {
            builder.add_extra_chain_cert(certificate.clone()).expect("a certificate");
        }
        builder.build()
    }
}
