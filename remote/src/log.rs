//! Log lines on standard error, one per event: the same form as that of the other programs.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use pgsqlite::shown::{self, is_hidden};
use time::OffsetDateTime;
use time::macros::format_description;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `TIME LEVEL EVENT key=value ...`
    Text,
    /// A JSON object.
    Json,
}

/// Writes log lines. Copies write to the same place.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// How.
    pub form: Form,
    /// The program's name.
    pub program: &'static str,
}

impl Log {
    /// Writes one event.
    pub fn event(&self, level: &str, event: &str, fields: &[(&str, &str)]) {
        let line = self.line(OffsetDateTime::now_utc(), level, event, fields);
        complain(&line);
    }

    /// An event at level `info`.
    pub fn info(&self, event: &str, fields: &[(&str, &str)]) {
        self.event("info", event, fields);
    }

    fn line(&self, now: OffsetDateTime, level: &str, event: &str, list: &[(&str, &str)]) -> String {
        let form = format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        );
        let time = now.format(&form).unwrap_or_default();
        let mut line = String::new();
        match self.form {
            Form::Text => {
                line = format!("{time} {level} {event}");
                for (key, value) in list {
                    line.push_str(&format!(" {key}="));
                    let odd = |c: char| c.is_whitespace() || is_hidden(c) || "\"=".contains(c);
                    if value.is_empty() || value.contains(odd) {
                        quote(&mut line, value);
                    } else {
                        line.push_str(value);
                    }
                }
            }
            Form::Json => {
                let head = [
                    ("time", &*time),
                    ("level", level),
                    ("program", self.program),
                    ("event", event),
                ];
                for (key, value) in head.iter().chain(list) {
                    line.push(if line.is_empty() { '{' } else { ',' });
                    quote(&mut line, key);
                    line.push(':');
                    quote(&mut line, value);
                }
                line.push('}');
            }
        }
        line.push('\n');
        line
    }
}

/// Prints what was asked for on standard output, and is the exit code of a program that does
/// nothing else. A reader that has enough is no failure.
#[must_use]
pub fn print(program: &str, text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain(&format!("{program}: cannot write standard output: {error}\n"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Writes words on standard error. Lines and tabs in them are our own.
pub fn complain(text: &str) {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\n' | '\t') { out.push(c) } else { shown::push(&mut out, c) }
    }
    // NOTE: nobody can be told that nothing can be told.
    let _ = std::io::stderr().lock().write_all(out.as_bytes());
}

/// A string that JSON understands; the text form has the same.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => shown::push(out, c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_both_forms_and_no_field_breaks_it() {
        let now = OffsetDateTime::from_unix_timestamp(1_507_507_200).unwrap();
        let list = [("path", "/a b\n"), ("status", "404"), ("none", "")];
        let log = Log { form: Form::Text, program: "daystream-serve" };
        let text = log.line(now, "info", "request", &list);
        let wanted =
            "2017-10-09T00:00:00.000Z info request path=\"/a b\\n\" status=404 none=\"\"\n";
        assert_eq!(text, wanted);
        let list = [("message", "\u{1b}[2J\u{9b}\u{202e}"), ("name", "a\u{2028}b\\")];
        let text = log.line(now, "info", "request", &list);
        let wanted = "message=\"\\u001b[2J\\u009b\\u202e\" name=\"a\\u2028b\\\\\"\n";
        assert!(text.ends_with(wanted), "{text}");
        let again = Log { form: Form::Json, ..log }.line(now, "info", "request", &list);
        assert!(again.is_ascii() && again.contains("\\u009b\\u202e\""), "{again}");
        let list = [("path", "/a b\n"), ("status", "404"), ("none", "")];
        let text = Log { form: Form::Json, ..log }.line(now, "info", "request", &list);
        assert!(text.starts_with("{\"time\":\"2017-10-09T00:00:00.000Z\",\"level\":\"info\","));
        assert!(text.ends_with("\"path\":\"/a b\\n\",\"status\":\"404\",\"none\":\"\"}\n"));
    }
}
