//! Prepared statements of a table, and the columns that their parameters come from.

use super::row::{Row, recycle};
use super::sql::{Shape, Sql};
use crate::sqlite::{self, Db, Stmt, Value};

/// A prepared statement and the columns that its parameters come from.
#[derive(Debug)]
pub(super) struct Prepared<'db> {
    stmt: Stmt<'db>,
    new: Vec<usize>,
    old: Vec<usize>,
}

impl<'db> Prepared<'db> {
    pub(super) fn new(db: &'db Db, sql: Sql) -> Result<Prepared<'db>, sqlite::Error> {
        Ok(Prepared { stmt: db.prepare(&sql.text)?, new: sql.new, old: sql.old })
    }

    /// Runs it with columns of the new row, then of the old one; returns the rows it changed.
    #[inline]
    pub(super) fn run(
        &mut self,
        spare: &mut Vec<Value<'static>>,
        new: &Row,
        old: &Row,
        line: &[u8],
    ) -> Result<u64, sqlite::Error> {
        let mut values = recycle(std::mem::take(spare));
        values.extend(self.new.iter().map(|column| new.value(*column, line)));
        values.extend(self.old.iter().map(|column| old.value(*column, line)));
        let result = self.stmt.execute(&values);
        *spare = recycle(values);
        result
    }
}

/// An update statement and what it was prepared for.
#[derive(Debug)]
struct Update<'db> {
    with_key: bool,
    unchanged: Vec<usize>,
    prepared: Prepared<'db>,
}

/// Update statements kept per table: tables with several TOAST columns have several.
const UPDATES_MAX: usize = 16;

/// The update statements of a table, one for each set of columns that an update leaves out.
#[derive(Debug, Default)]
pub(super) struct Updates<'db>(Vec<Update<'db>>);

impl<'db> Updates<'db> {
    /// The statement for these columns; there always is one.
    pub(super) fn of(
        &mut self,
        db: &'db Db,
        shape: &Shape,
        with_key: bool,
        unchanged: Vec<usize>,
    ) -> Result<Option<&mut Prepared<'db>>, sqlite::Error> {
        let same =
            |update: &Update<'_>| update.with_key == with_key && update.unchanged == unchanged;
        let at = match self.0.iter().position(same) {
            Some(at) => at,
            None => {
                let prepared = Prepared::new(db, shape.update(with_key, &unchanged))?;
                if self.0.len() >= UPDATES_MAX {
                    self.0.remove(0);
                }
                self.0.push(Update { with_key, unchanged, prepared });
                self.0.len() - 1
            }
        };
        Ok(self.0.get_mut(at).map(|update| &mut update.prepared))
    }

    /// Forgets them: rows are found in another way now.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
