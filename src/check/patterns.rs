//! Random shapes and patterns against the definition.

use std::collections::BTreeMap;
use std::fmt;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestError, TestRunner};

use super::forward::{against_definition, result};
use super::places::mix;
use super::subject::{AnySample, good_samples};
use super::trial::{Trial, fault};
use crate::error::{Error, ErrorKind, Result};
use crate::tape::Op;
use crate::tensor::construct::csr_from_sorted;
use crate::tensor::{DType, Layout, Shape, Stype, Tensor, Values, row_len};

/// Sizes of axes that a case may rename.
const SIZES: usize = 6;

/// What is varied of a sample.
#[derive(Clone, Debug)]
struct Draw {
    sample: Index,
    vary: Vary,
    /// The new size of each distinct size, in ascending order of the old ones.
    sizes: [usize; SIZES],
    /// Of the stored places: none, all, or so many of 8.
    density: u8,
    seed: u64,
    dtype: DType,
}

/// How much is varied; each way includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Vary {
    /// Floats and patterns.
    Patterns,
    /// Ids, within the range of those that the sample has.
    Ids,
    /// The sizes of axes.
    Sizes,
    /// Ids, some of them out of any range.
    WildIds,
}

fn draw() -> impl Strategy<Value = Draw> {
    let vary = prop_oneof![
        4 => Just(Vary::Patterns),
        2 => Just(Vary::Ids),
        5 => Just(Vary::Sizes),
        1 => Just(Vary::WildIds),
    ];
    let dtype = prop_oneof![4 => Just(DType::F64), 1 => Just(DType::F32), 1 => Just(DType::I64)];
    let sizes = prop::array::uniform6(0..=6usize);
    (any::<Index>(), vary, sizes, 0..=8u8, any::<u64>(), dtype).prop_map(
        |(sample, vary, sizes, density, seed, dtype)| Draw {
            sample,
            vary,
            sizes,
            density,
            seed,
            dtype,
        },
    )
}

/// Varies shapes, patterns and values of an operator's samples at random, and compares the results
/// with [`Op::mimic`], `cases` times for each operator of another name; how many it took.
///
/// Sizes of axes are renamed consistently, 0 to 6 each; values are drawn from the sample's own, so
/// that they stay in the domain; patterns have empty rows, no entries, explicit zeros, everything
/// stored; ids stay in the sample's range or leave any. What an operator refuses as a wrong shape,
/// index or value is fine, if it takes at least a third of the cases.
///
/// ```
/// let taken = sparsetape::check::check_patterns::<sparsetape::ops::RowsOf>(64)?;
/// assert!(taken >= 22);
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Check`] with the smallest case found that differs or panics, or if too few are taken.
pub fn check_patterns<O: Op>(cases: u32) -> Result<usize> {
    check_by_label(good_samples::<O>(), cases)
}

fn check_by_label(samples: Vec<AnySample>, cases: u32) -> Result<usize> {
    let mut by_label: BTreeMap<String, Vec<AnySample>> = BTreeMap::new();
    for sample in samples {
        by_label.entry(sample.op.label().into_owned()).or_default().push(sample);
    }
    let mut taken = 0;
    for (label, samples) in &by_label {
        taken += check_samples(samples, cases)
            .map_err(|e| Error::new(ErrorKind::Check, e.message()).operator(label.clone()))?;
    }
    Ok(taken)
}

fn check_samples(samples: &[AnySample], cases: u32) -> Result<usize> {
    let trials: Vec<(&AnySample, usize)> = samples.iter().flat_map(reached).collect();
    if trials.is_empty() {
        return fault("no row takes any good sample");
    }
    let taken = std::cell::Cell::new(0);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&draw(), |draw| {
        let (sample, row) = draw.sample.get(&trials);
        let varied = Varied::of(sample, *row, &draw);
        match varied.check() {
            Ok(true) => taken.set(taken.get() + 1),
            Ok(false) => {}
            Err(error) => return Err(TestCaseError::fail(format!("{varied}: {error}"))),
        }
        Ok(())
    });
    match outcome {
        Err(TestError::Fail(why, draw)) => {
            let (sample, row) = draw.sample.get(&trials);
            fault(format!("{why}\nin {}", Varied::of(sample, *row, &draw)))
        }
        Err(TestError::Abort(why)) => fault(why.message()),
        Ok(()) if taken.get() < cases as usize / 3 => {
            fault(format!("takes {} of {cases} random cases only", taken.get()))
        }
        Ok(()) => Ok(taken.get()),
    }
}

/// The rows that take the sample as it stands.
fn reached(sample: &AnySample) -> Vec<(&AnySample, usize)> {
    let runs = |row: &usize| {
        let dtypes = [DType::F64, DType::F32, DType::I64];
        let mut trials = dtypes.iter().filter_map(|&dtype| Trial::new(0, sample, *row, dtype));
        trials.next().is_some_and(|trial| result(&trial, &trial.inputs).is_ok())
    };
    (0..sample.op.table().len()).filter(runs).map(|row| (sample, row)).collect()
}

/// A sample with other shapes, patterns and values, in the storage types of a row.
struct Varied<'a> {
    trial: Trial<'a>,
    inputs: Vec<Tensor>,
}

impl<'a> Varied<'a> {
    fn of(sample: &'a AnySample, row: usize, draw: &Draw) -> Self {
        let exact = [draw.dtype, DType::F64, DType::F32, DType::I64];
        let trial = exact.iter().find_map(|&dtype| Trial::new(0, sample, row, dtype));
        let Some(trial) = trial else { unreachable!("the row takes the sample") };
        let vary = |(i, x): (usize, &Tensor)| {
            let seed = mix(draw.seed ^ i as u64);
            varied(x, trial.row.ins.get(i), &renamed(sample, x, draw), draw, seed)
        };
        let inputs = trial.dense.iter().enumerate().map(vary).collect();
        Varied { trial, inputs }
    }

    /// Whether the operator takes the operands; if so, the result is that of the definition.
    fn check(&self) -> Result<bool> {
        let y = match result(&self.trial, &self.inputs) {
            Ok(y) => y,
            Err(error) => {
                return match error.kind() {
                    ErrorKind::Shape | ErrorKind::Index | ErrorKind::Value => Ok(false),
                    _ => Err(error),
                };
            }
        };
        let shape = self.trial.shape(&self.inputs)?;
        if shape.as_ref() != Some(y.shape()) || y.stype() != self.trial.row.out {
            return fault(format!("the result is {}, inferred is another type", y.ty()));
        }
        against_definition(&self.trial, &self.inputs, &y)?;
        Ok(true)
    }
}

impl fmt::Display for Varied<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.trial.op.to_json().unwrap_or_default();
        let inputs: Vec<String> = self.inputs.iter().map(Tensor::to_string).collect();
        write!(f, "{} {fields} of\n{}", self.trial.op.label(), inputs.join("\n"))
    }
}

/// The shape of an operand after renaming the sizes of all operands' axes.
fn renamed(sample: &AnySample, x: &Tensor, draw: &Draw) -> Shape {
    if draw.vary < Vary::Sizes {
        return x.shape().clone();
    }
    let mut distinct: Vec<usize> =
        sample.inputs.iter().flat_map(|x| x.shape().iter().copied()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let place = |size: usize| distinct.iter().position(|&d| d == size).unwrap_or(0);
    // What broadcasts (size 1) does so in most cases.
    let keep = |size: usize| size == 1 && !draw.seed.is_multiple_of(4);
    let rename = |&size: &usize| if keep(size) { 1 } else { draw.sizes[place(size) % SIZES] };
    x.shape().iter().map(rename).collect()
}

/// An operand in another shape and pattern, its values drawn from those of the sample.
fn varied(x: &Tensor, stype: Stype, shape: &Shape, draw: &Draw, seed: u64) -> Tensor {
    let ids = x.dtype() == DType::I64 && draw.dtype != DType::I64;
    let same = shape == x.shape();
    if ids && same && draw.vary == Vary::Patterns {
        return x.clone();
    }
    let random = |place: usize| mix(seed ^ (place as u64) << 8);
    let held = x.view().values();
    let own = |r: u64| {
        if x.shape().size() == 0 { 0.0 } else { held.get_f64(r as usize % x.shape().size()) }
    };
    // Ids may name an axis that became shorter.
    let bound = if same { i64::MAX } else { 1 + (seed % 6) as i64 };
    let value = |place: usize| {
        let r = random(place);
        match draw.vary {
            Vary::WildIds if ids && r % 8 == 0 => [-1.0, 1e9, 1e15][r as usize / 8 % 3],
            _ if ids => (own(r / 8) as i64 % bound) as f64,
            _ => own(r / 8),
        }
    };
    // A place is stored by another draw than its value's.
    let chosen = |place: usize| match draw.density {
        0 => false,
        8 => true,
        density => mix(random(place)) % 8 < u64::from(density),
    };
    build(shape, stype, x.dtype(), chosen, value)
}

fn build(
    shape: &Shape,
    stype: Stype,
    dtype: DType,
    chosen: impl Fn(usize) -> bool,
    value: impl Fn(usize) -> f64,
) -> Tensor {
    let k = row_len(shape);
    let rows = shape.first().copied().unwrap_or(0);
    let (layout, places): (Layout, Vec<usize>) = match stype {
        Stype::Default => (Layout::Dense, (0..shape.size()).collect()),
        Stype::RowSparse => {
            let ids: Vec<u32> = (0..rows).filter(|&r| chosen(r)).map(|r| r as u32).collect();
            let places = ids.iter().flat_map(|&r| r as usize * k..(r as usize + 1) * k).collect();
            (Layout::RowSparse(ids.into()), places)
        }
        Stype::Csr => {
            let places: Vec<usize> = (0..shape.size()).filter(|&p| chosen(p)).collect();
            let entries = places.iter().map(|p| (p / k, p % k, 0.0f64));
            (csr_from_sorted([rows, k], entries).into_parts().1, places)
        }
    };
    let values: Vec<f64> = places.into_iter().map(value).collect();
    Tensor::from_parts(shape.clone(), layout, Values::F64(values.into())).cast(dtype)
}
