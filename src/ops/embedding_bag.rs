//! Bags of ids: sums and means of rows of a table.

use ndarray::{ArrayD, IxDyn};
use serde::{Deserialize, Serialize};

use super::ids;
use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::bags::{BagsRef, bags_csr, pick_bags};
use crate::kernels::memory::Temp;
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var, compose, unify_dims};
use crate::tensor::cast::csr_ref;
use crate::tensor::{DType, Real, Stype, Tensor, View};

/// What becomes of the rows of a bag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BagReduction {
    /// Their sum, each times its weight.
    #[default]
    Sum,
    /// Their mean, over the ids that are not padding; zeros for an empty bag.
    Mean,
}

/// How [`Var::embedding_bag`] reduces its bags.
///
/// ```
/// use sparsetape::{BagReduction, EmbeddingBag};
/// let mean = EmbeddingBag { reduction: BagReduction::Mean, ..EmbeddingBag::default() };
/// assert_eq!(mean.padding_idx, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmbeddingBag {
    /// Sum or mean.
    pub reduction: BagReduction,
    /// An id that adds nothing and does not count in a mean. It need not name a row of the table.
    pub padding_idx: Option<i64>,
}

/// `bags`: the csr matrix of bags of ids, by which a table is multiplied: bags × rows of the table,
/// which is not read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bags {
    reduction: BagReduction,
    padding_idx: Option<i64>,
}

/// `bags_grad`: the entries of a csr matrix at the bag and id of each position: what [`Bags`] adds up
/// there, backwards.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BagsGrad {
    padding_idx: Option<i64>,
}

impl<'t> Var<'t> {
    /// Sums or means of rows of this table, bag by bag: shape `(bags, table.shape[1])`.
    ///
    /// `ids` (i64, one axis) are those of all bags, one bag after the other; `offsets` (i64, one
    /// axis) say where each bag starts: the first at 0, none before the one that it follows. In a
    /// sum each row may have a weight: `weights` has the table's element type and one number per id.
    ///
    /// It is the product of the csr matrix of the bags, where ids that repeat in a bag add up, with
    /// this table, dense or sparse: the gradient of a dense or row-sparse table is row-sparse, with
    /// exactly the ids that occur. (PyTorch: `embedding_bag` with `sparse`, modes `sum` and `mean`.)
    ///
    /// ```
    /// use sparsetape::{EmbeddingBag, Tape, Tensor};
    /// let tape = Tape::new();
    /// let table = tape.variable(Tensor::dense([4, 1], vec![1.0f32, 2.0, 3.0, 4.0])?);
    /// let ids = tape.constant(Tensor::dense([3], vec![3i64, 0, 3])?);
    /// let offsets = tape.constant(Tensor::dense([2], vec![0i64, 1])?);
    /// let y = table.embedding_bag(ids, offsets, None, EmbeddingBag::default());
    /// assert_eq!(y.value()?.values::<f32>()?, [4.0, 5.0]);
    /// let gradients = y.sum().backward()?;
    /// assert_eq!(gradients.wrt(table).unwrap().rows(), Some(&[0, 3][..]));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the exits: [`ErrorKind::Index`] naming an id or an offset out of range or order;
    /// [`ErrorKind::Value`] for weights in a mean; [`ErrorKind::Shape`] or [`ErrorKind::DType`] for
    /// operands that do not fit.
    #[doc(alias = "EmbeddingBag")]
    #[track_caller]
    pub fn embedding_bag(
        self,
        ids: Var<'t>,
        offsets: Var<'t>,
        weights: Option<Var<'t>>,
        how: EmbeddingBag,
    ) -> Var<'t> {
        let op = Bags { reduction: how.reduction, padding_idx: how.padding_idx };
        self.tape().composition("embedding_bag", || {
            let bags = match weights {
                None => Var::apply(op, &[ids, offsets, self]),
                Some(weights) => Var::apply(op, &[ids, offsets, self, weights]),
            };
            bags.dot(self)
        })
    }
}

impl Tensor {
    /// Unrecorded [`Var::embedding_bag`].
    ///
    /// # Errors
    /// What the recorded operators refuse, at once.
    #[track_caller]
    pub fn embedding_bag(
        &self,
        ids: &Tensor,
        offsets: &Tensor,
        weights: Option<&Tensor>,
        how: EmbeddingBag,
    ) -> Result<Tensor> {
        match weights {
            None => compose([self, ids, offsets], |[table, ids, offsets]| {
                table.embedding_bag(ids, offsets, None, how)
            }),
            Some(weights) => compose([self, ids, offsets, weights], |[table, ids, offsets, w]| {
                table.embedding_bag(ids, offsets, Some(w), how)
            }),
        }
    }
}

/// Where each bag starts, and where the last one ends.
fn bounds(offsets: &[i64], ids: usize) -> Result<Temp<usize>> {
    let fault = |message| Err(Error::new(ErrorKind::Index, message));
    if ids as u64 > 1 << 32 {
        return fault(format!("{ids} ids, but bags hold at most 4294967296 (2^32)"));
    }
    if let Some(&first) = offsets.first()
        && first != 0
    {
        return fault(format!("offsets[0] = {first}, but the first bag starts at 0"));
    }
    if let Some(i) = offsets.windows(2).position(|w| w[0] > w[1]) {
        let (a, b) = (offsets[i], offsets[i + 1]);
        return fault(format!("offsets[{}] = {b} is less than offsets[{i}] = {a}", i + 1));
    }
    if let Some(i) = offsets.iter().position(|&start| start as usize > ids) {
        return fault(format!("offsets[{i}] = {}, but there are {ids} ids", offsets[i]));
    }
    if offsets.is_empty() && ids > 0 {
        return fault(format!("there are {ids} ids, but no bag"));
    }
    Ok(Temp::collect(offsets.iter().map(|&start| start as usize).chain([ids])))
}

/// The ids within `bounds`, checked against the number of rows of the table.
fn bags<'a>(
    ids: &'a [i64],
    bounds: &'a [usize],
    padding: Option<i64>,
    rows: usize,
) -> Result<BagsRef<'a>> {
    for (i, &id) in ids.iter().enumerate().filter(|(_, id)| padding != Some(**id)) {
        ids::row(i, id, rows)?;
    }
    Ok(BagsRef { ids, bounds, padding })
}

fn to_csr<T: Real>(op: &Bags, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let ids = ins[0].typed::<i64>()?;
    let bounds = bounds(ins[1].typed()?, ids.len())?;
    let bags = bags(ids, &bounds, op.padding_idx, out.shape()[1])?;
    let weights = ins.get(3).map(|weights| weights.typed::<T>()).transpose()?;
    out.set_csr(bags_csr(bags, weights, op.reduction == BagReduction::Mean));
    Ok(())
}

fn at_ids<T: Real>(op: &BagsGrad, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (dy, ids) = (ins[0].csr()?, ins[1].typed::<i64>()?);
    let bounds = bounds(ins[2].typed()?, ids.len())?;
    let bags = bags(ids, &bounds, op.padding_idx, dy.pattern.cols())?;
    pick_bags(bags, csr_ref(dy, dy.values.typed::<T>()?), out.dense());
    Ok(())
}

/// One axis of ids, one of offsets; the matrix has a row per bag and a column per row of the table.
fn refine([ids, offsets, table]: [&mut PartialShape; 3], matrix: &mut PartialShape) -> Result<()> {
    ids.set_rank(1)?;
    offsets.set_rank(1)?;
    matrix.set_rank(2)?;
    if table.rank() == Some(0) {
        return Err(ids::no_rows());
    }
    unify_dims((offsets, 0), (matrix, 0))?;
    if table.rank().is_some() { unify_dims((table, 0), (matrix, 1)) } else { Ok(()) }
}

/// Calls `f(bag, position, id)` for each id but padding.
fn each_id(
    padding: Option<i64>,
    ids: &ArrayD<f64>,
    offsets: &ArrayD<f64>,
    mut f: impl FnMut(usize, usize, usize),
) {
    for (n, &id) in ids.iter().enumerate().filter(|(_, id)| padding != Some(**id as i64)) {
        let bag = offsets.iter().filter(|&&start| start <= n as f64).count() - 1;
        f(bag, n, id as usize);
    }
}

impl Op for Bags {
    const NAME: &'static str = "bags";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let [ids, offsets, table, weights @ ..] = ins else {
            unreachable!("three operands, or four")
        };
        refine([&mut *ids, offsets, table], out)?;
        if self.reduction == BagReduction::Mean && !weights.is_empty() {
            let message = "a mean has no weights; sum, and divide by the sum of the weights";
            return Err(Error::new(ErrorKind::Value, message));
        }
        weights.iter_mut().try_for_each(|weights| {
            let given = weights.to_string();
            weights.unify(ids).map_err(|_| {
                let message = format!("weights of shape {given}, but ids of shape {ids}");
                Error::new(ErrorKind::Shape, message)
            })
        })
    }

    fn dtype(&self, ins: &[DType]) -> Result<DType> {
        ids::with_ids(ins[2], ins[0])?;
        if ins[1] != DType::I64 {
            let message = format!("offsets are i64, got {}; use `cast`", ins[1]);
            return Err(Error::new(ErrorKind::DType, message));
        }
        match ins.get(3) {
            Some(&weights) if weights != ins[2] => {
                let message = format!("weights are {weights}, the table is {}; use `cast`", ins[2]);
                Err(Error::new(ErrorKind::DType, message))
            }
            _ => Ok(ins[2]),
        }
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<Bags>; 6] = [
            case!([Default, Default, Default] => Csr, to_csr),
            case!([Default, Default, RowSparse] => Csr, to_csr),
            case!([Default, Default, Csr] => Csr, to_csr),
            case!([Default, Default, Default, Default] => Csr, to_csr),
            case!([Default, Default, RowSparse, Default] => Csr, to_csr),
            case!([Default, Default, Csr, Default] => Csr, to_csr),
        ];
        &CASES
    }

    fn reads(&self, i: usize) -> Read {
        if i == 2 { Read::Shape } else { Read::All }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        (0..3).for_each(|i| grads.zero(i));
        if x.len() > 3 {
            let op = BagsGrad { padding_idx: self.padding_idx };
            grads.give(3, || Var::apply(op, &[dy, x[0], x[1], x[2]]));
        }
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let (bags, rows) = (ins[1].len(), ins[2].shape()[0]);
        let (mut sums, mut counts) = (ArrayD::zeros(IxDyn(&[bags, rows])), vec![0.0; bags]);
        each_id(self.padding_idx, &ins[0], &ins[1], |bag, n, id| {
            sums[[bag, id]] += ins.get(3).map_or(1.0, |weights| weights[[n]]);
            counts[bag] += 1.0;
        });
        if self.reduction == BagReduction::Mean {
            let rows = sums.outer_iter_mut().zip(counts).filter(|(_, count)| *count > 0.0);
            rows.for_each(|(mut row, count)| row /= count);
        }
        sums
    }

    fn samples() -> Vec<Sample<Self>> {
        let op = |reduction, padding_idx| Bags { reduction, padding_idx };
        let (sum, mean) = (op(BagReduction::Sum, None), op(BagReduction::Mean, None));
        let weights = |n: usize| Tensor::from_fn([n], |i| (i as f64 * 0.7).sin() + 1.5);
        let with = |offsets: &[i64]| [ids(7), given(offsets), table()];
        let weighted = |offsets: &[i64]| [ids(7), given(offsets), table(), weights(7)];
        let narrow = weights(7).cast(DType::F32);
        vec![
            Sample::good(sum.clone(), with(&[0, 2, 2, 6])),
            Sample::good(mean.clone(), with(&[0, 2, 2, 6, 7])),
            Sample::good(op(BagReduction::Sum, Some(3)), with(&[0, 3])),
            Sample::good(op(BagReduction::Mean, Some(3)), with(&[0, 1, 4])),
            Sample::good(
                op(BagReduction::Mean, Some(-1)),
                [given(&[-1, 2, -1]), given(&[0, 2]), table()],
            ),
            Sample::good(sum.clone(), weighted(&[0, 2, 2, 6])),
            Sample::good(op(BagReduction::Sum, Some(3)), weighted(&[0])),
            Sample::good(sum.clone(), [given(&[]), given(&[0, 0]), table()]),
            Sample::good(sum.clone(), [given(&[]), given(&[]), table()]),
            Sample::bad(sum.clone(), with(&[1, 2]), ErrorKind::Index, "offsets[0] = 1, but"),
            Sample::bad(sum.clone(), with(&[0, 3, 2]), ErrorKind::Index, "offsets[2] = 2 is less"),
            Sample::bad(sum.clone(), with(&[0, 8]), ErrorKind::Index, "offsets[1] = 8, but there"),
            Sample::bad(sum.clone(), with(&[]), ErrorKind::Index, "7 ids, but no bag"),
            Sample::bad(
                sum.clone(),
                [given(&[0, 5]), given(&[0]), table()],
                ErrorKind::Index,
                "ids[1] = 5, but the table has 5 rows",
            ),
            Sample::bad(mean, weighted(&[0]), ErrorKind::Value, "a mean has no weights"),
            Sample::bad(
                sum.clone(),
                [ids(7), given(&[0]), table(), narrow],
                ErrorKind::DType,
                "weights are f32, the table is f64",
            ),
            Sample::bad(
                sum.clone(),
                [ids(7), given(&[0]), table(), weights(6)],
                ErrorKind::Shape,
                "weights of shape (6,), but ids of shape (7,)",
            ),
            Sample::bad(
                sum.clone(),
                [ids(7), weights(1), table()],
                ErrorKind::DType,
                "offsets are i64",
            ),
            Sample::bad(
                sum,
                [ids(7), given(&[0]), Tensor::scalar(1.0)],
                ErrorKind::Shape,
                "no rows",
            ),
        ]
    }
}

impl Op for BagsGrad {
    const NAME: &'static str = "bags_grad";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let [dy, ids, offsets, table] = ins else { unreachable!("bags_grad has four operands") };
        refine([&mut *ids, offsets, table], dy)?;
        ids.unify(out)
    }

    fn dtype(&self, ins: &[DType]) -> Result<DType> {
        ids::with_ids(ins[0], ins[1])
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<BagsGrad>; 3] = [
            case!([Csr, Default, Default, Default] => Default, at_ids),
            case!([Csr, Default, Default, RowSparse] => Default, at_ids),
            case!([Csr, Default, Default, Csr] => Default, at_ids),
        ];
        &CASES
    }

    fn reads(&self, i: usize) -> Read {
        if i == 3 { Read::Shape } else { Read::All }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        let op = Bags { reduction: BagReduction::Sum, padding_idx: self.padding_idx };
        grads.give(0, || Var::apply(op, &[x[1], x[2], x[3], dy]));
        (1..4).for_each(|i| grads.zero(i));
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let mut picked = ArrayD::zeros(ins[1].raw_dim());
        each_id(self.padding_idx, &ins[1], &ins[2], |bag, n, id| {
            picked[[n]] = ins[0][[bag, id]];
        });
        picked
    }

    fn samples() -> Vec<Sample<Self>> {
        let dy = |bags: usize| super::dot::sparse_sample([bags, 5], 3);
        let with = |offsets: &[i64]| [dy(offsets.len()), ids(7), given(offsets), table()];
        let padded = BagsGrad { padding_idx: Some(3) };
        let mut samples = vec![
            Sample::good(BagsGrad::default(), with(&[0, 2, 2, 6])),
            Sample::good(padded, with(&[0, 2, 7])),
        ];
        let [dense, others @ ..] = with(&[0, 9]);
        let csr = dense.cast_storage(Stype::Csr);
        samples.extend(csr.map(|csr| {
            let [ids, offsets, table] = others;
            let inputs = [csr, ids, offsets, table];
            Sample::bad(BagsGrad::default(), inputs, ErrorKind::Index, "offsets[1] = 9")
        }));
        samples
    }
}

fn table() -> Tensor {
    super::dot::sparse_sample([5, 2], 3)
}

/// Some repeat in a row, some with others between them.
fn ids(n: usize) -> Tensor {
    Tensor::from_fn([n], |i| [3, 3, 1, 4, 0, 1, 1][i % 7])
}

fn given(values: &[i64]) -> Tensor {
    Tensor::from_fn([values.len()], |i| values[i])
}
