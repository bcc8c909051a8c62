//! Which names of this machine a request may use, where anybody may ask.
//!
//! A web page that somebody on this machine looks at can have its own name lead to 127.0.0.1, and
//! its scripts then read what is served there (DNS rebinding). They cannot choose another `Host`.

use std::net::IpAddr;

use hyper::Uri;
use hyper::header::{HOST, HeaderMap};
use pgsqlite::daystream::remote::{Fault, Reason};

/// Sees that a request is to this machine by a name that no other machine can have, and to `port`.
///
/// # Errors
/// `REQUEST`.
pub fn check(uri: &Uri, headers: &HeaderMap, port: u16) -> Result<(), Fault> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().and_then(|value| value.to_str().ok());
    // NOTE: a URI with a host in it stands in the place of the header field.
    let asked = uri.authority().map(|authority| authority.as_str()).or(host);
    let good = hosts.next().is_none()
        && asked.is_some_and(|asked| is_own(asked, port))
        && host.is_none_or(|host| is_own(host, port));
    if good {
        return Ok(());
    }
    let message = format!(
        "without tokens only http://localhost:{port} and http://127.0.0.1:{port} are served here: \
         ask for one of these, or start the server with -tokens FILE"
    );
    Err(Fault::new(Reason::Request, message))
}

fn is_own(asked: &str, port: u16) -> bool {
    let (name, given) = match asked.rsplit_once(':') {
        // An IPv6 address ends with a bracket.
        Some((name, digits)) if !digits.ends_with(']') => (name, digits.parse().ok()),
        _ => (asked, Some(80)),
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let loopback = bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    given == Some(port) && (loopback || name.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn names_that_no_other_machine_has() {
        let checked = |uri: &'static str, hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_static(host));
            }
            check(&Uri::from_static(uri), &headers, 8443).is_ok()
        };
        for good in ["localhost:8443", "LocalHost:8443", "127.0.0.1:8443", "[::1]:8443"] {
            assert!(checked("/s", &[good]), "{good}");
        }
        assert!(checked("http://localhost:8443/s", &[]));
        assert!(is_own("localhost", 80) && is_own("[::1]", 80) && !is_own("example.org", 80));
        for bad in [
            "",
            "localhost",
            "localhost:8444",
            "localhost:",
            "localhost.:8443",
            "localhost.evil.example:8443",
            "evil.example:8443",
            "127.0.0.1.evil.example:8443",
            "10.0.0.1:8443",
            "127.0.0.1",
            "user@localhost:8443",
        ] {
            assert!(!checked("/s", &[bad]), "{bad}");
        }
        assert!(!checked("/s", &[]));
        assert!(!checked("/s", &["localhost:8443", "localhost:8443"]));
        assert!(!checked("http://evil.example:8443/s", &["localhost:8443"]));
        assert!(!checked("http://localhost:8443/s", &["evil.example:8443"]));
    }
}
