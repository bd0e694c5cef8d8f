//! A slow and obvious parser, and files for it.

use std::collections::BTreeMap;

use proptest::prelude::*;

/// What a file says, ids as they stand there.
#[derive(Debug, Default, PartialEq)]
pub struct Reference {
    pub labels: Vec<f64>,
    pub qids: Vec<i64>,
    pub rows: Vec<Vec<(u32, f64)>>,
}

/// Values are rounded as `round` does it; repeated ids are added with `add`.
pub fn parse(text: &str, round: impl Fn(&str) -> f64, add: impl Fn(f64, f64) -> f64) -> Reference {
    let mut file = Reference::default();
    for line in text.trim_start_matches('\u{feff}').split('\n') {
        let line = line.split('#').next().unwrap();
        let tokens: Vec<&str> = line.split([' ', '\t', '\r']).filter(|t| !t.is_empty()).collect();
        if tokens.is_empty() {
            continue;
        }
        let mut row = BTreeMap::new();
        for token in tokens {
            match token.split_once(':') {
                None => file.labels.extend(token.split(',').map(&round)),
                Some(("qid", id)) => file.qids.push(id.parse().unwrap()),
                Some((id, value)) => {
                    let value = round(value);
                    row.entry(id.parse().unwrap())
                        .and_modify(|sum| *sum = add(*sum, value))
                        .or_insert(value);
                }
            }
        }
        file.rows.push(row.into_iter().collect());
    }
    file
}

pub fn as_f32(text: &str) -> f64 {
    f64::from(text.parse::<f32>().unwrap())
}

pub fn as_f64(text: &str) -> f64 {
    text.parse().unwrap()
}

/// Numbers in every notation, rounding traps among them.
pub fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[+-]?[0-9]{1,4}(\\.[0-9]{0,6})?",
        2 => "[+-]?[0-9]{1,25}\\.[0-9]{0,25}",
        2 => "-?\\.[0-9]{1,20}",
        2 => "[+-]?[0-9]{1,9}(\\.[0-9]{0,9})?[eE][+-]?[0-9]{1,3}",
        2 => any::<f32>().prop_map(|x| x.to_string()),
        2 => any::<f64>().prop_map(|x| format!("{x:e}")),
        // Between two f32, or nearly so.
        2 => (any::<u32>(), -1i32..2).prop_map(|(x, off)| {
            let (low, high) = (f32::from_bits(x >> 2), f32::from_bits((x >> 2) + 1));
            let middle = (f64::from(low) + f64::from(high)) / 2.0;
            f64::from_bits(middle.to_bits().wrapping_add_signed(off.into())).to_string()
        }),
        1 => "(nan|NaN|inf|-inf|Infinity|-0|0\\.0|000001)",
    ]
}

/// A file of `labels` labels in each row, ids `low..=high` in any order, unique in a row unless
/// `repeated`.
pub fn file(labels: usize, low: u32, high: u32, repeated: bool) -> impl Strategy<Value = String> {
    let blank = "[ \t]{1,2}";
    let entries = prop::collection::vec((low..=high, number(), blank), 0..12);
    let line_end = "[ \t]{0,2}(#[ -~]{0,12})?\r?\n";
    let head = prop::collection::vec((number(), "[, ]"), labels..=labels);
    let row = (head, any::<i64>(), entries, line_end);
    let noise = prop_oneof![4 => Just(String::new()), 1 => "[ \t]{0,3}(#[ -~]{0,9})?\r?\n"];
    let rows = prop::collection::vec((noise, row), 0..20);
    (any::<bool>(), any::<bool>(), any::<bool>(), rows).prop_map(
        move |(mark, qids, unfinished, rows)| {
            let mut text = String::from(if mark { "\u{feff}" } else { "" });
            for (noise, (labels, qid, entries, line_end)) in rows {
                text += &noise;
                let labels: String =
                    labels.iter().map(|(x, separator)| x.clone() + separator).collect();
                text += labels.trim_end_matches([',', ' ']);
                if qids {
                    text += &format!(" qid:{qid}");
                }
                let mut seen = std::collections::HashSet::new();
                for (id, value, blank) in entries {
                    if repeated || seen.insert(id) {
                        text += &format!("{blank}{id}:{value}");
                    }
                }
                text += &line_end;
            }
            if unfinished {
                text.truncate(text.trim_end_matches(['\r', '\n']).len());
            }
            text
        },
    )
}
