//! What a server says of an output plugin that it does not have, or does not let anybody use.
//!
//! Since the minor releases 15.19 and those of the other majors of that date, an output plugin must
//! be listed in the setting `output_plugin_libraries`; pgoutput is by default.

use super::Error;
use crate::libpq::{self, Guarded, ServerError};

/// The setting's name: it stands in the server's hint, whatever the language.
const SETTING: &str = "output_plugin_libraries";

/// The error in this stage's words when the server's is about the plugin itself.
pub(super) fn explain(conn: &Guarded<'_>, plugin: &str, error: &ServerError) -> Option<Error> {
    let named = libpq::names(&error.message, plugin);
    match error.sqlstate.as_str() {
        // insufficient_privilege
        "42501" if named && (error.hint.contains(SETTING) || error.detail.contains(SETTING)) => {
            let listed = listed(conn).unwrap_or_default();
            Some(Error::PluginNotListed {
                plugin: plugin.to_owned(),
                remedy: remedy(&listed, plugin),
            })
        }
        // undefined_file: the library's, not that of a WAL segment
        "58P01" if named => {
            let (plugin, message) = (plugin.to_owned(), error.message.clone());
            Some(Error::PluginMissing { plugin, message })
        }
        _ => None,
    }
}

/// The setting as it is now. `None`: it cannot be read, and what is listed must be asked for by
/// hand.
fn listed(conn: &Guarded<'_>) -> Option<String> {
    let sql = format!("select pg_catalog.current_setting('{SETTING}', true)");
    conn.query(&sql).ok()?.text(0, 0)
}

/// The statement that adds `plugin` to a list of libraries.
fn remedy(listed: &str, plugin: &str) -> String {
    let libraries = listed.split(',').map(|name| name.trim().trim_matches('"'));
    let names: Vec<String> =
        libraries.filter(|name| !name.is_empty()).chain([plugin]).map(quoted).collect();
    format!("ALTER SYSTEM SET {SETTING} = {}", names.join(", "))
}

/// A library's name in a list of settings: as it is, or as a literal (`$libdir/x`).
fn quoted(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if plain { name.to_owned() } else { format!("'{}'", name.replace('\'', "''")) }
}

#[cfg(test)]
mod tests {
    use super::remedy;

    #[test]
    fn the_remedy_keeps_what_is_listed() {
        assert_eq!(
            remedy("pgoutput, test_decoding", "deltaflood"),
            "ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, deltaflood"
        );
        assert_eq!(
            remedy("pgoutput, \"$libdir/wal2json\"", "deltaflood"),
            "ALTER SYSTEM SET output_plugin_libraries = pgoutput, '$libdir/wal2json', deltaflood"
        );
    }
}
