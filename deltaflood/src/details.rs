//! What a `schema` line tells of a table beyond names: enough to say which statement altered it.
//!
//! A line has all of the fields that [`Details`] always has, or none; the rest are there where the
//! table has such a thing. What they mean is in `doc/deltaflood.md`, "Details".

use crate::error::fail;
use crate::list::{self, ListError};
use crate::number::{parse_u64, push_u64};
use crate::{Change, Kind, ParseError, Text, pairs};

/// The keys, in the order in which they are written. The place of a key is its bit in a mask.
pub(crate) const KEYS: [&str; 12] = [
    "_primary",
    "_natts",
    "_attnums",
    "_types",
    "_stamps",
    "_missing",
    "_labels",
    "_storage",
    "_kind",
    "_identity",
    "_filter",
    "_gone",
];

/// `_natts _attnums _types _stamps _storage _kind _identity`: all of them, or none.
const ALWAYS: u16 = 0b0011_1001_1110;

/// `_gone`, which goes alone.
const GONE: u16 = 0b1000_0000_0000;

/// Of a type: what a column's values are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TypeId {
    /// Object id of the type; of what it is over, where it is a domain.
    pub base: u32,
    /// Its modifier (of a `varchar(10)`: 14); none for one that has none. Not negative.
    pub modifier: Option<i32>,
}

/// Why a table is in the stream no more: `_gone`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gone {
    /// It was dropped.
    Dropped,
    /// It is there, and is sent no more: taken out of the publication, or made unlogged.
    Unpublished,
}

impl Gone {
    /// The word in the line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Gone::Dropped => "dropped",
            Gone::Unpublished => "unpublished",
        }
    }

    fn from_bytes(word: &[u8]) -> Option<Gone> {
        [Gone::Dropped, Gone::Unpublished].into_iter().find(|gone| gone.as_str().as_bytes() == word)
    }
}

/// The details of a `schema` line: [`Change::details`], [`crate::write::Line::details`].
///
/// Names and texts are as the server has them, without escapes. `attnums`, `types` and `stamps`
/// have one entry for each column, in the order of the line.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Details {
    /// `_primary`: the columns of the primary key, in its order; empty when there is none, or when
    /// one of them is no column of the line.
    pub primary: Vec<Vec<u8>>,
    /// `_natts`: how many attribute numbers were ever given, dropped columns included.
    pub natts: u16,
    /// `_attnums`: attribute number of each column. They rise, and none comes back.
    pub attnums: Vec<u16>,
    /// `_types`: type of each column.
    pub types: Vec<TypeId>,
    /// `_stamps`: of each column, `xmin` of its row in `pg_attribute`.
    pub stamps: Vec<u32>,
    /// `_missing`: columns that rows of before do not have stored, and the value that these have,
    /// as the line of a row would have it.
    pub missing: Vec<(Vec<u8>, Vec<u8>)>,
    /// `_labels`: labels of the enum types that the columns are made of, each with its object id,
    /// by rising id.
    pub labels: Vec<(u32, Vec<u8>)>,
    /// `_storage`: equal means that no statement has written the rows again. Not empty.
    pub storage: Vec<u8>,
    /// `_kind`: `r` for an ordinary table, `p` for a partitioned one.
    pub kind: u8,
    /// `_identity`: `d`, `n`, `f` or `i`, as in `pg_class.relreplident`.
    pub identity: u8,
    /// `_filter`: the publication's row filter, as PostgreSQL prints it.
    pub filter: Option<Vec<u8>>,
}

impl Details {
    /// Keys and values (unescaped) in the order in which a line has them.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, Vec<u8>)> {
        let numbers = |numbers: &mut dyn Iterator<Item = u32>| {
            let mut out = Vec::new();
            numbers.for_each(|number| push_number(&mut out, number));
            out
        };
        let [primary, natts, attnums, types, stamps, missing, labels, storage, kind, identity, ..] =
            KEYS;
        let mut natts_text = Vec::new();
        push_u64(&mut natts_text, u64::from(self.natts));
        let mut fields = Vec::with_capacity(KEYS.len());
        if !self.primary.is_empty() {
            fields.push((primary, list::encode(self.primary.iter().map(Vec::as_slice))));
        }
        fields.push((natts, natts_text));
        fields.push((attnums, numbers(&mut self.attnums.iter().copied().map(u32::from))));
        fields.push((types, self.types_text()));
        fields.push((stamps, numbers(&mut self.stamps.iter().copied())));
        if !self.missing.is_empty() {
            let words = self.missing.iter().flat_map(|(name, value)| [&name[..], &value[..]]);
            fields.push((missing, list::encode(words)));
        }
        if !self.labels.is_empty() {
            let mut out = Vec::new();
            for (id, label) in &self.labels {
                push_number(&mut out, *id);
                list::push(&mut out, label);
            }
            fields.push((labels, out));
        }
        fields.push((storage, self.storage.clone()));
        fields.push((kind, vec![self.kind]));
        fields.push((identity, vec![self.identity]));
        if let Some(filter) = &self.filter {
            fields.push(("_filter", filter.clone()));
        }
        fields
    }

    fn types_text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for TypeId { base, modifier } in &self.types {
            push_number(&mut out, *base);
            if let Some(modifier) = modifier {
                out.push(b'/');
                push_u64(&mut out, u64::from(modifier.unsigned_abs()));
            }
        }
        out
    }
}

/// [`Details::storage`] of a partitioned table: a digest of object id and number of the file of its
/// leaf partitions, by rising object id.
///
/// 128 bits of FNV-1a: the numbers are the server's, nobody chooses them.
#[must_use]
pub fn storage_of_leaves(leaves: &[(u32, u32)]) -> Vec<u8> {
    let (mut digest, prime) = (0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, (1 << 88) + 0x13b);
    for byte in
        leaves.iter().flat_map(|(id, file)| [id.to_be_bytes(), file.to_be_bytes()]).flatten()
    {
        digest = (digest ^ u128::from(byte)).wrapping_mul(prime);
    }
    format!("{digest:032x}").into_bytes()
}

fn push_number(out: &mut Vec<u8>, number: u32) {
    if !out.is_empty() {
        out.push(b' ');
    }
    push_u64(out, u64::from(number));
}

/// Takes note of a detail in a head, by its bit in `seen`.
pub(crate) fn note(
    seen: &mut u16,
    (key, value): (Text<'_>, Text<'_>),
    at: usize,
    value_at: usize,
) -> Result<(), ParseError> {
    let Some(place) = KEYS.iter().position(|known| known.as_bytes() == key.raw()) else {
        return fail(at, Kind::UnknownHead);
    };
    let bit = 1 << place;
    if *seen & bit != 0 {
        return fail(at, Kind::DuplicateHead);
    }
    *seen |= bit;
    let raw = value.raw();
    let sound = match key.raw() {
        b"_natts" => number::<u16>(raw).is_some(),
        b"_kind" => matches!(raw, b"r" | b"p"),
        b"_identity" => matches!(raw, b"d" | b"n" | b"f" | b"i"),
        b"_gone" => Gone::from_bytes(raw).is_some(),
        b"_storage" | b"_filter" => !raw.is_empty(),
        _ => true,
    };
    if sound { Ok(()) } else { fail(value_at, Kind::BadHead) }
}

/// Whether these details may stand together: those of a mask.
pub(crate) const fn go_together(seen: u16) -> bool {
    let details = seen & !GONE;
    details == 0 || details & ALWAYS == ALWAYS && seen & GONE == 0
}

fn number<T: TryFrom<u64>>(text: &[u8]) -> Option<T> {
    T::try_from(parse_u64(text)?).ok()
}

fn type_id(text: &[u8]) -> Option<TypeId> {
    match text.iter().position(|byte| *byte == b'/') {
        None => Some(TypeId { base: number(text)?, modifier: None }),
        Some(at) => {
            let modifier = number(text.get(at + 1..)?)?;
            Some(TypeId { base: number(text.get(..at)?)?, modifier: Some(modifier) })
        }
    }
}

/// A field of the head that is being read, to say where it is wrong.
#[derive(Clone, Copy)]
struct Field<'a> {
    value: Text<'a>,
    /// Where it begins in the line.
    at: usize,
}

impl Field<'_> {
    /// The words of a list, each by `read`.
    fn words<T>(self, read: impl Fn(&[u8]) -> Option<T>) -> Result<Vec<T>, ParseError> {
        let value = self.value.decode();
        let word = |word: Result<std::borrow::Cow<'_, [u8]>, ListError>| match word {
            Ok(word) => read(&word).map_or_else(|| fail(self.at, Kind::BadDetails), Ok),
            Err(error) => fail(self.at + self.value.raw_offset(error.byte), Kind::BadList),
        };
        list::names(&value).map(word).collect()
    }

    /// The words of a list, two by two.
    fn pairs<T>(self, read: impl Fn(&[u8]) -> Option<T>) -> Result<Vec<(T, Vec<u8>)>, ParseError> {
        let words = self.words(|word| Some(word.to_vec()))?;
        let pair = |pair: &[Vec<u8>]| match pair {
            [first, second] => Some((read(first)?, second.clone())),
            _ => None,
        };
        let pairs: Option<Vec<_>> = words.chunks(2).map(pair).collect();
        pairs.map_or_else(|| fail(self.at, Kind::BadDetails), Ok)
    }
}

impl Change<'_> {
    /// Why the table is in the stream no more, when the `schema` line says that.
    #[must_use]
    pub fn gone(&self) -> Option<Gone> {
        if self.details & GONE == 0 {
            return None;
        }
        self.head()
            .find(|(key, _)| key.raw() == b"_gone")
            .and_then(|(_, f)| Gone::from_bytes(f.value.raw()))
    }

    /// The details of a `schema` line; `None` when it has none.
    ///
    /// # Errors
    /// `BADLIST`, `BADDETAILS` where a list is malformed, or has not one entry for each column.
    pub fn details(&self) -> Result<Option<Details>, ParseError> {
        if self.details & ALWAYS == 0 {
            return Ok(None);
        }
        let columns = self.columns().count();
        let each = |many: usize, field: Field<'_>| {
            if many == columns { Ok(()) } else { fail(field.at, Kind::BadDetails) }
        };
        let text = |word: &[u8]| Some(word.to_vec());
        let mut details = Details::default();
        for (key, field) in self.head() {
            let first = field.value.raw().first().copied().unwrap_or_default();
            match key.raw() {
                b"_primary" => details.primary = field.words(text)?,
                b"_natts" => details.natts = number(field.value.raw()).unwrap_or_default(),
                b"_attnums" => {
                    details.attnums = field.words(number)?;
                    each(details.attnums.len(), field)?;
                }
                b"_types" => {
                    details.types = field.words(type_id)?;
                    each(details.types.len(), field)?;
                }
                b"_stamps" => {
                    details.stamps = field.words(number)?;
                    each(details.stamps.len(), field)?;
                }
                b"_missing" => details.missing = field.pairs(text)?,
                b"_labels" => details.labels = field.pairs(number)?,
                b"_storage" => details.storage = field.value.decode().into_owned(),
                b"_kind" => details.kind = first,
                b"_identity" => details.identity = first,
                b"_filter" => details.filter = Some(field.value.decode().into_owned()),
                _ => {}
            }
        }
        Ok(Some(details))
    }

    /// The fields of the head before `_action`.
    fn head(&self) -> impl Iterator<Item = (Text<'_>, Field<'_>)> {
        let mut fields = pairs(self.line);
        std::iter::from_fn(move || {
            let at = fields.offset();
            // A head that was parsed has no malformed field.
            let (key, value) = fields.next()?.ok()?;
            let at = at + key.raw().len() + 1;
            (key.raw() != b"_action").then_some((key, Field { value, at }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Verb, write::Line};

    fn sample() -> Details {
        Details {
            primary: vec![b"b c".to_vec(), b"a".to_vec()],
            natts: 4,
            attnums: vec![1, 3, 4],
            types: vec![
                TypeId { base: 23, modifier: None },
                TypeId { base: 1043, modifier: Some(14) },
                TypeId { base: 1700, modifier: Some(0) },
            ],
            stamps: vec![700, 701, u32::MAX],
            missing: vec![(b"b c".to_vec(), b"x\ty".to_vec()), (b"n".to_vec(), Vec::new())],
            labels: vec![(16_400, b"sad".to_vec()), (16_402, b"so so".to_vec())],
            storage: b"16384".to_vec(),
            kind: b'r',
            identity: b'd',
            filter: Some(b"(a > 5)".to_vec()),
        }
    }

    fn line(details: &Details, columns: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        let head = Line::begin(&mut out).table(b"t").oid(7).identity([&b"a"[..]]);
        let mut line = head.details(details).verb(Verb::Schema);
        for name in columns {
            line.column(name.as_bytes(), b"integer");
        }
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let bare = Details {
            attnums: vec![9],
            types: vec![TypeId { base: 23, modifier: None }],
            stamps: vec![0],
            storage: b"x".to_vec(),
            kind: b'p',
            identity: b'n',
            natts: 9,
            ..Details::default()
        };
        for (details, columns) in [(sample(), &["a", "b c", "n"][..]), (bare, &["a"][..])] {
            let line = line(&details, columns);
            let change = Change::parse(&line).unwrap();
            change.validate().unwrap();
            assert_eq!(change.details().unwrap().as_ref(), Some(&details));
            assert_eq!(change.gone(), None);
        }
    }

    #[test]
    fn a_line_without_details_has_none() {
        let change = Change::parse(b"_table\tt\t_oid\t7\t_action\tschema\ta\tinteger").unwrap();
        assert_eq!((change.details(), change.gone()), (Ok(None), None));
        let mut out = Vec::new();
        Line::begin(&mut out).table(b"t").oid(7).gone(Gone::Unpublished).verb(Verb::Schema);
        assert_eq!(out, b"_table\tt\t_oid\t7\t_gone\tunpublished\t_action\tschema");
        let change = Change::parse(&out).unwrap();
        assert_eq!((change.details(), change.gone()), (Ok(None), Some(Gone::Unpublished)));
    }

    #[test]
    fn the_storage_of_leaves_is_the_digest_of_their_numbers() {
        // FNV-1a of nothing, and of "foobar12", as the digest's authors give and as it works out.
        assert_eq!(storage_of_leaves(&[]), b"6c62272e07bb014262b821756295c58d");
        let leaves = [(u32::from_be_bytes(*b"foob"), u32::from_be_bytes(*b"ar12"))];
        assert_eq!(storage_of_leaves(&leaves), b"7956a7af75659b4a56e96643c6f12cfb");
        assert_ne!(storage_of_leaves(&[(1, 2), (3, 4)]), storage_of_leaves(&[(1, 2), (3, 5)]));
    }

    #[test]
    fn each_column_has_its_entries() {
        let whole = line(&sample(), &["a", "b c"]);
        let error = Change::parse(&whole).unwrap().details().unwrap_err();
        assert_eq!(error.kind, Kind::BadDetails);
        assert!(whole[error.byte..].starts_with(b"1 3 4\t"), "{error}");
        assert_eq!(Change::parse(&whole).unwrap().validate(), Err(error));
    }
}
