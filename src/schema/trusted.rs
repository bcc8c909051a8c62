//! Whether the objects of a schema of ours are such that they can be used.
//!
//! Whoever may CREATE in a database can make a schema and tables by our names before we do: a view
//! over a function, a table with a trigger. What we run on them would run that function, with the
//! rights of the one who asked us. So they are used only when they are plain tables of the current
//! user or of a superuser, and nothing hangs on them that runs code. The same goes for functions
//! that others are to call: they must be, to the letter, what we make.

use super::Error;
use super::catalog::{Row, param};
use crate::libpq::Guarded;

/// Roles that are trusted, as a part of a `WITH`.
const TRUSTED: &str = "trusted AS ( \
      SELECT r.oid FROM pg_catalog.pg_roles r \
       WHERE r.rolsuper OR r.rolname = current_user \
      UNION SELECT r.oid FROM pg_catalog.pg_roles r, pg_catalog.pg_database d \
        JOIN pg_catalog.pg_roles o ON o.oid = d.datdba \
       WHERE r.rolname = 'pg_database_owner' AND d.datname = pg_catalog.current_database() \
         AND (o.rolsuper OR o.rolname = current_user)), \
    space AS (SELECT oid, nspname, nspowner FROM pg_catalog.pg_namespace WHERE nspname = $1)";

/// What a reader or writer of the tables `$2` in the schema `$1` must not meet; one row for each.
/// Owners first: of what belongs to somebody else the rest may change at any moment.
const UNSAFE: &str = "rel AS (SELECT c.* FROM pg_catalog.pg_class c \
      JOIN space s ON s.oid = c.relnamespace \
      WHERE c.relname = ANY ($2::pg_catalog.text[])) \
    SELECT 1, 'schema ' || nspname, pg_catalog.pg_get_userbyid(nspowner), \
        'belongs to another role' FROM space WHERE nspowner NOT IN (SELECT oid FROM trusted) \
    UNION ALL SELECT 2, relname, pg_catalog.pg_get_userbyid(relowner), 'belongs to another role' \
      FROM rel WHERE relowner NOT IN (SELECT oid FROM trusted) \
    UNION ALL SELECT 3, relname, pg_catalog.pg_get_userbyid(relowner), CASE \
        WHEN relkind <> 'r' OR relpersistence = 't' THEN 'is not an ordinary table' \
        WHEN relhasrules THEN 'has rules' \
        WHEN relrowsecurity THEN 'has row security' \
        WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger t \
          WHERE t.tgrelid = rel.oid AND NOT t.tgisinternal) THEN 'has triggers' \
        WHEN EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = rel.oid) \
          THEN 'has policies' \
        WHEN EXISTS (SELECT FROM pg_catalog.pg_attrdef d WHERE d.adrelid = rel.oid \
          AND pg_catalog.pg_get_expr(d.adbin, d.adrelid) <> 'now()') \
          THEN 'has default expressions' \
        WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = rel.oid \
          AND k.contype NOT IN ('p', 'f', 'n')) THEN 'has constraints of its own' \
        WHEN EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = rel.oid \
          AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)) THEN 'has indexes of expressions' \
        WHEN EXISTS (SELECT FROM pg_catalog.pg_attribute a \
          JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
          WHERE a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped \
            AND t.typnamespace <> 'pg_catalog'::pg_catalog.regnamespace) \
          THEN 'has columns of types that somebody made' \
        WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits h \
          WHERE rel.oid IN (h.inhrelid, h.inhparent)) THEN 'has parents or children' END \
      FROM rel ORDER BY 1, 2";

/// An object that is not to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Distrust {
    /// The object, or the schema itself.
    pub(crate) object: String,
    /// Whose it is.
    pub(crate) owner: String,
    /// What is wrong with it.
    pub(crate) why: String,
}

/// The first object in the answer to a question. Columns: place, object, owner,
/// what is wrong (null: nothing).
fn first(
    conn: &Guarded<'_>,
    question: &str,
    schema: &str,
    names: &[&str],
) -> Result<Option<Distrust>, Error> {
    let names = format!("{{{}}}", names.join(","));
    let question = format!("WITH {TRUSTED}, {question}");
    let found = conn.query_params(&question, &[param(schema), param(&names)])?;
    for row in (0..found.ntuples()).map(|row| Row { result: &found, row }) {
        let Some(why) = row.optional(3)? else { continue };
        return Ok(Some(Distrust { object: row.text(1)?, owner: row.text(2)?, why }));
    }
    Ok(None)
}

/// Looks at the schema `schema` and at those of `tables` that are in it.
///
/// # Errors
/// [`Error::Unsafe`], naming the object, its owner and what is wrong; [`Error::Postgres`].
pub(super) fn check(conn: &Guarded<'_>, schema: &str, tables: &[&str]) -> Result<(), Error> {
    match first(conn, UNSAFE, schema, tables)? {
        None => Ok(()),
        Some(Distrust { object, owner, why }) => {
            Err(Error::Unsafe { schema: schema.to_owned(), object, owner, why })
        }
    }
}

/// What is called by the names `$2`, or as they are with other arguments, in the schema `$1`.
const UNSAFE_FUNCTIONS: &str = "fun AS (SELECT p.* FROM pg_catalog.pg_proc p \
      JOIN space s ON s.oid = p.pronamespace \
      WHERE p.proname = ANY ($2::pg_catalog.text[])) \
    SELECT 1, 'schema ' || nspname, pg_catalog.pg_get_userbyid(nspowner), \
        'belongs to another role' FROM space WHERE nspowner NOT IN (SELECT oid FROM trusted) \
    UNION ALL SELECT 2, proname || '(' || pg_catalog.pg_get_function_identity_arguments(oid) \
        || ')', pg_catalog.pg_get_userbyid(proowner), 'belongs to another role' \
      FROM fun WHERE proowner NOT IN (SELECT oid FROM trusted) ORDER BY 1, 2";

/// Looks at the schema `schema` and at the functions of these names in it, whatever their
/// arguments: whose they are.
///
/// # Errors
/// [`Error::Postgres`].
pub(crate) fn of_functions(
    conn: &Guarded<'_>,
    schema: &str,
    names: &[&str],
) -> Result<Option<Distrust>, Error> {
    first(conn, UNSAFE_FUNCTIONS, schema, names)
}
