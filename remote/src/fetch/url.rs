//! Where a stream is: `https://HOST:PORT/NAME`.

use std::net::IpAddr;

use pgsqlite::daystream::remote::{Fault, Reason};

/// The URL of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// With TLS.
    pub tls: bool,
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The path, `/NAME`, as it goes into a request.
    pub path: String,
}

impl Url {
    /// Takes a URL apart. `http` is for this machine only, unless `plain` says otherwise.
    ///
    /// # Errors
    /// `URL`: not such a URL; with a user or a password, which others could read on a command line;
    /// without TLS to another machine.
    pub fn parse(text: &str, plain: bool) -> Result<Url, Fault> {
        let bad = |why: &str| Fault::new(Reason::Url, format!("not the URL of a stream: {why}"));
        let form = || bad("expected https://HOST:PORT/NAME");
        let (scheme, rest) = text.split_once("://").ok_or_else(form)?;
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(form()),
        };
        let (authority, path) = rest.split_once('/').ok_or_else(form)?;
        if authority.contains('@') {
            return Err(bad("a token goes into DAYSTREAM_TOKEN or a file, not into the URL"));
        }
        let plain_path = |c: char| c.is_ascii_graphic() && !"?#\"<>\\^`{|}".contains(c);
        if path.is_empty() || path.contains('/') || !path.chars().all(plain_path) {
            return Err(bad("the path is a stream's name, other bytes as %XX"));
        }
        let (host, port) = split_port(authority).ok_or_else(form)?;
        let port = match port {
            None if tls => 443,
            None => 80,
            Some(port) => port.parse().map_err(|_| bad("the port is a number"))?,
        };
        let url = Url { tls, host: host.to_owned(), port, path: format!("/{path}") };
        if !tls && !plain && !url.is_local() {
            let why = "http is for this machine only; use https, or allow it with -plain 1 \
                       (DAYSTREAM_PLAIN=1)";
            return Err(bad(why));
        }
        Ok(url)
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// `HOST:PORT`, as in a request.
    #[must_use]
    pub fn authority(&self) -> String {
        let brackets = self.host.contains(':');
        if brackets { format!("[{}]:{}", self.host, self.port) } else { self.name_and_port() }
    }

    fn name_and_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => match authority.find(':') {
            Some(at) => authority.split_at(at),
            None => (authority, ""),
        },
    };
    let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
    let sound = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
    (!host.is_empty() && host.chars().all(sound)).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let url = Url::parse("https://db.example:8443/flights", false).unwrap();
        assert_eq!(
            (url.tls, &*url.host, url.port, &*url.path),
            (true, "db.example", 8443, "/flights")
        );
        assert_eq!(Url::parse("https://h/a%20b", false).unwrap().authority(), "h:443");
        assert_eq!(Url::parse("http://[::1]:80/a", false).unwrap().authority(), "[::1]:80");
        assert!(Url::parse("http://localhost/a", false).is_ok());
        assert!(Url::parse("http://10.0.0.1/a", true).is_ok());
        for bad in [
            "http://10.0.0.1/a",
            "https://h",
            "https://h/",
            "https://h/a/b",
            "https://h/a?from=1",
            "https://u:p@h/a",
            "https:///a",
            "https://h:x/a",
            "https://h:99999/a",
            "ftp://h/a",
            "https://h/a b",
            "https://h\r\nx/a",
            "https://[::1/a",
            "/a",
            "",
        ] {
            assert_eq!(Url::parse(bad, false).unwrap_err().reason, Reason::Url, "{bad}");
        }
    }
}
