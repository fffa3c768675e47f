//! Access logs of nginx, Apache and what writes like them: the common and the combined format.

use super::findings::Findings;
use super::time::{Moment, parse_stamp};
use memchr::{memchr, memchr2};

/// Whether a line may be one: `address - user [`; cheap, and mostly no.
#[inline]
#[must_use]
pub fn may_be_access(line: &[u8]) -> bool {
    let Some(space) = memchr(b' ', &line[..line.len().min(256)]) else {
        return false;
    };
    let rest = &line[space + 1..line.len().min(space + 512)];
    memchr(b'[', rest).is_some_and(|at| {
        rest.get(at + 1).is_some_and(u8::is_ascii_digit)
            && rest.get(at + 3) == Some(&b'/')
            && rest[..at].ends_with(b" ")
    })
}

/// The fields of a line, under OpenTelemetry's names.
#[must_use]
pub fn parse_line(line: &[u8], moment: Moment) -> Option<Findings<'_>> {
    let open = memchr(b'[', line)?;
    let mut front = line[..open].strip_suffix(b" ")?.split(|b| *b == b' ');
    let mut client = front.next().filter(|client| !client.is_empty())?;
    let rest: Vec<&[u8]> = front.collect();
    let (host, user) = match rest[..] {
        [_, user] => (None, user),
        // Apache's vhost_combined has the host in front.
        [address, _, user] => (Some(std::mem::replace(&mut client, address)), user),
        _ => return None,
    };
    let line = &line[open + 1..];
    let stamp = parse_stamp(line)?;
    let line = line[stamp.len..].strip_prefix(b"] \"")?;
    let (request, line) = quoted(line)?;
    let line = line.strip_prefix(b" ")?;
    let (status, line) = word(line);
    let status: u16 = std::str::from_utf8(status).ok()?.parse().ok()?;
    if !(100..1000).contains(&status) {
        return None;
    }
    let (size, mut line) = word(line.strip_prefix(b" ").unwrap_or_default());
    let mut found = Findings::at(stamp.resolve(moment));
    match status {
        500.. => found.level(17, b"error"),
        400.. => found.level(13, b"warn"),
        _ => found.level(9, b"info"),
    }
    found.text("client.address", client);
    if let Some(host) = host {
        found.text("server.address", host);
    }
    if user != b"-" {
        found.text("user.name", user);
    }
    request_line(request, &mut found);
    found.attribute("http.response.status_code", super::draft::Val::Int(i64::from(status)));
    if size != b"-" {
        found.number("http.response.body.size", size);
    }
    for name in [
        "http.request.header.referer",
        "user_agent.original",
        "http.request.header.x_forwarded_for",
    ] {
        let Some((value, after)) = line.strip_prefix(b" \"").and_then(quoted) else { break };
        if value != b"-" {
            found.text(name, value);
        }
        line = after;
    }
    Some(found)
}

/// `GET /path?query HTTP/1.1`; what is no such thing is the request's whole line.
fn request_line<'t>(request: &'t [u8], found: &mut Findings<'t>) {
    let mut parts = request.split(|b| *b == b' ');
    let (method, target, protocol) = (parts.next(), parts.next(), parts.next());
    let (Some(method), Some(target), None) = (method, target, parts.next()) else {
        return found.text("http.request.line", request);
    };
    let is_method = !method.is_empty() && method.iter().all(u8::is_ascii_uppercase);
    if !is_method {
        return found.text("http.request.line", request);
    }
    found.text("http.request.method", method);
    match memchr(b'?', target) {
        Some(mark) => {
            found.text("url.path", &target[..mark]);
            found.text("url.query", &target[mark + 1..]);
        }
        None => found.text("url.path", target),
    }
    if let Some(version) = protocol.and_then(|p| p.strip_prefix(b"HTTP/")) {
        found.text("network.protocol.version", version);
    }
}

fn word(line: &[u8]) -> (&[u8], &[u8]) {
    line.split_at(memchr(b' ', line).unwrap_or(line.len()))
}

/// What stands before the closing quote, and what after it. Escapes stay as they are.
fn quoted(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut from = 0;
    loop {
        let at = from + memchr2(b'"', b'\\', line.get(from..)?)?;
        if line[at] == b'"' {
            return Some((&line[..at], &line[at + 1..]));
        }
        from = at + 2;
    }
}
