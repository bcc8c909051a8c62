//! The SQL statements that change a mirrored table: names quoted, values as parameters.
//!
//! Columns are called by the table they are of: SQLite takes a name in quotes for a text where no
//! such column is there. OR ABORT stands against what a constraint may say of conflicts (ON
//! CONFLICT REPLACE would remove other rows).

use crate::schema::ddl::Lookup;
use crate::sqlite::quote_identifier;

/// What the statements of a table are made from.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// Name in SQLite.
    pub(super) table: String,
    /// Column names in order.
    pub(super) columns: Vec<String>,
    /// Columns that hold numbers as they come, where SQLite takes 1 for 1.0.
    pub(super) loose: Vec<usize>,
    /// How old rows are found.
    pub(super) lookup: Lookup,
    /// A name of the row number that no column in the file hides.
    pub(super) rowid: Option<&'static str>,
}

/// A statement and the columns whose values are its parameters, in order; those of the old row
/// come after those of the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sql {
    pub(super) text: String,
    /// Columns of the new row.
    pub(super) new: Vec<usize>,
    /// Columns of the old row.
    pub(super) old: Vec<usize>,
}

impl Shape {
    fn target(&self) -> String {
        format!("main.{}", quote_identifier(&self.table))
    }

    fn quoted(&self, column: usize) -> String {
        quote_identifier(self.columns.get(column).map_or("", String::as_str))
    }

    /// A column of the table called `t`.
    fn of(&self, column: usize) -> String {
        format!("t.{}", self.quoted(column))
    }

    /// The columns that find an old row; empty when none ever is.
    pub(super) fn old_columns(&self) -> Vec<usize> {
        match &self.lookup {
            Lookup::Never => Vec::new(),
            Lookup::Row => (0..self.columns.len()).collect(),
            Lookup::Key(names) => names
                .iter()
                .filter_map(|name| self.columns.iter().position(|column| column == name))
                .collect(),
        }
    }

    pub(super) fn insert(&self) -> Sql {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let names = all.iter().map(|c| self.quoted(*c)).collect::<Vec<_>>().join(", ");
        let marks = all.iter().map(|c| format!("?{}", c + 1)).collect::<Vec<_>>().join(", ");
        let text = format!("INSERT OR ABORT INTO {} ({names}) VALUES ({marks})", self.target());
        Sql { text, new: all, old: Vec::new() }
    }

    /// An update that leaves out `unchanged` columns, and the key as well unless `with_key`.
    pub(super) fn update(&self, with_key: bool, unchanged: &[usize]) -> Sql {
        let old = self.old_columns();
        let keeps_key = !with_key && self.lookup != Lookup::Row;
        let new: Vec<usize> = (0..self.columns.len())
            .filter(|c| !(unchanged.contains(c) || keeps_key && old.contains(c)))
            .collect();
        let mut set: Vec<String> = new
            .iter()
            .enumerate()
            .map(|(n, c)| format!("{} = ?{}", self.quoted(*c), n + 1))
            .collect();
        if set.is_empty() {
            // Nothing to set, but the row must be there.
            let same = old.first().copied().unwrap_or_default();
            set.push(format!("{} = {}", self.quoted(same), self.of(same)));
        }
        let found = self.found(&old, new.len());
        let (target, set) = (self.target(), set.join(", "));
        let text = format!("UPDATE OR ABORT {target} AS t SET {set} WHERE {found}");
        Sql { text, new, old }
    }

    pub(super) fn delete(&self) -> Sql {
        let old = self.old_columns();
        let text = format!("DELETE FROM {} AS t WHERE {}", self.target(), self.found(&old, 0));
        Sql { text, new: Vec::new(), old }
    }

    pub(super) fn truncate(&self) -> String {
        format!("DELETE FROM {}", self.target())
    }

    /// The condition that finds the old row; its parameters come after `before` others.
    fn found(&self, old: &[usize], before: usize) -> String {
        let whole = self.lookup == Lookup::Row;
        let test = |(n, c): (usize, &usize)| {
            let (column, mark) = (self.of(*c), before + n + 1);
            match (whole, self.loose.contains(c)) {
                (false, _) => format!("{column} = ?{mark}"),
                (true, false) => format!("{column} IS ?{mark}"),
                (true, true) => {
                    format!("({column} IS ?{mark} AND typeof({column}) = typeof(?{mark}))")
                }
            }
        };
        let tests: Vec<String> = old.iter().enumerate().map(test).collect();
        let condition = all_of(&tests);
        if !whole {
            return condition;
        }
        // Rows may be equal: exactly one of them is meant. Without a name of the row number no
        // statement is made: see `Target`.
        let rowid = self.rowid.unwrap_or("rowid");
        let target = self.target();
        format!("t.{rowid} = (SELECT t.{rowid} FROM {target} AS t WHERE {condition} LIMIT 1)")
    }
}

/// The conditions joined by AND as a balanced tree: SQLite allows a depth of 1,000, and a table
/// may have 1,600 columns.
pub(super) fn all_of(tests: &[String]) -> String {
    match tests {
        [] => "0".to_owned(),
        [one] => one.clone(),
        _ => {
            let (left, right) = tests.split_at(tests.len() / 2);
            format!("({} AND {})", all_of(left), all_of(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(lookup: Lookup) -> Shape {
        let columns = ["id", "a\"b", "c"].map(str::to_owned).to_vec();
        Shape { table: "s.t".into(), columns, loose: vec![2], lookup, rowid: Some("oid") }
    }

    #[test]
    fn keyed_tables_are_found_by_their_key() {
        let s = shape(Lookup::Key(vec!["id".into()]));
        assert_eq!(
            s.insert().text,
            "INSERT OR ABORT INTO main.\"s.t\" (\"id\", \"a\"\"b\", \"c\") VALUES (?1, ?2, ?3)"
        );
        assert_eq!(
            s.update(false, &[2]),
            Sql {
                text: "UPDATE OR ABORT main.\"s.t\" AS t SET \"a\"\"b\" = ?1 WHERE t.\"id\" = ?2"
                    .into(),
                new: vec![1],
                old: vec![0]
            }
        );
        assert_eq!(
            s.update(true, &[]).text,
            "UPDATE OR ABORT main.\"s.t\" AS t SET \"id\" = ?1, \"a\"\"b\" = ?2, \"c\" = ?3 \
             WHERE t.\"id\" = ?4"
        );
        assert_eq!(
            s.update(false, &[1, 2]).text,
            "UPDATE OR ABORT main.\"s.t\" AS t SET \"id\" = t.\"id\" WHERE t.\"id\" = ?1"
        );
        assert_eq!(s.delete().text, "DELETE FROM main.\"s.t\" AS t WHERE t.\"id\" = ?1");
        assert_eq!(s.truncate(), "DELETE FROM main.\"s.t\"");
    }

    #[test]
    fn whole_rows_are_found_one_at_a_time() {
        let s = shape(Lookup::Row);
        assert_eq!(
            s.delete().text,
            "DELETE FROM main.\"s.t\" AS t WHERE t.oid = (SELECT t.oid FROM \
             main.\"s.t\" AS t WHERE (t.\"id\" IS ?1 AND (t.\"a\"\"b\" IS ?2 AND \
             (t.\"c\" IS ?3 AND typeof(t.\"c\") = typeof(?3)))) LIMIT 1)"
        );
        let begin = "UPDATE OR ABORT main.\"s.t\" AS t SET \"id\" = ?1, ";
        assert!(s.update(true, &[]).text.starts_with(begin));
        assert_eq!(s.update(true, &[]).old, [0, 1, 2]);
        assert_eq!(s.update(true, &[1]).new, [0, 2]);
    }

    #[test]
    fn a_condition_on_1600_columns_is_not_deep() {
        let tests = vec!["x IS 1".to_owned(); 1600];
        let (mut depth, mut deepest) = (0, 0);
        for c in all_of(&tests).chars() {
            depth += i32::from(c == '(') - i32::from(c == ')');
            deepest = deepest.max(depth);
        }
        assert!(deepest < 20, "{deepest}");
    }
}
