//! What can be wrong with a line, and at which byte.

/// Why a line is not a change line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The line has an odd number of fields: a key without a value.
    OddFields,
    /// A backslash that is not followed by one of `\ t n r`.
    BadEscape,
    /// A line feed inside the line.
    LineFeed,
    /// The input ends within the line.
    NoLineFeed,
    /// The head ends without `_action`.
    NoVerb,
    /// `_action` names no verb of this format.
    UnknownVerb,
    /// A key in the head that is no pseudo-column of this format.
    UnknownHead,
    /// A pseudo-column that is in the head twice.
    DuplicateHead,
    /// The value of a pseudo-column is not of its form (a number, an LSN, a checksum).
    BadHead,
    /// The verb needs a table, and the head names none.
    NoTable,
    /// The verb has no columns, and the line has some.
    ColumnsNotAllowed,
    /// A column without a name.
    EmptyKey,
    /// A column that is in the line twice.
    DuplicateColumn,
    /// `_unchanged` or `_key` is not a list in backslash form.
    BadList,
    /// Details that only a `schema` line has, or of which some are missing or do not fit the
    /// columns.
    BadDetails,
}

impl Kind {
    /// The stable upper-case word of this kind, for error codes and test vectors.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Kind::OddFields => "ODDFIELDS",
            Kind::BadEscape => "BADESCAPE",
            Kind::LineFeed => "LINEFEED",
            Kind::NoLineFeed => "NOLINEFEED",
            Kind::NoVerb => "NOVERB",
            Kind::UnknownVerb => "UNKNOWNVERB",
            Kind::UnknownHead => "UNKNOWNHEAD",
            Kind::DuplicateHead => "DUPLICATEHEAD",
            Kind::BadHead => "BADHEAD",
            Kind::NoTable => "NOTABLE",
            Kind::ColumnsNotAllowed => "COLUMNSNOTALLOWED",
            Kind::EmptyKey => "EMPTYKEY",
            Kind::DuplicateColumn => "DUPLICATECOLUMN",
            Kind::BadList => "BADLIST",
            Kind::BadDetails => "BADDETAILS",
        }
    }

    /// What is wrong, in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Kind::OddFields => "odd number of fields: a key without a value",
            Kind::BadEscape => "backslash not followed by one of \\ t n r",
            Kind::LineFeed => "line feed inside the line",
            Kind::NoLineFeed => "the input ends within the line",
            Kind::NoVerb => "the head ends without _action",
            Kind::UnknownVerb => "unknown verb in _action",
            Kind::UnknownHead => "unknown key before _action",
            Kind::DuplicateHead => "pseudo-column given twice",
            Kind::BadHead => "malformed value of a pseudo-column",
            Kind::NoTable => "the verb needs _table",
            Kind::ColumnsNotAllowed => "the verb has no columns",
            Kind::EmptyKey => "column without a name",
            Kind::DuplicateColumn => "column given twice",
            Kind::BadList => "not a list in backslash form",
            Kind::BadDetails => "details that do not go together, or not with the line",
        }
    }
}

/// A line that is not a change line: what is wrong and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseError {
    /// Offset of the offending byte (or field) from the beginning of the line, in bytes.
    pub byte: usize,
    /// What is wrong there.
    pub kind: Kind,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {}", self.kind.text(), self.byte)
    }
}

impl std::error::Error for ParseError {}

/// An `Err` of `kind` at `byte`.
#[cold]
pub(crate) fn fail<T>(byte: usize, kind: Kind) -> Result<T, ParseError> {
    Err(ParseError { byte, kind })
}
