//! Rows of categorical values, hashed.

use sparsetape::data::Dataset;
use sparsetape::random::{Distribution, Random};
use sparsetape::{Error, ErrorKind, Result, Tensor};

use super::common::wrong;

/// Hashes of the values of all rows, row by row, with their labels.
#[derive(Default)]
pub struct Rows {
    pub fields: usize,
    pub hashes: Vec<u64>,
    pub labels: Vec<f32>,
}

/// FNV-1a.
fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Rows {
    pub fn parse(name: &str, text: &str) -> Result<Rows> {
        let mut rows = Rows::default();
        for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let fault = |why: String| {
                let message = format!("{name}, line {}: {why}", n + 1);
                Err(Error::new(ErrorKind::Parse, message).nowhere())
            };
            let mut values = line.split(['\t', ',']);
            let label = values.next().unwrap_or_default();
            let label = match label.trim() {
                "0" => 0.0,
                "1" => 1.0,
                _ => return fault(format!("column 1: label {label:?} is not 0 or 1")),
            };
            let before = rows.hashes.len();
            rows.add(values, label);
            let fields = rows.hashes.len() - before;
            if fields == 0 {
                return fault("there are no values after the label".to_owned());
            }
            if rows.labels.len() > 1 && fields != rows.fields {
                return fault(format!("{fields} values, but the first line has {}", rows.fields));
            }
            rows.fields = fields;
        }
        if rows.labels.is_empty() {
            return Err(wrong(format!("{name}: no rows")));
        }
        Ok(rows)
    }

    /// The same value is another one in another field.
    fn add<'a>(&mut self, values: impl Iterator<Item = &'a str>, label: f32) {
        let of = |(field, value): (usize, &str)| {
            hash((field as u32).to_le_bytes().into_iter().chain(value.bytes()))
        };
        self.hashes.extend(values.enumerate().map(of));
        self.labels.push(label);
    }

    /// A weight for each pair of values of the first two fields, as a wide part learns it, and the square of a sum of
    /// hidden numbers that the values of the other fields stand for, as a deep part does.
    pub fn planted(rows: usize) -> Result<Rows> {
        const FIELDS: usize = 6;
        const IDS: usize = 40;
        let mut normal = Random::new(5);
        let crossed = normal.dense::<f32>([IDS * IDS])?;
        let hidden = normal.dense::<f32>([FIELDS * IDS])?;
        let (crossed, hidden) = (crossed.values::<f32>()?, hidden.values::<f32>()?);
        let uniform = |seed, most| Random::new(seed).with_values(Distribution::Uniform(0.0, most));
        let ids = uniform(6, IDS as f64).dense::<i64>([rows * FIELDS])?;
        let coins = uniform(7, 1.0).dense::<f32>([rows])?;
        let mut made = Rows { fields: FIELDS, ..Rows::default() };
        for (row, coin) in ids.values::<i64>()?.chunks(FIELDS).zip(coins.values::<f32>()?) {
            let number = |f: usize| hidden[f * IDS + row[f] as usize];
            let sum = (2..FIELDS).map(number).sum::<f32>() / ((FIELDS - 2) as f32).sqrt();
            let z =
                1.5 * crossed[row[0] as usize * IDS + row[1] as usize] + 1.5 * (sum * sum - 1.0);
            let values = row.iter().map(i64::to_string).collect::<Vec<_>>();
            made.add(
                values.iter().map(String::as_str),
                f32::from(*coin < 1.0 / (1.0 + (-z).exp())),
            );
        }
        Ok(made)
    }

    /// Values and crosses as ones in a csr matrix of `size` columns, values as `ids` below `size`.
    pub fn dataset(&self, crosses: &[[usize; 2]], size: usize) -> Result<Dataset> {
        let column = |hash: u64| (hash % size as u64) as u32;
        let (mut indptr, mut columns) = (vec![0], Vec::new());
        for row in self.hashes.chunks(self.fields) {
            let pair = |[a, b]: &[usize; 2]| {
                hash(row[*a].to_le_bytes().into_iter().chain(row[*b].to_le_bytes()))
            };
            let start = columns.len();
            columns.extend(row.iter().copied().chain(crosses.iter().map(pair)).map(column));
            let mut own = columns.split_off(start);
            own.sort_unstable();
            own.dedup();
            columns.append(&mut own);
            indptr.push(columns.len());
        }
        let rows = self.labels.len();
        let ones = vec![1.0f32; columns.len()];
        let ids: Vec<i64> = self.hashes.iter().map(|&hash| i64::from(column(hash))).collect();
        Dataset::new(
            Tensor::csr([rows, size], indptr, columns, ones)?,
            Tensor::dense([rows], self.labels.clone())?,
        )?
        .with_input("ids", Tensor::dense([rows, self.fields], ids)?)
    }
}
