//! The decision tree, with a host that plays Tcl.

use std::collections::HashMap;

use super::*;

/// Plays an interpreter with a few commands and no `sqlite3` package.
#[derive(Default)]
struct Fake {
    commands: HashMap<String, Command>,
    origins: HashMap<String, String>,
}

// SAFETY: no command of this host is ever genuine, so that no pointer is followed.
unsafe impl Host for Fake {
    fn interp(&self) -> *const c_void {
        std::ptr::null()
    }

    fn command(&mut self, name: &str) -> Option<Command> {
        self.commands.get(name).copied()
    }

    fn eval(&mut self, words: &[&str]) -> Result<String, String> {
        match words {
            ["::namespace", "origin", name] => {
                Ok(self.origins.get(*name).unwrap_or(&(*name).to_owned()).clone())
            }
            ["::interp", "alias", "", "ring"] => Ok("ring2".to_owned()),
            ["::interp", "alias", "", "ring2"] => Ok("ring".to_owned()),
            ["::interp", "alias", "", _] => Ok(String::new()),
            ["::interp", "target", "", _] => Ok(String::new()),
            ["::llength", list] => Ok(list.split_whitespace().count().to_string()),
            ["::lindex", list, "0"] => Ok((*list).to_owned()),
            _ => Err("invalid command name".to_owned()),
        }
    }
}

fn command(address: usize) -> Command {
    Command { proc: address as *const c_void, data: std::ptr::null() }
}

fn reason(host: &mut Fake, name: &str) -> (&'static str, String) {
    let code = recover(host, name).map(|_| ()).unwrap_err().code();
    (code.reason, code.details[0].1.clone())
}

#[test]
fn what_is_no_handle_is_refused_by_name() {
    let mut host = Fake::default();
    host.commands.insert("set".to_owned(), command(16));
    host.commands.insert("imported".to_owned(), command(32));
    host.origins.insert("imported".to_owned(), "set".to_owned());
    host.commands.insert("ring".to_owned(), command(48));
    host.commands.insert("ring2".to_owned(), command(64));
    assert_eq!(reason(&mut host, "db"), ("NOTFOUND", "db".to_owned()));
    assert_eq!(reason(&mut host, "set"), ("FOREIGN", "set".to_owned()));
    assert_eq!(reason(&mut host, "imported"), ("FOREIGN", "imported".to_owned()));
    assert_eq!(reason(&mut host, "ring"), ("FOREIGN", "ring".to_owned()));
}

#[test]
fn the_table_of_the_installed_library_is_taken_twice() {
    super::super::testing::load().unwrap();
    super::super::testing::load_library(c"libsqlite3.so.0").unwrap();
    let library = api::library().unwrap();
    assert!(library.version >= 3_034_001 && !library.source_id.is_empty());
}

/// Descriptors of this process on `file`.
fn descriptors(file: &std::path::Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|path| path == file)).count()
}

#[test]
fn an_abandoned_connection_is_closed_once_whatever_its_owner_called() {
    super::super::testing::load().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().canonicalize().unwrap().join("x.db");
    for name in [c"sqlite3_close", c"sqlite3_close_v2"] {
        let owner = Db::open(&file, crate::sqlite::Access::Create).unwrap();
        let raw = NonNull::new(owner.raw()).unwrap();
        std::mem::forget(owner);
        // SAFETY: open, and closed below only.
        let db = unsafe { Db::borrow(raw) };
        db.exec("CREATE TABLE IF NOT EXISTS t (a); BEGIN; INSERT INTO t VALUES (1)").unwrap();
        let hold = Hold::on(&db).unwrap();
        // SAFETY: what the owner does, in the library that is loaded already.
        unsafe {
            let library = libc::dlopen(c"libsqlite3.so.0".as_ptr(), libc::RTLD_NOW);
            let close = libc::dlsym(library, name.as_ptr());
            assert!(!close.is_null());
            type Close = unsafe extern "C" fn(*mut ffi::sqlite3) -> std::ffi::c_int;
            std::mem::transmute::<*mut c_void, Close>(close)(raw.as_ptr());
        }
        assert!(descriptors(&file) > 0, "held open");
        // SAFETY: `hold` was alive, and no other statement is.
        unsafe { close_abandoned(&db, hold) };
        assert_eq!(descriptors(&file), 0);
        let db = Db::open(&file, crate::sqlite::Access::Read).unwrap();
        assert_eq!(db.query_int("SELECT count(*) FROM t", &[]).unwrap(), Some(0), "rolled back");
    }
}
