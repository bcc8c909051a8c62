use super::*;
use proptest::prelude::*;

fn text(kind: Kind, text: &str) -> String {
    let mut scratch = Vec::new();
    match convert(kind, text.as_bytes(), &mut scratch) {
        Ok(Value::Null) => "null".to_owned(),
        Ok(Value::Int(int)) => format!("i {int}"),
        Ok(Value::Real(real)) => format!("r {real:?}"),
        Ok(Value::Text(text)) => format!("t {}", String::from_utf8_lossy(text)),
        Ok(Value::Blob(blob)) => format!("b {blob:?}"),
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn types_have_their_kinds() {
    for (name, oid, kind) in [
        ("smallint", 21, Kind::Integer),
        ("integer", 23, Kind::Integer),
        ("bigint", 20, Kind::Integer),
        ("oid", 26, Kind::Integer),
        ("real", 700, Kind::Real),
        ("double precision", 701, Kind::Real),
        ("boolean", 16, Kind::Boolean),
        ("numeric", 1700, Kind::Numeric),
        ("bytea", 17, Kind::Bytea),
        ("timestamp with time zone", 1184, Kind::TimestampTz),
        ("text", 25, Kind::Text),
        ("timestamp without time zone", 1114, Kind::Text),
    ] {
        assert_eq!((Kind::from_name(name), Kind::from_oid(oid)), (kind, kind), "{name}");
    }
    for (name, kind) in [
        ("numeric(10,2)", Kind::Numeric),
        ("timestamp(3) with time zone", Kind::TimestampTz),
        ("timestamp(3) without time zone", Kind::Text),
        ("numeric(10,2)[]", Kind::Text),
        ("integer[]", Kind::Text),
        ("\"integer\"", Kind::Text),
        ("other.bigint", Kind::Text),
        ("character varying(20)", Kind::Text),
    ] {
        assert_eq!(Kind::from_name(name), kind, "{name}");
    }
}

#[test]
fn integers_are_exact_or_errors() {
    assert_eq!(text(Kind::Integer, "-9223372036854775808"), "i -9223372036854775808");
    assert_eq!(text(Kind::Integer, "9223372036854775807"), "i 9223372036854775807");
    assert_eq!(text(Kind::Integer, "9223372036854775808"), "IntegerRange");
    assert_eq!(text(Kind::Integer, "18446744073709551615"), "IntegerRange");
    assert_eq!(text(Kind::Integer, "+0000000000000000000000012"), "i 12");
    for wrong in ["", "-", "+", "nope", "12abc", "1.9", " 1", "1 ", "1e3", "12345678901234567890x"]
    {
        assert_eq!(text(Kind::Integer, wrong), "NotInteger", "{wrong}");
    }
}

#[test]
fn reals_include_infinity_and_nan_is_text() {
    assert_eq!(text(Kind::Real, "Infinity"), "r inf");
    assert_eq!(text(Kind::Real, "-Infinity"), "r -inf");
    assert_eq!(text(Kind::Real, "NaN"), "t NaN");
    assert_eq!(text(Kind::Real, "1e-5"), "r 1e-5");
    assert_eq!(text(Kind::Real, "1.7976931348623157e+308"), "r 1.7976931348623157e308");
    assert_eq!(text(Kind::Real, "1e999"), "RealRange");
    assert_eq!(text(Kind::Real, "12abc"), "NotReal");
    assert_eq!(text(Kind::Real, ""), "NotReal");
}

#[test]
fn booleans_are_words_or_digits() {
    assert_eq!(text(Kind::Boolean, "t"), "i 1");
    assert_eq!(text(Kind::Boolean, "f"), "i 0");
    assert_eq!(text(Kind::Boolean, "1"), "i 1");
    assert_eq!(text(Kind::Boolean, "OFF"), "i 0");
    assert_eq!(text(Kind::Boolean, "2"), "NotBoolean");
    assert_eq!(text(Kind::Boolean, ""), "NotBoolean");
}

#[test]
fn a_numeric_is_a_number_only_when_nothing_is_lost() {
    for (numeric, stored) in [
        ("0", "i 0"),
        ("42", "i 42"),
        ("-9223372036854775808", "i -9223372036854775808"),
        ("9223372036854775808", "t 9223372036854775808"),
        ("12345678901234567890", "t 12345678901234567890"),
        ("12345678901234567891", "t 12345678901234567891"),
        ("1.50", "r 1.5"),
        ("100.00", "r 100.0"),
        ("-0.1", "r -0.1"),
        ("0.000", "r 0.0"),
        ("0.30000000000000004", "r 0.30000000000000004"),
        ("0.3000000000000000444", "t 0.3000000000000000444"),
        ("9007199254740993.00", "i 9007199254740993"),
        ("9007199254740993.5", "t 9007199254740993.5"),
        ("12345678901234567891.0", "t 12345678901234567891.0"),
        ("NaN", "t NaN"),
        ("Infinity", "t Infinity"),
        ("-Infinity", "t -Infinity"),
    ] {
        assert_eq!(text(Kind::Numeric, numeric), stored, "{numeric}");
    }
    let tiny = format!("0.{}1", "0".repeat(399));
    assert_eq!(text(Kind::Numeric, &tiny), format!("t {tiny}"));
    let huge = format!("1{}", "0".repeat(400));
    assert_eq!(text(Kind::Numeric, &huge), format!("t {huge}"));
    assert_eq!(text(Kind::Numeric, &format!("1{}", "0".repeat(300))), "r 1e300");
    for wrong in ["", "-", ".", "1.", ".5", "1e5", "+1", "1.2.3", "x", "nan"] {
        assert_eq!(text(Kind::Numeric, wrong), "NotNumeric", "{wrong}");
    }
}

#[test]
fn bytes_in_both_forms() {
    assert_eq!(text(Kind::Bytea, "\\x"), "b []");
    assert_eq!(text(Kind::Bytea, "\\x00fFa0"), "b [0, 255, 160]");
    assert_eq!(text(Kind::Bytea, "\\x0"), "NotBytea");
    assert_eq!(text(Kind::Bytea, "\\x0g"), "NotBytea");
    assert_eq!(text(Kind::Bytea, "a\\\\b\\377\\000"), "b [97, 92, 98, 255, 0]");
    assert_eq!(text(Kind::Bytea, "a\\400"), "NotBytea");
    assert_eq!(text(Kind::Bytea, "a\\"), "NotBytea");
}

#[test]
fn times_become_utc() {
    for (time, stored) in [
        ("2026-11-20 21:53:36.912962+00", "2026-11-20 21:53:36.912962Z"),
        ("2026-11-20 21:53:36+00", "2026-11-20 21:53:36Z"),
        ("2026-11-20 21:53:36+05:30", "2026-11-20 16:23:36Z"),
        ("2026-12-31 21:53:36.5-03", "2027-01-01 00:53:36.5Z"),
        ("2024-02-29 00:00:00+00:19:32", "2024-02-28 23:40:28Z"),
        ("294276-12-31 23:59:59.999999+00", "294276-12-31 23:59:59.999999Z"),
        ("10000-01-01 00:00:00+01", "9999-12-31 23:00:00Z"),
        ("infinity", "infinity"),
        ("-infinity", "-infinity"),
        ("0044-03-15 12:00:00+00 BC", "0044-03-15 12:00:00+00 BC"),
    ] {
        assert_eq!(text(Kind::TimestampTz, time), format!("t {stored}"), "{time}");
    }
    for wrong in ["", "20.11.2026 21:53:36 UTC", "2026-11-20", "2026-11-20 21:53:36", "x BC"] {
        assert_eq!(text(Kind::TimestampTz, wrong), "NotTimestampTz", "{wrong}");
    }
}

#[test]
fn lenient_conversion_takes_what_it_finds() {
    let mut scratch = Vec::new();
    for (kind, given, value) in [
        (Kind::Integer, "nope", Value::Int(0)),
        (Kind::Integer, "text", Value::Int(1)),
        (Kind::Integer, " 12abc", Value::Int(12)),
        (Kind::Integer, "1.9", Value::Int(1)),
        (Kind::Integer, "", Value::Int(0)),
        (Kind::Integer, "18446744073709551615", Value::Int(-1)),
        (Kind::Real, "1.5x", Value::Real(1.5)),
        (Kind::Real, "1e", Value::Real(1.0)),
        (Kind::Real, "x", Value::Real(0.0)),
        (Kind::Boolean, "yep", Value::Int(1)),
        (Kind::Boolean, "7", Value::Int(1)),
        (Kind::Boolean, "", Value::Int(0)),
        (Kind::Numeric, "x", Value::Text(b"x")),
        (Kind::Bytea, "\\xzz", Value::Text(b"\\xzz")),
        (Kind::TimestampTz, "soon", Value::Text(b"soon")),
    ] {
        assert_eq!(convert_lenient(kind, given.as_bytes(), &mut scratch), value, "{given}");
    }
}

proptest! {
    #[test]
    fn every_integer_round_trips(int: i64) {
        prop_assert_eq!(text(Kind::Integer, &int.to_string()), format!("i {int}"));
        prop_assert_eq!(text(Kind::Numeric, &int.to_string()), format!("i {int}"));
    }

    #[test]
    fn every_double_round_trips(bits: u64) {
        let real = f64::from_bits(bits);
        prop_assume!(real.is_finite());
        prop_assert_eq!(text(Kind::Real, &format!("{real:?}")), format!("r {real:?}"));
    }

    /// The fast rule against the plain one: print the double, compare the decimals as strings
    /// without outer zeros.
    #[test]
    fn a_numeric_is_real_exactly_when_its_shortest_form_is_it(
        whole in "[1-9][0-9]{0,19}|0", fraction in "[0-9]{1,20}", negative: bool,
    ) {
        let numeric = format!("{}{whole}.{fraction}", if negative { "-" } else { "" });
        let real: f64 = numeric.parse().unwrap();
        let bare = |text: &str| {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            let sign = whole.starts_with('-');
            let whole = whole.trim_start_matches('-').trim_start_matches('0');
            let fraction = fraction.trim_end_matches('0');
            (sign && !(whole.is_empty() && fraction.is_empty()), format!("{whole}.{fraction}"))
        };
        let same = bare(&format!("{real}")) == bare(&numeric);
        let stored = text(Kind::Numeric, &numeric);
        prop_assert_eq!(stored.starts_with('r'), same, "{} {}", numeric, stored);
        if same {
            prop_assert_eq!(stored, format!("r {real:?}"));
        }
    }

    #[test]
    fn bytes_round_trip(bytes: Vec<u8>) {
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        prop_assert_eq!(text(Kind::Bytea, &format!("\\x{hex}")), format!("b {bytes:?}"));
    }

    #[test]
    fn no_text_panics(any: Vec<u8>) {
        let mut scratch = Vec::new();
        for kind in [Kind::Integer, Kind::Real, Kind::Boolean, Kind::Numeric, Kind::Bytea,
                     Kind::TimestampTz] {
            let _ = convert(kind, &any, &mut scratch);
            let _ = convert_lenient(kind, &any, &mut scratch);
        }
    }
}
