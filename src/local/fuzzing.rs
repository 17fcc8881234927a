//! What must hold of the gate's reading of a request, for any bytes.

use super::guard::{Door, Origins};
use super::head::{BODY_MAX, FIELDS_MAX, HEAD_MAX, Head};
use super::request::{Arriving, Progress};

/// The port that we listen on, and the token off loopback.
const PORT: u16 = 8080;
const TOKEN: &str = "gate-token";

/// Any bytes as what a client sends, the first of them as the size of its pieces.
///
/// The pieces make no difference; what is handed on says everything once, is read by another reader as by us, and
/// reading it again gives the same; and whoever passes a door has what it takes.
pub fn gate(bytes: &[u8]) {
    let Some((&size, text)) = bytes.split_first() else { return };
    let whole = feed(text, usize::MAX);
    let pieces = feed(text, usize::from(size).max(1));
    // Of two things that are wrong with what is too long for a head, the first to be noticed is told.
    if text.len() <= HEAD_MAX || whole.is_ok() {
        assert_eq!(whole, pieces);
    }
    let Ok(Some(request)) = whole else { return };

    assert!(request.len() <= HEAD_MAX + BODY_MAX + 256, "{} bytes", request.len());
    let end = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head has an end") + 4;
    let (head, body) = request.split_at(end);
    assert!(
        body.len() <= BODY_MAX && text.windows(body.len().max(1)).any(|part| part == body || body.is_empty())
    );
    let mut lines = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut read = httparse::Request::new(&mut lines);
    assert_eq!(Ok(httparse::Status::Complete(head.len())), read.parse(head));
    let values = |name: &str| {
        let named = read.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        let values: Vec<_> =
            named.map(|field| std::str::from_utf8(field.value).expect("it is ASCII")).collect();
        assert!(values.len() <= 1, "{name}: {values:?}");
        values.first().copied()
    };
    assert_eq!(Some(body.len().to_string().as_str()), values("Content-Length"));
    assert_eq!((None, Some("p")), (values("Transfer-Encoding"), values("X-Dtmfd-Peer")));
    assert_eq!(Some("close"), values("Connection"));
    let target = read.path.expect("it was read");
    assert!(target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic()), "{target}");
    if values("Host").is_some() {
        let again = Head::parse(head).map(|head| head.canonical("p"));
        assert_eq!(head, again.as_deref().map_or(&b""[..], str::as_bytes));
    } // What came as HTTP/1.0 without a Host is handed on as it could not come.

    let from = Origins {
        host: values("Host"),
        origin: values("Origin"),
        site: values("Sec-Fetch-Site"),
        authorization: values("Authorization"),
    };
    let path = target.split('?').next().unwrap_or_default();
    for change in [false, true] {
        passes(path, change, from);
    }
}

/// Says in other words what whoever passes the doors has to show.
fn passes(path: &str, change: bool, from: Origins<'_>) {
    let lower = |text: Option<&str>| text.map(str::to_ascii_lowercase);
    let (host, origin) = (lower(from.host), lower(from.origin));
    let remote = Door::Remote { token: TOKEN.to_owned() };
    for door in [Door::Loopback { port: PORT }, Door::Unix, remote] {
        if door.check(path, change, from).is_err() {
            continue;
        }
        if let Some(origin) = &origin {
            let host = host.as_deref().expect("no origin without a host");
            let (host, page) =
                [":80", ":443"].into_iter().fold((host, origin.as_str()), |(host, page), port| {
                    (host.strip_suffix(port).unwrap_or(host), page.strip_suffix(port).unwrap_or(page))
                });
            assert!(
                [format!("http://{host}"), format!("https://{host}")].contains(&page.to_owned()),
                "{origin}"
            );
        }
        assert!(!change || [None, Some("same-origin"), Some("none")].contains(&from.site));
        match door {
            Door::Loopback { .. } => {
                let name = host.as_deref().map(|host| host.strip_suffix(":8080").expect("our port"));
                let is_ours = |name: &str| ["localhost", "[::1]"].contains(&name) || name.starts_with("127.");
                assert!(name.is_none_or(is_ours), "{name:?}");
            }
            Door::Remote { .. } => {
                let open = ["/health", "/livez", "/readyz", "/metrics"].contains(&path);
                assert!(open || from.authorization.is_some_and(|shown| shown.ends_with(TOKEN)));
            }
            Door::Unix => (),
        }
    }
}

/// Gives the bytes in pieces, and returns the request if it was whole.
fn feed(text: &[u8], size: usize) -> Result<Option<Vec<u8>>, (u16, &'static str)> {
    let mut arriving = Arriving::default();
    let mut rest = text;
    loop {
        let (piece, after) = rest.split_at(size.min(arriving.room()).min(rest.len()));
        rest = after;
        match arriving.take(piece, "p").map_err(|problem| (problem.status, problem.code))? {
            Progress::Whole(request) => return Ok(Some(request)),
            Progress::More | Progress::Continue if rest.is_empty() => return Ok(None),
            Progress::More | Progress::Continue => (),
        }
    }
}
