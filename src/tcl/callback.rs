//! Callbacks that hear of events: `{*}$cb EVENT key value ...`.
//!
//! Every `-command` of the package is such a command prefix: the event's word is appended, then
//! names and values. Errors of the callback go to `interp bgerror`.

use super::error::{Failure, class_name};
use super::interp::Interp;
use super::obj::Obj;
use crate::error::{Class, Coded};

/// A command prefix that is told of events; without one nothing is told.
#[derive(Clone, Default)]
pub struct Callback(Option<Obj>);

impl Callback {
    /// The prefix that a `-command` option gave; an empty one is none.
    #[must_use]
    pub fn new(prefix: Option<&Obj>) -> Callback {
        Callback(prefix.filter(|prefix| !prefix.internal().is_empty()).cloned())
    }

    /// Whether there is somebody to tell.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Tells of an event.
    pub fn tell(&self, interp: Interp, event: &str, details: &[(&str, Obj)]) {
        let details = details.iter().map(|(key, value)| (Obj::text(key), value.clone()));
        self.tell_objects(interp, event, details);
    }

    /// Tells of an event whose details have names that are values already.
    pub fn tell_objects(
        &self,
        interp: Interp,
        event: &str,
        details: impl IntoIterator<Item = (Obj, Obj)>,
    ) {
        let Some(prefix) = &self.0 else { return };
        let mut words = vec![Obj::text(event)];
        words.extend(details.into_iter().flat_map(|(key, value)| [key, value]));
        interp.call_back(prefix, &words);
    }

    /// As [`Callback::tell`], with one value as detail.
    pub fn tell_value(&self, interp: Interp, event: &str, value: Obj) {
        let Some(prefix) = &self.0 else { return };
        interp.call_back(prefix, &[Obj::text(event), value]);
    }
}

/// An error on its way from another thread: message, errorCode and class.
#[derive(Debug, Clone)]
pub struct Report {
    /// What a command would raise.
    pub failure: Failure,
    /// What can be done about it.
    pub class: Class,
}

impl Report {
    /// The report of an error that stays where it is.
    pub fn of(error: &impl Coded) -> Report {
        Report { failure: Failure::of(error), class: error.class() }
    }

    /// `message M code C class K`.
    #[must_use]
    pub fn details(&self) -> Vec<(&'static str, Obj)> {
        vec![
            ("message", Obj::text(self.failure.message())),
            ("code", Obj::text_list(self.failure.code())),
            ("class", Obj::text(class_name(self.class))),
        ]
    }
}
