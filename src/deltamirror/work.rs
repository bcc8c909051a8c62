//! Who follows into a file, and how the last one ended: a note in the file, held against whether a
//! process is there ([`super::alone`]).

use super::alone::{Claim, Others, Role};
use super::{Error, format};
use crate::daystream::{Doing, Work};
use crate::sqlite::{Db, Value};

const CREATE: &str = "CREATE TABLE IF NOT EXISTS main._deltamirror_work (
  state TEXT NOT NULL, since_us INTEGER NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL)";

/// Notes what is done with the file. What hinders it (a lock, a full disk) is no reason to do
/// anything else: who asks learns less.
pub(super) fn note(db: &Db, work: &Work) {
    if !db.in_transaction() && write(db, work).is_err() {
        super::busy::roll_back(db);
    }
}

fn write(db: &Db, work: &Work) -> Result<(), Error> {
    if !format::has_table(db, "_deltamirror_stream")? {
        return Ok(());
    }
    db.exec("BEGIN IMMEDIATE")?;
    db.exec(CREATE)?;
    db.exec("DELETE FROM main._deltamirror_work")?;
    db.execute(
        "INSERT INTO main._deltamirror_work VALUES (?1, ?2, ?3, ?4)",
        &[
            work.doing.word().into(),
            Value::Int(work.since_us.unwrap_or(0)),
            work.code.as_str().into(),
            work.message.as_str().into(),
        ],
    )?;
    Ok(db.exec("COMMIT")?)
}

/// Notes how an apply ended that nobody follows: an error, or that the one before it is over.
pub(super) fn note_end(db: &Db, error: Option<&Error>) {
    let told = said(db).ok().flatten();
    match error {
        // Asked to end, or in the way of somebody else: nothing is wrong with the mirror.
        Some(Error::Stopped | Error::Busy { .. } | Error::InTransaction | Error::Declined(_)) => {}
        Some(error) => {
            let work = Work::because(Doing::Failed, error);
            // NOTE: since when is of the first one.
            if told.is_none_or(|told| (told.doing, &told.code) != (work.doing, &work.code)) {
                note(db, &work);
            }
        }
        None if told.is_some_and(|told| told.doing != Doing::Stopped) => {
            note(db, &Work::now(Doing::Stopped));
        }
        None => {}
    }
}

fn said(db: &Db) -> Result<Option<Work>, Error> {
    if !format::has_table(db, "_deltamirror_work")? {
        return Ok(None);
    }
    let sql = "SELECT state, since_us, code, message FROM main._deltamirror_work";
    let mut stmt = db.prepare(sql)?;
    if !stmt.step()? {
        return Ok(None);
    }
    let text = |column| stmt.column(column).as_str().unwrap_or_default().to_owned();
    let (doing, since_us) = (Doing::of(&text(0)), stmt.column(1).as_int());
    Ok(Some(Work { doing, since_us, code: text(2), message: text(3) }))
}

/// What is known of who follows into the file.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn of(db: &Db) -> Result<Work, Error> {
    let there = match db.file().map(|file| Claim::seen(&file, Role::Follows)) {
        Some(Others::Some) => Some(true),
        Some(Others::None) => Some(false),
        _ => None,
    };
    let said = said(db)?.unwrap_or(Work { doing: Doing::None, ..Work::default() });
    Ok(said.held_against(there))
}
