//! How a command ends other than well: an error of ours, or something the interpreter holds
//! already.

use super::interp::Interp;
use super::obj::Obj;
use crate::error::{Class, Coded};
use std::ffi::c_int;
use tcl_sys as sys;

/// The result of a command's body.
pub type CmdResult<T = Obj> = Result<T, Exception>;

/// An error message with its errorCode.
#[derive(Debug, Clone)]
pub struct Failure {
    message: String,
    code: Vec<String>,
    /// What else `catch` tells: the server's code, the class of the error.
    options: Vec<(&'static str, String)>,
}

impl Failure {
    /// An error with an errorCode of these elements; none leaves `NONE`.
    pub fn new(message: impl Into<String>, code: &[&str]) -> Failure {
        let code = code.iter().map(|c| (*c).to_owned()).collect();
        Failure { message: message.into(), code, options: Vec::new() }
    }

    /// The same, with the server's code as `-sqlstate` in the return options.
    #[must_use]
    pub fn with_sqlstate(mut self, sqlstate: &str) -> Failure {
        self.options.retain(|(key, _)| *key != "-sqlstate");
        self.options.push(("-sqlstate", sqlstate.to_owned()));
        self
    }

    /// An error without an errorCode.
    pub fn plain(message: impl Into<String>) -> Failure {
        Failure::new(message, &[])
    }

    /// `wrong # args: should be "..."`, coded as Tcl codes it.
    #[must_use]
    pub fn wrong_args(usage: &str) -> Failure {
        Failure::new(format!("wrong # args: should be \"{usage}\""), &["TCL", "WRONGARGS"])
    }

    /// `bad WHAT "X": must be a, b, or c`, coded as Tcl codes it.
    #[must_use]
    pub fn bad_word(what: &str, word: &str, choices: &[&str]) -> Failure {
        Failure::new(
            format!("bad {what} \"{word}\": must be {}", choice_list(choices)),
            &["TCL", "LOOKUP", "INDEX", what, word],
        )
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The elements of the errorCode.
    #[must_use]
    pub fn code(&self) -> &[String] {
        &self.code
    }

    /// Leaves message and code in the interpreter.
    pub(super) fn raise(&self, interp: Interp) {
        interp.set_result(&Obj::text(&self.message));
        let code = Obj::text_list(&self.code);
        if !self.options.is_empty() {
            interp.set_error_options(&code, &self.options);
        } else if !self.code.is_empty() {
            interp.set_error_code(&code);
        }
    }
}

/// `a`, `a or b`, `a, b, or c`: as Tcl lists choices.
#[must_use]
pub fn choice_list(choices: &[&str]) -> String {
    match choices {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [one, two] => format!("{one} or {two}"),
        [most @ .., last] => format!("{}, or {last}", most.join(", ")),
    }
}

/// Anything but a normal result.
#[derive(Debug, Clone)]
pub enum Exception {
    /// An error of ours.
    Failure(Failure),
    /// The interpreter holds result and code already; the number is Tcl's (error, return, break,
    /// continue).
    Raised(c_int),
}

impl Exception {
    /// Leaves the errorCode alone, in the global variable of that name: for a command that does not
    /// raise, but tells by its result that something was refused.
    pub fn leave_code(&self, interp: Interp) {
        if let Exception::Failure(failure) = self {
            let code = Obj::text_list(failure.code());
            // Refused only by a trace of the script's own.
            let _ = interp.set_var(&Obj::text("::errorCode"), None, &code);
        }
    }

    /// Leaves the exception in the interpreter; returns Tcl's code.
    pub(super) fn raise(&self, interp: Interp) -> c_int {
        match self {
            Exception::Failure(failure) => {
                failure.raise(interp);
                sys::TCL_ERROR
            }
            Exception::Raised(code) => *code,
        }
    }
}

impl From<Failure> for Exception {
    fn from(failure: Failure) -> Exception {
        Exception::Failure(failure)
    }
}

/// What class an errorCode's error is of, for the events that name it.
#[must_use]
pub fn class_name(class: Class) -> &'static str {
    match class {
        Class::Usage => "usage",
        Class::Retry => "retry",
        Class::Drift => "drift",
        Class::Poison => "poison",
        Class::Fatal => "fatal",
    }
}

impl Failure {
    /// The failure of an error that stays where it is.
    pub fn of(error: &impl Coded) -> Failure {
        let code = error.code();
        let sqlstate = code.details.iter().find(|(key, _)| *key == "sqlstate");
        let mut options = vec![("-class", class_name(error.class()).to_owned())];
        options.extend(sqlstate.map(|(_, value)| ("-sqlstate", value.clone())));
        Failure { message: error.report(), code: code.words(), options }
    }
}

impl<E: Coded> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::of(&error)
    }
}

impl<E: Coded> From<E> for Exception {
    fn from(error: E) -> Exception {
        Exception::Failure(error.into())
    }
}
