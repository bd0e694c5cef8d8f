//! Gradients against finite differences.

use std::collections::BTreeSet;
use std::panic::Location;

use super::differences::{Slopes, Tolerance, Verdict};
use super::places::{
    Entries, Place, Sum, add_entries, entries, mix, moved, rows_named_by, weights,
};
use super::report::{Entry, Report};
use crate::error::{Error, ErrorKind, Result};
use crate::tape::{Fallback, Tape, Var};
use crate::tensor::approx::index_of;
use crate::tensor::{DType, Stype, Tensor, row_len};

/// A function under test, without its type.
pub(super) type Function<'a> = &'a dyn for<'t> Fn(&'t Tape, &[Var<'t>]) -> Var<'t>;

/// What a gradient is stated to be of.
#[derive(Clone, Copy)]
pub(super) enum Of {
    /// A function: the gradient is that of its result times the head cotangent.
    Function,
    /// A loss, a single number: the head cotangent does not matter.
    Loss,
}

/// Compares the gradients of `f` with finite differences, at first and second order, with the
/// settings of [`GradCheck::new`].
///
/// ```
/// use sparsetape::Tensor;
/// use sparsetape::check::gradcheck;
/// let x = Tensor::csr([2, 3], vec![0, 1, 2], vec![0, 2], vec![0.5f64, -1.5])?;
/// let w = Tensor::dense([3, 1], vec![0.1f64, 0.2, 0.3])?;
/// let report = gradcheck(&[x, w], |_, v| v[0].dot(v[1]).tanh())?;
/// assert!(report.kinks.is_empty());
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Errors
/// As [`GradCheck::run`].
#[track_caller]
pub fn gradcheck<F>(inputs: &[Tensor], f: F) -> Result<Report>
where
    F: for<'t> Fn(&'t Tape, &[Var<'t>]) -> Var<'t>,
{
    GradCheck::new().run(inputs, f)
}

/// How gradients are checked.
///
/// The result may have any shape and storage type: it is contracted with fixed weights (±0.5 to
/// ±1.5) on what it stores, so that every element matters. Differences are central, from two step
/// sizes; one-sided slopes tell kinks from errors.
///
/// Entries are perturbed on the cotangent space of their input: all elements of a dense input, the
/// stored entries of a csr one, the stored and the addressed rows of a row-sparse one (an addressed
/// row that is absent is inserted). Integer inputs are held constant.
///
/// At second order the weighted sum of all first-order gradients is differentiated, with respect to
/// the inputs and to the weights of the result (reported as one more input).
///
/// ```
/// use sparsetape::Tensor;
/// use sparsetape::check::GradCheck;
/// let x = Tensor::dense([3], vec![-1.0f64, 0.0, 2.0])?;
/// let report = GradCheck::new().order(1).run(&[x], |_, v| v[0].relu())?;
/// assert_eq!(report.compared, 2);
/// assert_eq!(report.kinks[0].index[..], [1]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GradCheck {
    order: usize,
    epsilon: Option<f64>,
    tolerance: Option<(f64, f64)>,
    entries: usize,
    seed: u64,
    fallback: Fallback,
}

impl Default for GradCheck {
    fn default() -> Self {
        GradCheck::new()
    }
}

impl GradCheck {
    /// Orders 1 and 2, at most 100 entries of each input, [`Fallback::Warn`].
    ///
    /// Everything is computed in the inputs' own element types. If all floats are `f64` the step is
    /// 10⁻⁴ (times the value, where that is above 1) and the tolerance 10⁻⁶, relative and absolute.
    /// If an `f32` value arises anywhere, they are 1/32 and 2·10⁻³.
    pub fn new() -> Self {
        let fallback = Fallback::default();
        GradCheck { order: 2, epsilon: None, tolerance: None, entries: 100, seed: 0, fallback }
    }

    /// Checks gradients up to this order: 1 or 2.
    pub fn order(self, order: usize) -> Self {
        GradCheck { order, ..self }
    }

    /// The larger step of the differences, for values up to 1; it grows with larger ones.
    pub fn epsilon(self, epsilon: f64) -> Self {
        GradCheck { epsilon: Some(epsilon), ..self }
    }

    /// How far a gradient may be off, as a part of the larger magnitude, plus an absolute amount.
    /// Rounding errors of the differences come on top.
    pub fn tolerance(self, relative: f64, absolute: f64) -> Self {
        GradCheck { tolerance: Some((relative, absolute)), ..self }
    }

    /// Checks at most so many entries of each input, chosen by `seed`, which also chooses the weights.
    pub fn sample(self, entries: usize, seed: u64) -> Self {
        GradCheck { entries, seed, ..self }
    }

    /// What the tapes do where an operand would have to be made dense.
    pub fn fallback(self, fallback: Fallback) -> Self {
        GradCheck { fallback, ..self }
    }

    /// Checks the gradients of `f` at `inputs`.
    ///
    /// # Errors
    /// [`ErrorKind::Check`] listing the worst entries that differ, or saying that there was nothing
    /// to compare; [`ErrorKind::Value`] for an order that is neither 1 nor 2; what `f` and its backward pass return, for example
    /// [`ErrorKind::NotDifferentiable`].
    #[track_caller]
    pub fn run<F>(&self, inputs: &[Tensor], f: F) -> Result<Report>
    where
        F: for<'t> Fn(&'t Tape, &[Var<'t>]) -> Var<'t>,
    {
        let at = Location::caller();
        if !(1..=2).contains(&self.order) {
            let message = format!("the order is 1 or 2, not {}", self.order);
            return Err(Error::new(ErrorKind::Value, message).operator("gradcheck").at(at));
        }
        let report = self.compare(inputs, &f, (&f, Of::Function))?;
        let fault =
            |message| Err(Error::new(ErrorKind::Check, message).operator("gradcheck").at(at));
        match report.fault() {
            Some(message) => fault(message),
            None if report.first_order == 0 => {
                let kinks = report.kinks.len();
                fault(format!("nothing was compared: no float entries, or kinks only ({kinks})"))
            }
            None => Ok(report),
        }
    }

    /// Compares the gradients of `f` with differences of `g`, and those of second order with
    /// differences of the first.
    pub(super) fn compare(
        &self,
        inputs: &[Tensor],
        f: Function,
        (g, of): (Function, Of),
    ) -> Result<Report> {
        let pass = self.pass(inputs, f)?;
        let mut report = Report::of_first_order();
        let head = match of {
            Of::Function => pass.head.clone(),
            Of::Loss => Tensor::scalar(1.0),
        };
        let value = |x: &[Tensor]| {
            let tape = self.tape();
            let y = g(&tape, &leaves(&tape, x)).value()?;
            let mut sum = Sum::default();
            sum.add(&head, &y);
            Ok(sum)
        };
        self.entries(inputs, &pass.first, &value, &pass, &mut report)?;
        report.first_order = report.compared;
        if self.order < 2 || pass.second_heads.is_empty() {
            return Ok(report);
        }
        report.order = 2;
        let slope = |x: &[Tensor]| {
            let tape = self.tape();
            let (leaves, head) = (leaves(&tape, &x[..inputs.len()]), &x[inputs.len()]);
            let wanted = floats(&leaves)?;
            let dx = tape.grad_with(f(&tape, &leaves), tape.variable(head.clone()), &wanted)?;
            let mut sum = Sum::default();
            for (weights, dx) in pass.second_heads.iter().zip(dx) {
                sum.add(weights, &dx.value()?);
            }
            Ok(sum)
        };
        let with_head: Vec<Tensor> = inputs.iter().chain([&pass.head]).cloned().collect();
        self.entries(&with_head, &pass.second, &slope, &pass, &mut report)?;
        Ok(report)
    }

    /// One recording: forward, backward, and backward again.
    pub(super) fn pass(&self, inputs: &[Tensor], f: Function) -> Result<Pass> {
        let tape = self.tape();
        let leaves = leaves(&tape, inputs);
        let y = f(&tape, &leaves);
        let y_value = y.value()?;
        let addressed = addressed(&tape, &leaves)?;
        let head = weights(self.seed, &y_value);
        let dy = tape.variable(head.clone());
        let mut wanted = floats(&leaves)?;
        let dx = tape.grad_with(y, dy, &wanted)?;
        let first = spread(inputs, dx.iter().map(|dx| dx.value()))?;
        let mut pass = Pass {
            head,
            first,
            second_heads: Vec::new(),
            second: Vec::new(),
            narrow: false,
            masked: [!all_finite(&y_value), false],
            addressed,
            recording: Vec::new(),
        };
        if self.order > 1 {
            wanted.push(dy);
            let with_head: Vec<Tensor> = inputs.iter().chain([&pass.head]).cloned().collect();
            pass.second = vec![Entries::new(); with_head.len()];
            for (i, dx) in dx.into_iter().enumerate() {
                let value = dx.value()?;
                let weights = weights(mix(self.seed.wrapping_add(1 + i as u64)), &value);
                pass.masked[1] |= !all_finite(&value);
                let ddx = tape.grad_with(dx, tape.constant(weights.clone()), &wanted)?;
                let found = spread(&with_head, ddx.iter().map(|ddx| ddx.value()))?;
                for (sum, found) in pass.second.iter_mut().zip(found) {
                    found.into_iter().for_each(|(at, x)| *sum.entry(at).or_default() += x);
                }
                pass.second_heads.push(weights);
            }
        }
        let nodes = tape.nodes();
        pass.narrow = nodes.iter().any(|node| node.ty.dtypes.contains(DType::F32));
        pass.recording = nodes.iter().map(signature).collect::<Result<_>>()?;
        Ok(pass)
    }

    fn tape(&self) -> Tape {
        let tape = Tape::new();
        tape.set_fallback(self.fallback);
        tape
    }

    fn entries(
        &self,
        inputs: &[Tensor],
        stated: &[Entries],
        function: &dyn Fn(&[Tensor]) -> Result<Sum>,
        pass: &Pass,
        report: &mut Report,
    ) -> Result<()> {
        let (here, narrow) = (function(inputs)?, pass.narrow);
        let masked = pass.masked[report.order - 1];
        let (relative, absolute) =
            self.tolerance.unwrap_or(if narrow { (2e-3, 2e-3) } else { (1e-6, 1e-6) });
        let roundoff = if narrow { f64::from(f32::EPSILON) } else { f64::EPSILON };
        let tolerance = Tolerance { relative, absolute, roundoff };
        let step = self.epsilon.unwrap_or(if narrow { 1.0 / 32.0 } else { 1e-4 });
        for (input, x) in inputs.iter().enumerate().filter(|(_, x)| x.dtype().is_float()) {
            let held = entries(x);
            let addressed = pass.addressed.get(input).map_or(&[][..], |rows| rows);
            for place in self.places(input, x, &held, &stated[input], addressed) {
                let h = step * held.get(&place).map_or(1.0, |x| x.abs().max(1.0));
                let at = |by: f64| {
                    let mut moving = inputs.to_vec();
                    moving[input] = moved(x, place, by);
                    function(&moving)
                };
                let slopes = Slopes::measure(at, here, h)?;
                let analytic = stated[input].get(&place).copied().unwrap_or(0.0);
                let (verdict, error) = match slopes.compare(analytic, &tolerance) {
                    (Verdict::Differ, error) if masked && !analytic.is_finite() => {
                        (Verdict::Kink, error)
                    }
                    compared => compared,
                };
                let index = index_of(place, x.shape());
                let entry = Entry {
                    order: report.order,
                    input,
                    index,
                    analytic,
                    numeric: slopes.central,
                    left: slopes.outer[0],
                    right: slopes.outer[1],
                };
                report.count(entry, verdict, error);
            }
        }
        Ok(())
    }

    /// The places to be checked: the cotangent space, or a sample of it.
    fn places(
        &self,
        input: usize,
        x: &Tensor,
        held: &Entries,
        stated: &Entries,
        addressed: &[usize],
    ) -> Vec<Place> {
        let mut places: BTreeSet<Place> = held.keys().copied().collect();
        if x.stype() == Stype::RowSparse {
            let row = |&row: &usize| (0..row_len(x.shape())).map(move |at| (row, at));
            places.extend(addressed.iter().flat_map(row));
            places.extend(stated.keys());
        }
        let mut places: Vec<Place> = places.into_iter().collect();
        if places.len() > self.entries {
            let salt = mix(self.seed ^ ((input as u64) << 32));
            places.sort_by_key(|&(row, at)| mix(salt ^ mix(row as u64) ^ at as u64));
            places.truncate(self.entries);
            places.sort_unstable();
        }
        places
    }
}

/// By input: the rows that the recording addressed, beyond those that are stored.
fn addressed(tape: &Tape, leaves: &[Var<'_>]) -> Result<Vec<Vec<usize>>> {
    let rows = |leaf: &Var<'_>| -> Result<Vec<usize>> {
        if leaf.stype()? != Stype::RowSparse {
            return Ok(Vec::new());
        }
        let naming = tape.row_names(*leaf);
        let mut rows: Vec<usize> = naming.iter().filter_map(rows_named_by).flatten().collect();
        rows.sort_unstable();
        rows.dedup();
        Ok(rows)
    };
    leaves.iter().map(rows).collect()
}

/// What one recording holds.
pub(super) struct Pass {
    /// The cotangent of the result.
    pub head: Tensor,
    /// Gradients by input.
    pub first: Vec<Entries>,
    /// Cotangents of the gradients.
    pub second_heads: Vec<Tensor>,
    /// Gradients of second order by input, the head after the last.
    pub second: Vec<Entries>,
    /// Rows of row-sparse inputs that products and look-ups addressed.
    addressed: Vec<Vec<usize>>,
    /// Whether `f32` values arise.
    pub narrow: bool,
    /// Whether an element that is not finite was left out: its NaN (0 · ∞) says nothing.
    masked: [bool; 2],
    /// Operators and storage types, without shapes.
    pub recording: Vec<String>,
}

fn all_finite(x: &Tensor) -> bool {
    let values = x.view().values();
    (0..values.len()).all(|i| values.get_f64(i).is_finite())
}

fn signature(node: &crate::tape::Recorded) -> Result<String> {
    let Some(op) = &node.op else { return Ok(format!("leaf: {}", node.ty.stype)) };
    let (label, ins, ty) = (op.label(), &node.ins, &node.ty);
    Ok(format!("{label} {}{ins:?}: {} {}", op.to_json()?, ty.stype, ty.dtypes))
}

fn leaves<'t>(tape: &'t Tape, inputs: &[Tensor]) -> Vec<Var<'t>> {
    inputs.iter().map(|x| tape.variable(x.clone())).collect()
}

fn floats<'t>(leaves: &[Var<'t>]) -> Result<Vec<Var<'t>>> {
    let mut floats = Vec::new();
    for leaf in leaves {
        if leaf.dtype()?.is_float() {
            floats.push(*leaf);
        }
    }
    Ok(floats)
}

/// Gradients of the float inputs, by input.
fn spread(
    inputs: &[Tensor],
    mut found: impl Iterator<Item = Result<Tensor>>,
) -> Result<Vec<Entries>> {
    let one = |x: &Tensor| {
        let mut stored = Entries::new();
        if x.dtype().is_float()
            && let Some(dx) = found.next()
        {
            add_entries(&mut stored, &dx?);
        }
        Ok(stored)
    };
    inputs.iter().map(one).collect()
}
