//! Connection parameters, parsed by libpq itself.

use super::{Conn, Error, text};
use std::ffi::CStr;

/// Connection parameters as keyword and value. Debug output hides the password.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Conninfo {
    params: Vec<(String, String)>,
}

/// One parameter that libpq knows, with its default value ([`conndefaults`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnDefault {
    /// Keyword, as in `host`.
    pub keyword: String,
    /// Label for a dialog, as in `Database-Host`.
    pub label: String,
    /// How a dialog shows it: empty, `*` (secret) or `D` (for debugging).
    pub dispchar: String,
    /// Width of its field in a dialog, in characters.
    pub dispsize: i32,
    /// Default value, from the environment, the service file or libpq; empty when there is none.
    pub value: String,
}

impl Conninfo {
    /// Parses a conninfo string (`host=h dbname=d`) or a URI (`postgresql://...`).
    ///
    /// # Errors
    /// `POSTGRES CONNINFO` when libpq does not understand it, `POSTGRES NUL`.
    pub fn parse(conninfo: &str) -> Result<Conninfo, Error> {
        let conninfo = text::c_string(conninfo, "conninfo")?;
        let mut message = std::ptr::null_mut();
        // SAFETY: the string is NUL-terminated; the message pointer is ours to free below.
        let options = unsafe { pq_sys::PQconninfoParse(conninfo.as_ptr(), &mut message) };
        if options.is_null() {
            // SAFETY: libpq set it to NULL or to a string that it allocated.
            let reason = unsafe { text::owned(message) };
            if !message.is_null() {
                // SAFETY: allocated by libpq for us, freed once.
                unsafe { pq_sys::PQfreemem(message.cast()) };
            }
            return Err(Error::Conninfo { message: reason.trim_end().to_owned() });
        }
        // SAFETY: the array is the one libpq made.
        let params = unsafe { given(options) };
        Ok(Conninfo { params })
    }

    /// The value of `keyword`, or its default from the environment; empty when there is none. What
    /// a service file says is not looked at.
    pub(super) fn or_default<'a>(&'a self, defaults: &'a [ConnDefault], keyword: &str) -> &'a str {
        let given = self.get(keyword).filter(|value| !value.is_empty());
        let default = || defaults.iter().find(|d| d.keyword == keyword).map(|d| d.value.as_str());
        given.or_else(default).unwrap_or_default()
    }

    /// The value of `keyword`, when given.
    #[must_use]
    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.params.iter().find(|(k, _)| k == keyword).map(|(_, v)| v.as_str())
    }

    /// Sets or replaces `keyword`.
    pub fn set(&mut self, keyword: &str, value: &str) {
        match self.params.iter_mut().find(|(k, _)| k == keyword) {
            Some((_, v)) => value.clone_into(v),
            None => self.params.push((keyword.to_owned(), value.to_owned())),
        }
    }

    /// Sets `keyword` to what libpq would read behind `keyword=`: a value may be in quotes, and
    /// have backslashes before quotes, blanks and backslashes. What libpq would not read as one
    /// value counts as it is, and so never sets anything else.
    pub fn set_quoted(&mut self, keyword: &str, value: &str) {
        let parsed = Conninfo::parse(&format!("{keyword}={value}")).ok();
        let alone = parsed.filter(|parsed| parsed.params.len() == 1);
        match alone.as_ref().and_then(|parsed| parsed.get(keyword)) {
            Some(read) => self.set(keyword, read),
            None => self.set(keyword, value),
        }
    }

    /// Sets `keyword` unless it was given.
    pub fn set_default(&mut self, keyword: &str, value: &str) {
        if self.get(keyword).is_none() {
            self.params.push((keyword.to_owned(), value.to_owned()));
        }
    }

    /// Removes `keyword`.
    pub fn remove(&mut self, keyword: &str) {
        self.params.retain(|(k, _)| k != keyword);
    }

    /// All parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.params.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

impl std::fmt::Debug for Conninfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let secret = |k: &str| k.contains("password") || k.contains("secret");
        let shown = self.iter().map(|(k, v)| (k, if secret(k) { "(hidden)" } else { v }));
        f.debug_map().entries(shown).finish()
    }
}

impl Conn {
    /// What makes another connection to the same server and database, as the same user: the
    /// parameters in use, the password among them.
    #[must_use]
    pub fn conninfo(&self) -> Conninfo {
        // SAFETY: the connection is live; NULL means out of memory.
        let options = unsafe { pq_sys::PQconninfo(self.as_raw()) };
        if options.is_null() {
            return Conninfo::default();
        }
        // SAFETY: the array is the one libpq made.
        let mut conninfo = Conninfo { params: unsafe { given(options) } };
        // Of several hosts the one that answered; of several addresses of it any.
        if conninfo.iter().any(|(k, v)| ["host", "hostaddr"].contains(&k) && v.contains(',')) {
            conninfo.remove("hostaddr");
            conninfo.set("host", &self.host());
            conninfo.set("port", &self.port());
        }
        // From a password file perhaps, which another host name would not match.
        conninfo.set_default("password", &self.password());
        conninfo
    }
}

/// The options that have a value; frees the array.
///
/// # Safety
/// As for [`each_option`].
unsafe fn given(options: *mut pq_sys::PQconninfoOption) -> Vec<(String, String)> {
    let mut params = Vec::new();
    // SAFETY: the caller's promise; values are NULL or NUL-terminated; freed once.
    unsafe {
        each_option(options, |keyword, option| {
            if !option.val.is_null() {
                params.push((keyword, CStr::from_ptr(option.val).to_string_lossy().into()));
            }
        });
        pq_sys::PQconninfoFree(options);
    }
    params
}

/// Every parameter libpq knows, with its default.
#[must_use]
pub fn conndefaults() -> Vec<ConnDefault> {
    let mut all = Vec::new();
    // SAFETY: PQconndefaults has no preconditions; NULL means out of memory and leaves the list
    // empty.
    unsafe {
        let options = pq_sys::PQconndefaults();
        if options.is_null() {
            return all;
        }
        each_option(options, |keyword, option| {
            all.push(ConnDefault {
                keyword,
                label: text::owned(option.label),
                dispchar: text::owned(option.dispchar),
                dispsize: option.dispsize,
                value: text::owned(option.val),
            });
        });
        pq_sys::PQconninfoFree(options);
    }
    all
}

/// Calls `f` with the keyword of each option.
///
/// # Safety
/// `options` is an array made by libpq, ended by an option whose keyword is NULL, and not yet
/// freed.
unsafe fn each_option(
    options: *const pq_sys::PQconninfoOption,
    mut f: impl FnMut(String, &pq_sys::PQconninfoOption),
) {
    let mut option = options;
    loop {
        // SAFETY: the caller promises the array; we stop at its end mark.
        let current = unsafe { &*option };
        if current.keyword.is_null() {
            return;
        }
        // SAFETY: keywords are NUL-terminated strings of libpq.
        f(unsafe { text::owned(current.keyword) }, current);
        // SAFETY: the end mark was not reached, so there is a next element.
        option = unsafe { option.add(1) };
    }
}
