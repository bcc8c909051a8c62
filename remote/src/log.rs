//! Log lines on standard error, one per event: the same form as that of the other programs.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

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
                    let odd = |c: char| c.is_whitespace() || c.is_control() || "\"=".contains(c);
                    if value.is_empty() || value.contains(odd) {
                        line.push_str(&format!(" {key}={value:?}"));
                    } else {
                        line.push_str(&format!(" {key}={value}"));
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
                    line.push_str(&json(key));
                    line.push(':');
                    line.push_str(&json(value));
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

/// Writes words on standard error.
pub fn complain(text: &str) {
    // NOTE: nobody can be told that nothing can be told.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn json(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
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
        let text = Log { form: Form::Json, ..log }.line(now, "info", "request", &list);
        assert!(text.starts_with("{\"time\":\"2017-10-09T00:00:00.000Z\",\"level\":\"info\","));
        assert!(text.ends_with("\"path\":\"/a b\\u000a\",\"status\":\"404\",\"none\":\"\"}\n"));
    }
}
