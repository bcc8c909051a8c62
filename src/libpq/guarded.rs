//! Statements of ours, on connections to databases in which others may make what they like.
//!
//! Whoever may create a function, an operator or a cast in a schema of the path decides what an
//! unqualified name in a statement means, and runs with the rights of the one who sent it. So a
//! statement of ours never runs but under the settings of [`super::settings`], of which the first
//! empties the path. They are made locally, in the very message of the statement, or at the
//! beginning of its transaction: behind a pool that hands a server to another client at the end of
//! each transaction, nothing of ours is left in it.

use super::settings::{self, Scope};
use super::{Conn, Conninfo, Error, Param, PgResult, TransactionStatus, Wake};
use std::ops::Deref;
use std::time::Duration;

/// A connection on which a statement means what it says.
///
/// [`Guarded::query`] and its kin run a statement under our settings. What is reached through the
/// [`Conn`] inside runs under the session's own: it must qualify every name, operators included,
/// or be a user's own statement.
#[derive(Debug)]
pub struct Guarded<'c> {
    conn: Held<'c>,
    /// What goes before a statement outside of a transaction; empty when the session has it.
    prefix: String,
}

#[derive(Debug)]
enum Held<'c> {
    Owned(Conn),
    Lent(&'c Conn),
}

impl Deref for Guarded<'_> {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        match &self.conn {
            Held::Owned(conn) => conn,
            Held::Lent(conn) => conn,
        }
    }
}

impl Guarded<'static> {
    /// Takes over a connection. Nothing is sent yet.
    #[must_use]
    pub fn new(conn: Conn) -> Guarded<'static> {
        let prefix = settings::statements(conn.server_version(), Scope::Session, true);
        Guarded { conn: Held::Owned(conn), prefix }
    }

    /// Takes over a connection that no pool shares (one in replication mode), and makes the
    /// settings for all of its session: what its walsender prints depends on them.
    ///
    /// # Errors
    /// Those of the statements.
    pub(super) fn whole_session(conn: Conn) -> Result<Guarded<'static>, Error> {
        conn.query(&settings::statements(conn.server_version(), Scope::Session, false))?;
        Ok(Guarded { conn: Held::Owned(conn), prefix: String::new() })
    }

    /// Connects as [`Conn::connect`] does.
    ///
    /// # Errors
    /// Those of [`Conn::connect`].
    pub fn connect(conninfo: &Conninfo) -> Result<Guarded<'static>, Error> {
        Conn::connect(conninfo).map(Guarded::new)
    }

    /// Connects as [`Conn::connect_within`] does.
    ///
    /// # Errors
    /// Those of [`Conn::connect_within`].
    pub fn connect_within(
        conninfo: &Conninfo,
        timeout: Duration,
        wake: Option<&Wake>,
    ) -> Result<Guarded<'static>, Error> {
        Conn::connect_within(conninfo, timeout, wake).map(Guarded::new)
    }

    /// The connection, for what needs it alone: a COPY in a transaction begun by
    /// [`Guarded::begin`]. `None` of one that is lent.
    #[must_use]
    pub fn conn_mut(&mut self) -> Option<&mut Conn> {
        match &mut self.conn {
            Held::Owned(conn) => Some(conn),
            Held::Lent(_) => None,
        }
    }
}

impl Guarded<'_> {
    /// What to send for `sql`: under our settings, in one message and so in one transaction.
    fn guarded(&self, sql: &str) -> String {
        match self.transaction_status() {
            TransactionStatus::Idle => format!("{}{sql}", self.prefix),
            // The transaction has them from its beginning.
            _ => sql.to_owned(),
        }
    }

    /// Runs statements whose failure is an error; the last one's result.
    ///
    /// # Errors
    /// As [`Conn::query`].
    pub fn query(&self, sql: &str) -> Result<PgResult, Error> {
        Conn::query(self, &self.guarded(sql))
    }

    /// Runs a statement with text parameters, in a transaction of its own where none is open.
    ///
    /// # Errors
    /// As [`Conn::query_params`].
    pub fn query_params(&self, sql: &str, params: &[Param<'_>]) -> Result<PgResult, Error> {
        if self.prefix.is_empty() || self.transaction_status() != TransactionStatus::Idle {
            return Conn::query_params(self, sql, params);
        }
        self.begin("")?;
        let result = Conn::query_params(self, sql, params);
        self.end(result)
    }

    /// Sends statements without waiting.
    ///
    /// # Errors
    /// As [`Conn::send_query`].
    pub fn send_query(&self, sql: &str) -> Result<(), Error> {
        Conn::send_query(self, &self.guarded(sql))
    }

    /// Begins a transaction under our settings; `modes` as in `BEGIN`. Ended by
    /// [`Guarded::commit`], or with the connection.
    ///
    /// # Errors
    /// As [`Conn::query`].
    pub fn begin(&self, modes: &str) -> Result<(), Error> {
        let begun = Conn::query(self, &format!("BEGIN {modes}; {}", self.prefix));
        begun.map(drop).inspect_err(|_| self.roll_back())
    }

    /// Ends the transaction.
    ///
    /// # Errors
    /// As [`Conn::query`].
    pub fn commit(&self) -> Result<(), Error> {
        Conn::query(self, "COMMIT").map(drop)
    }

    /// Ends a transaction that has failed, or whose work nobody wants.
    pub fn roll_back(&self) {
        // NOTE: a connection that is lost has no transaction either, and the error before is the
        // one to tell.
        let _ = self.exec("ROLLBACK");
    }

    /// Ends a transaction by what came of it.
    fn end<T, E: From<Error>>(&self, result: Result<T, E>) -> Result<T, E> {
        match result {
            Ok(value) => self.commit().map(|()| value).map_err(E::from),
            Err(error) => {
                self.roll_back();
                Err(error)
            }
        }
    }
}

/// Runs `body` on a connection that is a user's, under our settings, in one transaction: his, when
/// one is open. Afterwards his settings are as they were; of time limits his own hold throughout.
///
/// # Errors
/// Those of `body`, and of the statements around it.
pub fn guarded<T, E: From<Error>>(
    conn: &Conn,
    body: impl FnOnce(&Guarded<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let version = conn.server_version();
    let prefix = settings::statements(version, Scope::Meaning, true);
    let lent = Guarded { conn: Held::Lent(conn), prefix };
    if conn.transaction_status() == TransactionStatus::Idle {
        lent.begin("")?;
        let result = body(&lent);
        return lent.end(result);
    }
    let names: Vec<_> = settings::names(version, Scope::Meaning).collect();
    let asked = names.iter().map(|name| format!("pg_catalog.current_setting('{name}')"));
    let before = conn.query(&format!("SELECT {}", asked.collect::<Vec<_>>().join(", ")))?;
    conn.query(&lent.prefix)?;
    let result = body(&lent);
    // In a failed transaction this cannot run, nor need it: the rollback puts the settings back.
    let restored = restore(conn, &names, &before);
    let value = result?;
    restored?;
    Ok(value)
}

fn restore(conn: &Conn, names: &[&str], before: &PgResult) -> Result<(), Error> {
    let mut calls = Vec::with_capacity(names.len());
    for (column, name) in names.iter().enumerate() {
        let value = conn.escape_literal(&before.text(0, column).unwrap_or_default())?;
        calls.push(format!("pg_catalog.set_config('{name}', {value}, true)"));
    }
    conn.query(&format!("SELECT {}", calls.join(", "))).map(drop)
}
