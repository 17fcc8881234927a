//! Who the tenant is: what is refused on each of the three links, and what only the tenant hears.

use std::io::Write as _;

use openssl::hash::MessageDigest;
use openssl::ssl::SslVersion;

use crate::pki::{Certified, Plan, Purpose};
use crate::tenant::{BEARER, SECRET, Tenant, net, try_links};

const HINT: &str = "CXONE_CA_FILE (--ca-file)";

/// Every bad certificate: what is wrong with it, the host in the URL, and words of what an operator is told.
fn bad(root: &Certified) -> Vec<(&'static str, &'static str, Certified, Vec<&'static str>)> {
    let localhost = || Plan::server(&["localhost"]);
    let below = |plan: Plan<'_>| localhost().signed_by(&plan.signed_by(root));
    let middle = || Plan::ca("middle");
    let renewed = "must be renewed, unless the clock of this machine is wrong";
    let other_host = "made out to another host than the URL names";
    let not_for_servers = "not made for TLS servers";
    let no_issuer = "what has issued it may not issue certificates";
    let weak = "must have 2048 bits of RSA";
    vec![
        (
            "expired",
            "localhost",
            Plan { valid_s: (-7200, -60), ..localhost() }.signed_by(root),
            vec!["certificate has expired", renewed],
        ),
        (
            "not yet valid",
            "localhost",
            Plan { valid_s: (3600, 7200), ..localhost() }.signed_by(root),
            vec!["certificate is not yet valid", renewed],
        ),
        (
            "wrong host",
            "localhost",
            Plan::server(&["tenant.example", "localhost.evil.example"]).signed_by(root),
            vec!["hostname mismatch", other_host],
        ),
        (
            "wrong address",
            "127.0.0.1",
            Plan::server(&["127.0.0.2", "localhost"]).signed_by(root),
            vec!["IP address mismatch", other_host],
        ),
        (
            "an address as a name",
            "127.0.0.1",
            Plan { subject: "127.0.0.1", ..localhost() }.signed_by(root),
            vec!["IP address mismatch", other_host],
        ),
        (
            "a wildcard for part of a name",
            "localhost",
            Plan::server(&["local*", "*"]).signed_by(root),
            vec!["hostname mismatch", other_host],
        ),
        ("self-signed", "localhost", localhost().sign_itself(), vec!["self-signed certificate", HINT]),
        (
            "unknown CA",
            "localhost",
            localhost().signed_by(&Plan::ca("another").sign_itself()),
            vec!["unable to get local issuer certificate", HINT],
        ),
        (
            "a CA that only bears the name of a known one",
            "localhost",
            localhost().signed_by(&Plan::ca("root").sign_itself()),
            vec!["certificate signature failure", "damaged, or forged"],
        ),
        (
            "missing intermediate",
            "localhost",
            below(middle()).alone(),
            vec!["unable to get local issuer certificate", "must send its intermediate certificates"],
        ),
        (
            "for clients only",
            "localhost",
            Plan { purpose: Some(Purpose::Client), ..localhost() }.signed_by(root),
            vec!["certificate purpose", not_for_servers],
        ),
        (
            "an intermediate for clients only",
            "localhost",
            below(Plan { purpose: Some(Purpose::Client), ..middle() }),
            vec!["certificate purpose", not_for_servers],
        ),
        (
            "an intermediate that is no CA",
            "localhost",
            below(Plan { ca: Some((false, None)), ..middle() }),
            vec!["invalid CA certificate", no_issuer],
        ),
        (
            "an intermediate that is a server's",
            "localhost",
            below(Plan { subject: "middle", ..Plan::server(&["tenant.example"]) }),
            vec!["invalid CA certificate", no_issuer],
        ),
        (
            "an intermediate whose key may not sign",
            "localhost",
            below(Plan { may_sign: Some(false), ..middle() }),
            vec!["invalid CA certificate", no_issuer],
        ),
        (
            "an intermediate below one that may have none",
            "localhost",
            localhost().signed_by(
                &middle().signed_by(&Plan { ca: Some((true, Some(0))), ..Plan::ca("upper") }.signed_by(root)),
            ),
            vec!["path length constraint exceeded", no_issuer],
        ),
        (
            "expired intermediate",
            "localhost",
            below(Plan { valid_s: (-7200, -60), ..middle() }),
            vec!["certificate has expired", renewed],
        ),
        (
            "name constraints",
            "localhost",
            below(Plan { permitted: Some("tenant.example"), ..middle() }),
            vec!["permitted subtree violation", "may not issue certificates for this host"],
        ),
        (
            "1024 bits of RSA",
            "localhost",
            Plan { rsa_bits: Some(1024), ..localhost() }.signed_by(root),
            vec!["key too weak", weak],
        ),
        (
            "1024 bits of RSA above it",
            "localhost",
            below(Plan { rsa_bits: Some(1024), ..middle() }),
            vec!["key too weak", weak],
        ),
        (
            "a signature with SHA-1",
            "localhost",
            Plan { digest: MessageDigest::sha1(), ..localhost() }.signed_by(root),
            vec!["digest algorithm too weak", weak],
        ),
        (
            "a name in the subject only",
            "localhost",
            Plan { subject: "localhost", ..Plan::default() }.signed_by(root),
            vec!["no host in its subjectAltName", "common name, which does not count"],
        ),
        (
            "a name in the subject, an address beside it",
            "localhost",
            Plan { subject: "localhost", ..Plan::server(&["127.0.0.1"]) }.signed_by(root),
            vec!["no host in its subjectAltName", "common name, which does not count"],
        ),
        (
            "damaged",
            "localhost",
            localhost().signed_by(root).damaged(),
            vec!["certificate signature failure", "damaged, or forged"],
        ),
    ]
}

#[test]
fn a_bad_certificate_is_refused_on_every_link_with_a_message_that_says_why() {
    let root = Plan::ca("root").sign_itself();
    let net = net(Some(&root.pem()), None);
    for (what, host, certified, words) in bad(&root) {
        let tenant = Tenant::start(Some(certified.acceptor()));
        for (link, tried) in try_links(&net, &format!("https://{host}:{}", tenant.port)) {
            let Err(why) = tried else { panic!("{link} takes a certificate that is bad: {what}") };
            for words in ["its certificate is refused: "].iter().chain(&words) {
                assert!(why.contains(words), "{what}, {link}: {words:?} is not in {why:?}");
            }
            assert_eq!(words.contains(&HINT) || what.starts_with("missing"), why.contains(HINT), "{why}");
        }
        assert_eq!((3, ""), (tenant.connections(), tenant.heard().as_str()), "{what}");
    }
}

#[test]
fn a_good_certificate_of_the_same_kind_is_taken_on_every_link() {
    let root = Plan::ca("root").sign_itself();
    let net = net(Some(&root.pem()), None);
    let localhost = || Plan::server(&["tenant.example", "localhost"]);
    let below = |plan: Plan<'_>| localhost().signed_by(&plan.signed_by(&root));
    for (what, host, certified) in [
        ("by the root", "localhost", localhost().signed_by(&root)),
        ("an address", "127.0.0.1", Plan::server(&["127.0.0.1"]).signed_by(&root)),
        ("an intermediate", "localhost", below(Plan::ca("middle"))),
        ("a key that may sign", "localhost", below(Plan { may_sign: Some(true), ..Plan::ca("middle") })),
        ("name constraints", "localhost", {
            let middle = Plan { permitted: Some("localhost"), ..Plan::ca("middle") };
            Plan::server(&["localhost"]).signed_by(&middle.signed_by(&root))
        }),
        ("no purpose", "localhost", Plan { purpose: None, ..localhost() }.signed_by(&root)),
        ("2048 bits of RSA", "localhost", Plan { rsa_bits: Some(2048), ..localhost() }.signed_by(&root)),
    ] {
        let tenant = Tenant::start(Some(certified.acceptor()));
        for (link, tried) in try_links(&net, &format!("https://{host}:{}", tenant.port)) {
            assert_eq!(Ok(()), tried, "{what}, {link}");
        }
        let heard = tenant.heard();
        let said = [heard.matches(SECRET).count(), heard.matches(BEARER).count(), tenant.connections()];
        assert_eq!([1, 2, 3], said, "{what}: {heard}");
    }
}

#[test]
fn what_a_tenant_sends_instead_of_a_certificate_is_refused() {
    let root = Plan::ca("root").sign_itself();
    let net = net(Some(&root.pem()), None);
    let mut der = Plan::server(&["localhost"]).signed_by(&root).certificate.to_der().expect("DER");
    der.truncate(der.len() / 2);
    for (what, first, words) in [
        ("truncated", server_hello(0x03, &der), "its certificate is refused: it cannot be read"),
        ("garbled", server_hello(0x03, b"no certificate"), "its certificate is refused: it cannot be read"),
        ("TLS 1.1", server_hello(0x02, &der), "it speaks TLS 1.1 or older, and 1.2 is the least"),
        ("TLS 1.0", server_hello(0x01, &der), "it speaks TLS 1.1 or older, and 1.2 is the least"),
        ("SSL 3", server_hello(0x00, &der), "it speaks TLS 1.1 or older, and 1.2 is the least"),
        ("plain", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "speaks no TLS, is the port right?"),
    ] {
        let tenant = Tenant::serving(move |mut tcp, _| {
            let _ = tcp.write_all(&first).and_then(|()| std::io::copy(&mut tcp, &mut std::io::sink()));
        });
        for (link, tried) in try_links(&net, &format!("https://localhost:{}", tenant.port)) {
            let why = tried.expect_err(what);
            assert!(why.contains(words), "{what}, {link}: {words:?} is not in {why:?}");
        }
    }
}

/// What a server of TLS 1.`minor - 1` says first: a hello and one certificate, in a record of its own each.
fn server_hello(minor: u8, certificate: &[u8]) -> Vec<u8> {
    let sized = |content: &[u8], bytes: usize| {
        let length = u32::try_from(content.len()).expect("it is short").to_be_bytes();
        [&length[4 - bytes..], content].concat()
    };
    let record = |kind: u8, message: &[u8]| {
        let message = [&[kind][..], &sized(message, 3)].concat();
        [&[0x16, 0x03, minor.max(1)][..], &sized(&message, 2)].concat()
    };
    // No session, ECDHE-ECDSA with AES-128-GCM, no compression, and that it renegotiates securely (RFC 5746).
    let hello =
        [&[0x03, minor][..], &[7; 32], &[0, 0xc0, 0x2b, 0], &sized(&[0xff, 0x01, 0x00, 0x01, 0x00], 2)];
    [record(2, &hello.concat()), record(11, &sized(&sized(certificate, 3), 3))].concat()
}

#[test]
fn tls_1_1_and_older_are_refused() {
    let root = Plan::ca("root").sign_itself();
    let net = net(Some(&root.pem()), None);
    // RSA serves the oldest, too.
    let certified = Plan { rsa_bits: Some(2048), ..Plan::server(&["localhost"]) }.signed_by(&root);
    for (version, is_taken) in
        [(SslVersion::TLS1, false), (SslVersion::TLS1_1, false), (SslVersion::TLS1_2, true)]
    {
        let tenant = Tenant::start(Some(certified.old_acceptor(version)));
        for (link, tried) in try_links(&net, &format!("https://localhost:{}", tenant.port)) {
            match tried {
                Ok(()) => assert!(is_taken, "{link} speaks {version:?}"),
                Err(why) => {
                    let words = "it speaks TLS 1.1 or older, and 1.2 is the least";
                    assert!(!is_taken && why.contains(words), "{version:?}, {link}: {why}");
                }
            }
        }
    }
}

#[test]
fn no_link_follows_a_redirect_and_nobody_else_hears_credentials() {
    let root = Plan::ca("root").sign_itself();
    let net = net(Some(&root.pem()), None);
    let certified = Plan::server(&["localhost", "127.0.0.1"]).signed_by(&root);
    for secure in [true, false] {
        let acceptor = || secure.then(|| certified.acceptor());
        let (http, ws) = if secure { ("https", "wss") } else { ("http", "ws") };
        for status in [301, 302, 303, 307, 308] {
            let elsewhere = Tenant::start(acceptor());
            // The same host by another name, for the port is another anyway.
            let there = format!("127.0.0.1:{}", elsewhere.port);
            let tenant = Tenant::answering(acceptor(), move |head| {
                let scheme = if head.starts_with("GET") { ws } else { http };
                let path = head.split(' ').nth(1).unwrap_or_default();
                format!(
                    "HTTP/1.1 {status} Moved\r\nLocation: {scheme}://{there}{path}\r\nContent-Length: 0\r\n\r\n"
                )
            });
            for (link, tried) in try_links(&net, &format!("{http}://localhost:{}", tenant.port)) {
                let why = tried.expect_err("a redirect is a failure");
                assert!(why.contains("redirect") && why.contains("follow"), "{status}, {link}: {why}");
            }
            assert_eq!((0, ""), (elsewhere.connections(), elsewhere.heard().as_str()), "{status}");
            assert!(tenant.heard().contains(SECRET) && tenant.heard().contains(BEARER));
        }
    }
}

/// Everything that a command's help and the source name: a switch that is not there can't be turned.
#[test]
fn no_setting_turns_verification_off() {
    use crate::program::{dtmfd, output};

    let words =
        ["insecure", "verif", "skip", "no-check", "unsafe", "danger", "trust-all", "self-signed", "accept-"];
    let mut settings = 0;
    for command in ["run", "sandbox", "check", "test", "graph", "schema"] {
        let (code, text) = output(dtmfd(&[command, "--help"]));
        assert_eq!(Some(0), code, "{text}");
        let flags = text.split(|char: char| !(char.is_ascii_alphanumeric() || "-_".contains(char)));
        for setting in flags.filter(|word| word.starts_with("--") || word.contains('_')) {
            let setting = setting.to_ascii_lowercase();
            assert!(!words.iter().any(|word| setting.contains(word)), "{command} has {setting}");
            settings += 1;
        }
    }
    assert!(settings > 50, "{settings} settings were read");
    for setting in
        ["danger_accept", "set_verify", "use_sni", "SslVerifyMode", "set_hostflags", "security_level"]
    {
        crate::tidy::nobody_says("", &[setting], &[]);
    }
}

/// What other programs are told to trust everyone by, and OpenSSL's own configuration, change nothing.
#[test]
fn nothing_in_the_environment_turns_verification_off() {
    use crate::program::{Scratch, dtmfd, output};

    let folder = Scratch::new("verification");
    let conf = folder.write(
        "openssl.cnf",
        "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nVerifyMode = None\n\
         CipherString = DEFAULT:@SECLEVEL=0\nMinProtocol = TLSv1\n",
    );
    let root = Plan::ca("root").sign_itself();
    let ca = folder.write("ca.pem", &root.pem());
    let good = Plan::server(&["localhost"]).signed_by(&root);
    let bad = Plan::server(&["localhost"]).sign_itself();
    let old = Plan { rsa_bits: Some(2048), ..Plan::server(&["localhost"]) }.signed_by(&root);
    for (acceptor, is_taken, words) in [
        (good.acceptor(), true, "online: voice WebSocket: ok"),
        (bad.acceptor(), false, "its certificate is refused: self-signed certificate"),
        (old.old_acceptor(SslVersion::TLS1_1), false, "it speaks TLS 1.1 or older"),
    ] {
        let tenant = Tenant::start(Some(acceptor));
        let mut command = dtmfd(&["check", "trees/seed.json", "--online", "--ca-file", &ca]);
        command.args(["--tenant", "t", "--client-id", "c", "--api-url"]);
        command.arg(format!("https://localhost:{}", tenant.port)).env("CXONE_CLIENT_SECRET", SECRET);
        for (name, value) in [
            ("OPENSSL_CONF", conf.as_str()),
            ("NODE_TLS_REJECT_UNAUTHORIZED", "0"),
            ("PYTHONHTTPSVERIFY", "0"),
            ("GIT_SSL_NO_VERIFY", "1"),
            ("CURL_INSECURE", "1"),
            ("CXONE_INSECURE", "1"),
            ("DTMFD_INSECURE", "1"),
        ] {
            command.env(name, value);
        }
        let (code, text) = output(command);
        assert_eq!(Some(i32::from(!is_taken)), code, "{text}");
        assert!(text.contains(words), "{words:?} is not in\n{text}");
        assert_eq!(is_taken, tenant.heard().contains(SECRET), "{text}");
    }
}
