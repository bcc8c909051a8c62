//! Names of types: the stream gives object ids and modifiers only.

use crate::libpq::{Error, Guarded, Oid};
use std::collections::HashMap;
use std::fmt::Write;

/// A type's object id and modifier (-1: none).
pub type TypeKey = (Oid, i32);

/// What is known of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeName {
    /// As PostgreSQL prints it (`format_type`), as in `character varying(20)`.
    pub name: String,
    /// The type itself, or what a domain is over.
    pub base: Oid,
}

/// Names of types known so far. Not bounded: one entry per type and modifier that the published
/// tables have.
#[derive(Debug, Default)]
pub struct TypeNames {
    known: HashMap<TypeKey, TypeName>,
}

impl TypeNames {
    /// The name, when known.
    #[must_use]
    pub fn get(&self, key: TypeKey) -> Option<&TypeName> {
        self.known.get(&key)
    }

    /// Adds a name.
    pub fn insert(&mut self, key: TypeKey, name: TypeName) {
        self.known.insert(key, name);
    }

    /// Forgets all names, since types may be renamed while nobody listens.
    pub fn clear(&mut self) {
        self.known.clear();
    }

    /// Asks the server for the names of `keys`. A type that is gone gets PostgreSQL's name for
    /// that, `???`.
    ///
    /// # Errors
    /// Those of the query.
    pub fn ask(&mut self, conn: &Guarded<'_>, keys: &[TypeKey]) -> Result<(), Error> {
        let mut values = String::new();
        for (i, (id, modifier)) in keys.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            // Writing into a String cannot fail.
            let _ = write!(values, "{comma}({id}::pg_catalog.oid,({modifier})::pg_catalog.int4)");
        }
        if values.is_empty() {
            return Ok(());
        }
        self.learn(conn, &format!("values {values}"))?;
        for key in keys {
            self.known.entry(*key).or_insert(TypeName { name: "???".to_owned(), base: key.0 });
        }
        Ok(())
    }

    /// Asks for the names of all types in the tables of a publication.
    ///
    /// # Errors
    /// Those of the query.
    pub fn ask_publication(&mut self, conn: &Guarded<'_>, publication: &str) -> Result<(), Error> {
        let publication = conn.escape_literal(publication)?;
        self.learn(
            conn,
            &format!(
                "select a.atttypid, a.atttypmod from pg_catalog.pg_publication_tables p \
                 join pg_catalog.pg_namespace n on n.nspname = p.schemaname \
                 join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = p.tablename \
                 join pg_catalog.pg_attribute a on a.attrelid = c.oid \
                 where p.pubname = {publication} and a.attnum > 0 and not a.attisdropped"
            ),
        )
    }

    /// Learns the names of the types (id, modifier) that a query gives.
    fn learn(&mut self, conn: &Guarded<'_>, keys: &str) -> Result<(), Error> {
        // A domain over a domain is followed to its end.
        let sql = format!(
            "with recursive k(id, modifier) as ({keys}), \
             b(id, base) as (select id, id from k union \
               select b.id, t.typbasetype from b \
               join pg_catalog.pg_type t on t.oid = b.base where t.typtype = 'd') \
             select distinct k.id, k.modifier, pg_catalog.format_type(k.id, k.modifier), b.base \
             from k join b on b.id = k.id join pg_catalog.pg_type t on t.oid = b.base \
             where t.typtype <> 'd'"
        );
        let result = conn.query(&sql)?;
        for row in 0..result.ntuples() {
            let text = |col| result.text(row, col).unwrap_or_default();
            let numbers = (text(0).parse(), text(1).parse(), text(3).parse());
            let (Ok(id), Ok(modifier), Ok(base)) = numbers else {
                return Err(Error::Unexpected { wanted: "the names of types", got: text(0) });
            };
            self.insert((id, modifier), TypeName { name: text(2), base });
        }
        Ok(())
    }
}
