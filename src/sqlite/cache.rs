//! A larger page cache on a connection that is somebody else's, for a while.

use super::{Db, Result, quote_identifier};

/// A page cache that is larger until this is dropped.
#[derive(Debug)]
pub struct Cache<'db> {
    db: &'db Db,
    schema: String,
    before: Option<i64>,
}

impl Cache<'_> {
    /// Enlarges the cache of a database (`main`, `temp`, an attached one) to `bytes`, unless it is
    /// as large already.
    ///
    /// # Errors
    /// SQLite's, as when an authorizer refuses it: the work can go on without.
    pub fn enlarge<'db>(db: &'db Db, schema: &str, bytes: u64) -> Result<Cache<'db>> {
        let schema = quote_identifier(schema);
        let before = db.query_int(&format!("PRAGMA {schema}.cache_size"), &[])?;
        let page = db.query_int(&format!("PRAGMA {schema}.page_size"), &[])?.unwrap_or(4096);
        // Negative: KiB; else pages.
        let now = before.map_or(0, |size| {
            if size < 0 { size.saturating_mul(-1024) } else { size.saturating_mul(page) }
        });
        if u64::try_from(now).unwrap_or(0) >= bytes {
            return Ok(Cache { db, schema, before: None });
        }
        db.exec(&format!("PRAGMA {schema}.cache_size = -{}", bytes >> 10))?;
        Ok(Cache { db, schema, before })
    }
}

impl Drop for Cache<'_> {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            // A cache that stays larger would do no harm.
            let _ = self.db.exec(&format!("PRAGMA {}.cache_size = {before}", self.schema));
        }
    }
}
