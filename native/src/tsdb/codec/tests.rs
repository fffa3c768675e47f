use super::*;
use proptest::prelude::*;

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        any::<i64>().prop_map(|v| v as f64),
        (-1000..1000_i32).prop_map(f64::from),
        (-100_000..100_000_i32).prop_map(|v| f64::from(v) / 100.0),
        Just(f64::from_bits(crate::tsdb::STALE_NAN_BITS)),
        Just(-0.0),
        Just(f64::INFINITY),
    ]
}

fn values(len: usize) -> impl Strategy<Value = Vec<f64>> {
    prop_oneof![
        value().prop_map(move |v| vec![v; len]),
        prop::collection::vec(value(), len),
        prop::collection::vec((-100_000..100_000_i32).prop_map(|v| f64::from(v) / 1000.0), len),
        prop::collection::vec(any::<f64>(), len),
        (prop::collection::vec(0..1000_i64, len), prop::collection::vec(value(), 1)).prop_map(
            |(steps, odd)| {
                let mut sum = 0;
                let mut values: Vec<f64> = steps
                    .into_iter()
                    .map(|s| {
                        sum += s;
                        sum as f64
                    })
                    .collect();
                let at = values.len() / 2;
                values[at] = odd[0];
                values
            }
        ),
    ]
}

fn timestamps(len: usize) -> impl Strategy<Value = Vec<i64>> {
    let deltas = prop_oneof![
        Just(vec![15_000_i64; len]),
        prop::collection::vec(14_990..15_010_i64, len),
        prop::collection::vec(1..(1_i64 << 45), len),
    ];
    (-(1_i64 << 55)..(1_i64 << 55), deltas).prop_map(|(start, deltas)| {
        let mut time = start;
        deltas
            .into_iter()
            .map(|d| {
                time += d;
                time
            })
            .collect()
    })
}

fn series() -> impl Strategy<Value = (Vec<i64>, Vec<f64>)> {
    (1..600_usize).prop_flat_map(|len| (timestamps(len), values(len)))
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

proptest! {
    #[test]
    fn decode_inverts_encode_best((ts, values) in series()) {
        let mut bytes = Vec::new();
        let encoding = encode_best(&ts, &values, &mut bytes);
        let (mut ts_out, mut values_out) = (vec![7], vec![7.0]);
        decode(encoding, &bytes, ts.len(), &mut ts_out, &mut values_out).unwrap();
        prop_assert_eq!(&ts, &ts_out[1..]);
        prop_assert_eq!(bits(&values), bits(&values_out[1..]));
    }

    #[test]
    fn a_damaged_chunk_is_an_error_or_as_many_samples(
        (ts, values) in series(),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let mut bytes = Vec::new();
        let encoding = encode_best(&ts, &values, &mut bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let (mut ts_out, mut values_out) = (Vec::new(), Vec::new());
        if decode(encoding, &bytes, ts.len(), &mut ts_out, &mut values_out).is_ok() {
            prop_assert_eq!(ts_out.len(), ts.len());
            prop_assert_eq!(values_out.len(), ts.len());
        }
        let cut = decode(encoding, &bytes[..at], ts.len(), &mut Vec::new(), &mut Vec::new());
        prop_assert!(cut.is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        encoding in prop_oneof![Just(MERGED), any::<u8>()],
        kind in 0..5_u8,
        mut bytes in prop::collection::vec(any::<u8>(), 1..200),
        count in 0..100_000_usize,
    ) {
        bytes[0] = kind;
        let _ = decode(encoding, &bytes, count, &mut Vec::new(), &mut Vec::new());
        let _ = decode_blobs(&bytes, count, |_, _| ());
    }

    #[test]
    fn blobs_round_trip(
        items in prop::collection::vec((0..5_i64, prop::collection::vec(any::<u8>(), 0..40)), 1..50),
        start in any::<i32>(),
    ) {
        let mut ts = i64::from(start);
        let blobs: Vec<(i64, Vec<u8>)> = items.into_iter().map(|(d, b)| { ts += d; (ts, b) }).collect();
        let borrowed: Vec<(i64, &[u8])> = blobs.iter().map(|(t, b)| (*t, b.as_slice())).collect();
        let mut bytes = Vec::new();
        encode_blobs(&borrowed, &mut bytes).unwrap();
        let mut decoded = Vec::new();
        decode_blobs(&bytes, blobs.len(), |t, b| decoded.push((t, b.to_vec()))).unwrap();
        prop_assert_eq!(decoded, blobs);
    }
}

#[test]
fn a_constant_and_a_counter_take_few_bytes() {
    let ts: Vec<i64> = (0..480).map(|i| 1_700_000_000_000 + i * 15_000).collect();
    let mut bytes = Vec::new();
    assert_eq!(encode_best(&ts, &[1.0; 480], &mut bytes), MERGED);
    assert!(bytes.len() < 24, "{} bytes", bytes.len());
    let counter: Vec<f64> = (0..480).map(|i| f64::from(i * 100)).collect();
    bytes.clear();
    assert_eq!(encode_best(&ts, &counter, &mut bytes), MERGED);
    assert!(bytes.len() < 24, "{} bytes", bytes.len());
}

#[test]
fn a_staleness_marker_keeps_a_counter_small() {
    let ts: Vec<i64> = (0..480).map(|i| i * 15_000).collect();
    let mut counter: Vec<f64> = (0..480).map(|i| f64::from(i * 100)).collect();
    counter[479] = f64::from_bits(crate::tsdb::STALE_NAN_BITS);
    let mut bytes = Vec::new();
    assert_eq!(encode_best(&ts, &counter, &mut bytes), MERGED);
    assert!(bytes.len() < 120, "{} bytes", bytes.len());
}
