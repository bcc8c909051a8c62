//! An index for a table whose rows are known only by all their values: without one each update and
//! delete reads the whole table.
//!
//! Its columns are those that tell most rows apart, by a sample of the rows: as few as do. A hash
//! of the row would need a function that other programs do not have, and a column that all see.
//! Rows that are equal in all of them are found one after the other.

use super::Error;
use crate::limits::{MIRROR_SAMPLE_COLUMNS, MIRROR_SAMPLE_ROWS};
use crate::schema::ddl::RESERVED_PREFIX;
use crate::sqlite::{Db, Value, quote_identifier};

/// Columns of such an index, at most.
const COLUMNS_MAX: usize = 3;
/// Values longer than this make an index that is larger than what it saves; in bytes.
const BYTES_MAX: i64 = 100;
/// A sample of fewer rows says nothing: the first columns it is then.
const ROWS_MIN: i64 = 100;

/// Makes the index on a table of `rows` rows, whose row number is called `rowid`.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn index(
    db: &Db,
    table: &str,
    columns: &[String],
    rowid: &str,
    rows: i64,
) -> Result<(), Error> {
    let quoted: Vec<String> = columns.iter().map(|name| quote_identifier(name)).collect();
    let each = (rows / MIRROR_SAMPLE_ROWS).max(1);
    let name = quote_identifier(table);
    // Rows were just loaded: their numbers are 1 and up.
    let sample = format!(
        "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + {each} FROM n WHERE i < {rows}) \
          SELECT i FROM n) AS n CROSS JOIN main.{name} AS t ON t.{rowid} = n.i"
    );
    let candidates = candidates(db, &quoted, &sample)?;
    let mut chosen: Vec<&str> = Vec::new();
    let mut apart = 0;
    while chosen.len() < COLUMNS_MAX {
        let mut best: Option<(i64, &str)> = None;
        for column in candidates.iter().filter(|column| !chosen.contains(column)) {
            let found = match rows {
                ..ROWS_MIN => apart + 1,
                _ => distinct(db, &chosen, column, &sample)?,
            };
            if best.is_none_or(|(most, _)| found > most) {
                best = Some((found, column));
            }
        }
        // One more column must tell a tenth more rows apart.
        let Some((found, column)) = best.filter(|(found, _)| found - apart > apart / 10) else {
            break;
        };
        (apart, _) = (found, chosen.push(column));
    }
    if chosen.is_empty() {
        return Ok(());
    }
    let index = quote_identifier(&format!("{RESERVED_PREFIX}rows_{table}"));
    db.exec(&format!("CREATE INDEX main.{index} ON {name} ({})", chosen.join(", ")))?;
    Ok(())
}

/// The columns that may be of use, the most various first; all of short values.
fn candidates<'c>(db: &Db, columns: &'c [String], sample: &str) -> Result<Vec<&'c str>, Error> {
    let mut list = Vec::new();
    for column in columns {
        let sql = format!(
            "SELECT count(DISTINCT t.{column}), coalesce(max(length(CAST(t.{column} AS BLOB))), 0) \
             FROM {sample}"
        );
        let mut stmt = db.prepare(&sql)?;
        stmt.step()?;
        let number = |at| match stmt.column(at) {
            Value::Int(number) => number,
            _ => 0,
        };
        if number(1) <= BYTES_MAX {
            list.push((number(0), column.as_str()));
        }
    }
    list.sort_by_key(|(various, _)| std::cmp::Reverse(*various));
    list.truncate(MIRROR_SAMPLE_COLUMNS);
    Ok(list.into_iter().map(|(_, column)| column).collect())
}

/// How many rows of the sample these columns tell apart.
fn distinct(db: &Db, chosen: &[&str], column: &str, sample: &str) -> Result<i64, Error> {
    let list: Vec<String> =
        chosen.iter().copied().chain([column]).map(|name| format!("t.{name}")).collect();
    let sql = format!("SELECT count(*) FROM (SELECT DISTINCT {} FROM {sample})", list.join(", "));
    Ok(db.query_int(&sql, &[])?.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(sql: &str, columns: &[&str], rows: i64) -> Option<String> {
        crate::sqlite::testing::load().unwrap();
        let db = Db::open_in_memory().unwrap();
        db.exec(sql).unwrap();
        let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        index(&db, "t", &columns, "rowid", rows).unwrap();
        let sql = "SELECT sql FROM main.sqlite_master WHERE type = 'index'";
        let found = db.query_text(sql, &[]).unwrap();
        found.map(|sql| sql.split_once("(").unwrap().1.to_owned())
    }

    #[test]
    fn as_few_columns_as_tell_the_rows_apart() {
        let rows = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000)
            insert into t select ";
        let of = |values: &str, columns: &[&str]| {
            let sql = format!(
                "create table t ({}); {rows} {values} from n",
                columns.iter().map(|name| quote_identifier(name)).collect::<Vec<_>>().join(", ")
            );
            chosen(&sql, columns, 2000)
        };
        assert_eq!(of("i % 2, i, 'x'", &["a", "b\"", "c"]).unwrap(), "\"b\"\"\")");
        assert_eq!(of("i % 2, i % 50, i / 50", &["a", "b", "c"]).unwrap(), "\"b\", \"c\")");
        // Long values, and only equal ones, are no help.
        assert_eq!(of("hex(zeroblob(200)) || i, i % 7", &["a", "b"]).unwrap(), "\"b\")");
        assert_eq!(of("1, null", &["a", "b"]).unwrap(), "\"a\")");
        assert_eq!(of("hex(zeroblob(200)) || i", &["a"]), None);
    }

    #[test]
    fn an_empty_table_gets_its_first_columns() {
        let columns = ["a", "b", "c", "d"];
        let sql = "create table t (a, b, c, d)";
        assert_eq!(chosen(sql, &columns, 0).unwrap(), "\"a\", \"b\", \"c\")");
    }
}
