//! What changed between two readings of a schema.
//!
//! Tables are the same when their names are, columns when their names are, or, in a table with the
//! same object id, their numbers (a rename). The order of the list is fixed: by table, then
//! subject, then name.

use super::model::{Column, Index, Table};

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The table itself.
    Table,
    /// A column.
    Column,
    /// The primary key.
    PrimaryKey,
    /// The replica identity.
    Identity,
    /// An index.
    Index,
    /// Its part in a partitioned table.
    Partition,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// New.
    Added,
    /// Gone.
    Removed,
    /// Another name.
    Renamed,
    /// Another definition.
    Changed,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// `schema.table`.
    pub table: String,
    /// What it is about.
    pub subject: Subject,
    /// Column or index name; empty where the subject has none.
    pub name: String,
    /// What happened.
    pub action: Action,
    /// Which property changed: `type`, `not null`, `default`, `generated`, `identity`, `columns`,
    /// `definition`, `name`; empty when the whole thing was added or removed.
    pub property: &'static str,
    /// Before; empty when added.
    pub from: String,
    /// After; empty when removed.
    pub to: String,
}

impl Subject {
    /// The word for it in lists shown to users.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Subject::Table => "table",
            Subject::Column => "column",
            Subject::PrimaryKey => "primary key",
            Subject::Identity => "replica identity",
            Subject::Index => "index",
            Subject::Partition => "partition",
        }
    }
}

impl Action {
    /// The word for it in lists shown to users.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Action::Added => "added",
            Action::Removed => "removed",
            Action::Renamed => "renamed",
            Action::Changed => "changed",
        }
    }
}

/// The differences that lead from `before` to `after`.
#[must_use]
pub fn diff(before: &[Table], after: &[Table]) -> Vec<Change> {
    let mut list = List { changes: Vec::new(), table: String::new() };
    for old in before {
        list.table = old.name.to_string();
        match after.iter().find(|new| new.name == old.name) {
            Some(new) => list.tables(old, new),
            None => list.whole(Subject::Table, "", Action::Removed, ""),
        }
    }
    for new in after.iter().filter(|new| !before.iter().any(|old| old.name == new.name)) {
        list.table = new.name.to_string();
        list.whole(Subject::Table, "", Action::Added, "");
    }
    list.changes.sort();
    list.changes
}

/// The changes found so far, and the table in hand.
struct List {
    changes: Vec<Change>,
    table: String,
}

impl List {
    /// Something came or went as a whole; `text` describes it.
    fn whole(&mut self, subject: Subject, name: &str, action: Action, text: &str) {
        let (from, to) = if action == Action::Added { ("", text) } else { (text, "") };
        self.push(subject, name, action, "", from, to);
    }

    /// A property that may have changed.
    fn property(&mut self, subject: Subject, name: &str, what: &'static str, from: &str, to: &str) {
        if from != to {
            self.push(subject, name, Action::Changed, what, from, to);
        }
    }

    fn push(
        &mut self,
        subject: Subject,
        name: &str,
        action: Action,
        property: &'static str,
        from: &str,
        to: &str,
    ) {
        self.changes.push(Change {
            table: self.table.clone(),
            subject,
            name: name.to_owned(),
            action,
            property,
            from: from.to_owned(),
            to: to.to_owned(),
        });
    }

    fn tables(&mut self, old: &Table, new: &Table) {
        self.columns(old, new);
        let key = |table: &Table| table.primary_key.join(", ");
        self.property(Subject::PrimaryKey, "", "columns", &key(old), &key(new));
        let identity = |table: &Table| match &table.identity {
            super::Identity::Default => "default".to_owned(),
            super::Identity::Full => "full".to_owned(),
            super::Identity::Nothing => "nothing".to_owned(),
            super::Identity::Index(name) => format!("index {name}"),
        };
        self.property(Subject::Identity, "", "definition", &identity(old), &identity(new));
        let partition = |table: &Table| match &table.partition {
            super::Partition::None => String::new(),
            super::Partition::Parent(key) => format!("partitioned by {key}"),
            super::Partition::Of(parent) => format!("partition of {parent}"),
        };
        self.property(Subject::Partition, "", "definition", &partition(old), &partition(new));
        self.indexes(&old.indexes, &new.indexes);
    }

    fn columns(&mut self, old: &Table, new: &Table) {
        let mut renamed: Vec<&str> = Vec::new();
        for before in &old.columns {
            if let Some(after) = new.column(&before.name) {
                self.column(before, after);
                continue;
            }
            let same_number = |column: &&Column| {
                column.number == before.number && old.column(&column.name).is_none()
            };
            let after = new.columns.iter().find(same_number).filter(|_| old.oid == new.oid);
            match after {
                Some(after) => {
                    let (from, to) = (before.name.as_str(), after.name.as_str());
                    self.push(Subject::Column, from, Action::Renamed, "name", from, to);
                    self.column(before, after);
                    renamed.push(to);
                }
                None => {
                    let text = before.type_name.as_str();
                    self.whole(Subject::Column, &before.name, Action::Removed, text);
                }
            }
        }
        for after in &new.columns {
            if old.column(&after.name).is_none() && !renamed.contains(&after.name.as_str()) {
                self.whole(Subject::Column, &after.name, Action::Added, &after.type_name);
            }
        }
    }

    fn column(&mut self, old: &Column, new: &Column) {
        let name = new.name.as_str();
        let yes = |value: bool| if value { "yes" } else { "no" };
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        self.property(Subject::Column, name, "type", &old.type_name, &new.type_name);
        self.property(Subject::Column, name, "not null", yes(old.not_null), yes(new.not_null));
        self.property(Subject::Column, name, "default", &text(&old.default), &text(&new.default));
        let (from, to) = (old.generated.letter(), new.generated.letter());
        self.property(Subject::Column, name, "generated", from, to);
        self.property(Subject::Column, name, "identity", yes(old.identity), yes(new.identity));
    }

    fn indexes(&mut self, old: &[Index], new: &[Index]) {
        for before in old {
            match new.iter().find(|after| after.name == before.name) {
                Some(after) => {
                    let (from, to) = (&before.definition, &after.definition);
                    self.property(Subject::Index, &before.name, "definition", from, to);
                }
                None => {
                    let text = before.definition.as_str();
                    self.whole(Subject::Index, &before.name, Action::Removed, text);
                }
            }
        }
        for after in new.iter().filter(|after| !old.iter().any(|old| old.name == after.name)) {
            self.whole(Subject::Index, &after.name, Action::Added, &after.definition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Identity, Partition, TableName};
    use super::*;
    use crate::schema::Generated;

    fn column(name: &str, number: i32, type_name: &str) -> Column {
        Column {
            name: name.into(),
            number,
            type_name: type_name.into(),
            type_oid: 0,
            base_oid: 0,
            base_name: type_name.into(),
            not_null: false,
            default: None,
            generated: Generated::No,
            identity: false,
        }
    }

    fn table(name: &str, columns: Vec<Column>) -> Table {
        Table {
            name: TableName::new("public", name),
            oid: 7,
            columns,
            primary_key: vec![],
            identity: Identity::Default,
            indexes: vec![],
            partition: Partition::None,
        }
    }

    #[test]
    fn a_schema_does_not_differ_from_itself() {
        let tables = [table("t", vec![column("a", 1, "integer")])];
        assert_eq!(diff(&tables, &tables), []);
    }

    #[test]
    fn every_kind_of_change_is_named_once() {
        let old = [
            table("gone", vec![]),
            table("t", vec![column("a", 1, "integer"), column("b", 2, "text")]),
        ];
        let mut changed = table("t", vec![column("a", 1, "bigint"), column("c", 2, "text")]);
        changed.columns.push(column("d", 3, "date"));
        changed.identity = Identity::Full;
        changed.primary_key = vec!["a".into()];
        let new = [changed, table("new", vec![])];
        let words: Vec<String> = diff(&old, &new)
            .iter()
            .map(|c| {
                let (s, a) = (c.subject.word(), c.action.word());
                format!("{} {s} {} {a} {} {}>{}", c.table, c.name, c.property, c.from, c.to)
            })
            .collect();
        assert_eq!(
            words,
            [
                "public.gone table  removed  >",
                "public.new table  added  >",
                "public.t column a changed type integer>bigint",
                "public.t column b renamed name b>c",
                "public.t column d added  >date",
                "public.t primary key  changed columns >a",
                "public.t replica identity  changed definition default>full",
            ]
        );
    }
}
