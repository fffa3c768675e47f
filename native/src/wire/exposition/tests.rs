//! Lines and whole expositions, and bytes that are none.
use proptest::prelude::*;

use super::line::{Format, Line, parse};
use super::{Converted, Options, convert};
use crate::wire::protobuf::{Fields, Value};

fn convert_text(text: &str, extra: &[(&str, &str)]) -> (Vec<String>, Converted) {
    let extra: Vec<_> = extra.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let options =
        Options { default_timestamp_ms: 5_000, extra_labels: &extra, honor_timestamps: true };
    let converted = convert(text.as_bytes(), &options);
    let body = converted.request.compress().expect("a short request");
    let message = snap::raw::Decoder::new().decompress_vec(&body).expect("a snappy block");
    (series(&message), converted)
}

/// `name=value,... value@timestamp` of each sample.
fn series(message: &[u8]) -> Vec<String> {
    let messages = |message: &[u8], number: u32| -> Vec<Vec<u8>> {
        let mut fields = Fields::new(message);
        let mut found = Vec::new();
        while let Some((field, value)) = fields.next_field().expect("a message") {
            if field == number {
                found.push(value.bytes(field).expect("bytes").to_vec());
            }
        }
        found
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let describe = |series: &Vec<u8>| {
        let labels: Vec<_> = messages(series, 1)
            .iter()
            .map(|l| format!("{}={}", text(&messages(l, 1)[0]), text(&messages(l, 2)[0])))
            .collect();
        let (mut value, mut timestamp) = (0.0, 0);
        let sample = &messages(series, 2)[0];
        let mut fields = Fields::new(sample);
        while let Some((_, field)) = fields.next_field().expect("a message") {
            match field {
                Value::Fixed64(bits) => value = f64::from_bits(bits),
                Value::Varint(ts) => timestamp = ts as i64,
                _ => panic!("unexpected field"),
            }
        }
        format!("{} {value}@{timestamp}", labels.join(","))
    };
    messages(message, 1).iter().map(describe).collect()
}

#[test]
fn samples_of_prometheus_text() {
    let text = "# a comment\n\n#no blank HELP\n# HELP m Help.\nm 1\nm{a=\"x\",} 2.5 123\r\n  \t\
                m { b = \"q\\\"\\\\\\n\\z\" , a=\"\" }\t0x1p3 -7\n{\"my.metric\",\"k.l\"=\"v\"}3\n";
    let (series, converted) = convert_text(text, &[]);
    assert_eq!(converted.errors, [""; 0]);
    let want = [
        "__name__=m 1@5000",
        "__name__=m,a=x 2.5@123",
        "__name__=m,b=q\"\\\n\\z 8@-7",
        "__name__=my.metric,k.l=v 3@5000",
    ];
    assert_eq!(series, want);
}

#[test]
fn open_metrics_has_seconds_and_exemplars() {
    let text =
        "# TYPE m counter\n# UNIT m seconds\nm_total 1 1.5 # {trace=\"x\"} 0.5 1.25\n# EOF\n";
    let (series, converted) = convert_text(text, &[]);
    assert_eq!(converted.errors, [""; 0]);
    assert_eq!(series, ["__name__=m_total 1@1500"]);
    let line = parse("m 1 # {t=\"x\"} 0.5 1.25", Format::OpenMetrics).expect("a sample");
    let Line::Sample(sample) = line else { panic!("{line:?}") };
    let exemplar = sample.exemplar.expect("an exemplar");
    assert_eq!((exemplar.value, exemplar.timestamp_ms), (0.5, Some(1_250)));
}

#[test]
fn bad_lines_are_reported_by_number_and_skipped() {
    let bad = [
        "m",
        "m x",
        "m 1_0",
        "m 1 1.5",
        "m 1 2 3",
        "m{a} 1",
        "m{a=b} 1",
        "m{a=\"b} 1",
        "m{a=\"b\" c=\"d\"} 1",
        "m{a=\"1\",a=\"2\"} 1",
        "m{\"n\"} 1",
        "{a=\"b\"} 1",
        "m{__name__=\"n\"} 1",
        "1m 1",
        "m 1 # {a=\"b\"} 1",
        "# TYPE m nothing",
        "# HELP 1m x",
    ];
    for line in bad {
        let (series, converted) = convert_text(&format!("{line}\ngood 1\n"), &[]);
        assert_eq!(series, ["__name__=good 1@5000"], "{line}");
        assert_eq!(converted.errors.len(), 1, "{line}");
        assert!(converted.errors[0].starts_with("line 1: "), "{line}: {}", converted.errors[0]);
    }
    let (_, converted) = convert_text(&"?\n".repeat(100), &[]);
    assert_eq!(converted.errors.len(), 20);
}

#[test]
fn a_cut_last_line_is_an_error() {
    let (series, converted) = convert_text("a 1\nb 12", &[]);
    assert_eq!(series, ["__name__=a 1@5000"]);
    assert_eq!(converted.errors, ["line 2: no line feed at the end"]);
}

#[test]
fn duplicates_without_a_time_keep_the_first() {
    let (series, converted) =
        convert_text("m{a=\"1\",b=\"2\"} 1\nm{b=\"2\",a=\"1\"} 2\nm 3 7\nm 4 8\n", &[]);
    assert_eq!(series, ["__name__=m,a=1,b=2 1@5000", "__name__=m 3@7", "__name__=m 4@8"]);
    assert_eq!(converted.errors, ["line 2: duplicate sample"]);
}

#[test]
fn extra_labels_win_and_scraped_ones_are_renamed() {
    let text = "m{job=\"a\",exported_job=\"b\",z=\"\"} 1\n";
    let (series, _) = convert_text(text, &[("job", "x"), ("none", "")]);
    assert_eq!(series, ["__name__=m,exported_exported_job=a,exported_job=b,job=x 1@5000"]);
}

#[test]
fn bounds_of_histograms_and_summaries_are_floats() {
    let text = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\n# TYPE s summary\n\
                s{quantile=\"1\"} 1\ng{le=\"1\"} 1\n";
    let (series, _) = convert_text(text, &[]);
    let want = [
        "__name__=h_bucket,le=1.0 1@5000",
        "__name__=h_bucket,le=+Inf 1@5000",
        "__name__=s,quantile=1.0 1@5000",
        "__name__=g,le=1 1@5000",
    ];
    assert_eq!(series, want);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let options = Options { default_timestamp_ms: 0, extra_labels: &[], honor_timestamps: true };
        let _ = convert(&bytes, &options);
    }

    #[test]
    fn nearly_right_lines_never_panic(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "m", "{", "}", "a", "=", "\"", "\\", ",", " ", "\t", "1", "-", "0x", "p", "#", "é",
                "# HELP", "# TYPE", "\n", "\r\n", "# EOF", ".", "e", "NaN", "{\"x.y\"",
            ]),
            0..40,
        ),
    ) {
        let options = Options { default_timestamp_ms: 0, extra_labels: &[], honor_timestamps: true };
        let converted = convert(pieces.concat().as_bytes(), &options);
        prop_assert!(converted.request.compress().is_ok());
    }
}
