//! What needs no server. The rest is tested against a private cluster in `tests/libpq.rs`.

use super::*;
use crate::error::Coded;

#[test]
fn conninfo_is_parsed_and_changed_without_pasting() {
    let mut info = Conninfo::parse("host = 'a b' password='it''s' dbname=x").unwrap_or_default();
    // A doubled quote inside quotes is not an escape in conninfo strings.
    assert_eq!(info.get("host"), None);
    info = Conninfo::parse("host = 'a b' password='it\\'s' dbname=x").unwrap_or_default();
    assert_eq!((info.get("host"), info.get("password")), (Some("a b"), Some("it's")));
    info.set("dbname", "y z");
    info.set_default("host", "other");
    info.set_default("port", "7");
    assert_eq!((info.get("dbname"), info.get("host")), (Some("y z"), Some("a b")));
    assert_eq!(info.get("port"), Some("7"));
    assert!(!format!("{info:?}").contains("it's"));
    let uri = Conninfo::parse("postgresql://u@h:5/db?application_name=me").unwrap_or_default();
    assert_eq!((uri.get("user"), uri.get("application_name")), (Some("u"), Some("me")));
}

#[test]
fn a_wrong_conninfo_is_a_coded_error() {
    let error = Conninfo::parse("hostt=x").err().map(|e| e.code().reason);
    assert_eq!(error, Some("CONNINFO"));
    assert_eq!(Conninfo::parse("a\0b").err().map(|e| e.code().reason), Some("NUL"));
}

#[test]
fn a_refused_connection_is_retryable_and_a_wake_ends_a_wait() {
    let info = Conninfo::parse("host=/nonexistent").unwrap_or_default();
    let error = Conn::connect(&info).err();
    assert!(error.is_some_and(|e| e.is_retryable() && e.code().reason == "CONNECT"));
    let wake = Wake::new().expect("eventfd");
    wake.raise();
    assert!(wait(None, false, false, Some(&wake), None).is_ok_and(|r| r.woken));
    wake.clear();
    let timeout = std::time::Duration::from_millis(1);
    assert!(wait(None, false, false, Some(&wake), Some(timeout)).is_ok_and(|r| !r.woken));
}

#[test]
fn defaults_list_the_host_first_or_somewhere() {
    assert!(conndefaults().iter().any(|d| d.keyword == "host"));
}

#[test]
fn bytea_text_is_decoded() {
    assert_eq!(unescape_bytea(b"\\x00ff41").ok(), Some(vec![0, 255, 65]));
}
