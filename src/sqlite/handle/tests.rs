//! The decision tree, with a host that plays Tcl.

use std::collections::HashMap;

use super::*;

/// Plays an interpreter with a few commands and no `sqlite3` package.
#[derive(Default)]
struct Fake {
    commands: HashMap<String, Command>,
    origins: HashMap<String, String>,
}

/// No command of this host is ever held.
enum Never {}

// SAFETY: there is none.
unsafe impl Hold for Never {
    fn deleted(&self) -> &AtomicBool {
        match *self {}
    }
}

// SAFETY: no command of this host is ever genuine, so that no pointer is followed.
unsafe impl Host for Fake {
    type Hold = Never;

    fn hold(&mut self, _: &str) -> Option<Never> {
        None
    }

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
