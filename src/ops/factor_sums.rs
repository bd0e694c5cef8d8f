//! The second-order term of a factorization machine.

use ndarray::{Array2, ArrayD, Axis, Ix2, concatenate};
use serde::{Deserialize, Serialize};

use super::dot::{near_rows, row_slots, sparse_sample};
use super::square_sum::SquareSumGrad;
use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::factor_sums::{factor_sums, factor_sums_grad, scaled_sums};
use crate::kernels::memory::Temp;
use crate::kernels::merge::positions;
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::structural::Reduction;
use crate::tape::{Out, PartialShape, Scratch, Var, compose, unify_dims};
use crate::tensor::cast::csr_ref;
use crate::tensor::{Real, Stype, Tensor, View};

/// `factor_sums`: for each row of a csr matrix, the sum of what its pairs of entries weigh, and the sums of their
/// factors, which its gradient needs: ½ Σₖ (sₖ² − Σⱼ xⱼ² vⱼₖ²), then s = Σⱼ xⱼ vⱼ.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FactorSums;

/// `factor_sums_grad`: the gradient of [`FactorSums`] in the factors, of the rows at the columns that occur:
/// Σᵢ xᵢⱼ tᵢ − (Σᵢ gᵢ xᵢⱼ²) vⱼ, where (g, d) is the cotangent and t = g s + d.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FactorSumsGrad;

impl<'t> Var<'t> {
    /// How the entries of each row of this matrix act in pairs, where a pair weighs the product of its columns'
    /// factors, the rows of `v`: the second-order term of a factorization machine (Rendle 2010, equation 5).
    ///
    /// ```text
    /// yᵢ = Σ_{j<l} ⟨vⱼ, vₗ⟩ xᵢⱼ xᵢₗ = ½ Σₖ [(Σⱼ xᵢⱼ vⱼₖ)² − Σⱼ xᵢⱼ² vⱼₖ²]
    /// ```
    ///
    /// For x of shape (B, N) and v of shape (N, K) the result is dense, of shape (B, 1), at the cost of the stored
    /// entries times K. Each row of `v`, dense or row-sparse, is read once for an entry. The gradient of `v` is
    /// row-sparse, with exactly the columns that occur in x; that of x lives on its pattern. Where x is not csr,
    /// it is composed of products and squares.
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::csr([1, 9], vec![0, 3], vec![2, 4, 8], vec![1.0f32, 2.0, 3.0])?);
    /// let v = tape.variable(Tensor::full([9, 2], 0.5f32)?);
    /// let y = x.pair_interactions(v);
    /// // Each ⟨vⱼ, vₗ⟩ is ½; the pairs are 1 · 2, 1 · 3 and 2 · 3.
    /// assert_eq!(y.value()?.values::<f32>()?, [5.5]);
    /// let gradients = y.sum().backward()?;
    /// assert_eq!(gradients.wrt(v).unwrap().rows(), Some(&[2, 4, 8][..]));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the exits: [`ErrorKind::Shape`] if `v` has not a row for each column of x; [`ErrorKind::DType`] if
    /// their element types differ.
    #[doc(alias = "factorization_machine")]
    #[doc(alias = "bi_interaction")]
    #[track_caller]
    pub fn pair_interactions(self, v: Var<'t>) -> Var<'t> {
        self.tape().composition("pair_interactions", || match self.stype() {
            Ok(Stype::Default | Stype::RowSparse) => {
                let squares = self.square().dot(v.square()).sum_axes(&[1], true);
                (self.dot(v).square_sum(&[1], true) - squares) * 0.5
            }
            _ => Var::apply(FactorSums, &[self, v]).slice_axis(1, ..1),
        })
    }
}

impl Tensor {
    /// Unrecorded [`Var::pair_interactions`].
    ///
    /// # Errors
    /// What the recorded operators refuse, at once.
    #[track_caller]
    pub fn pair_interactions(&self, v: &Tensor) -> Result<Tensor> {
        compose([self, v], |[x, v]| x.pair_interactions(v))
    }
}

fn sums<T: Real>(_: &FactorSums, ins: &[View], out: &mut Out, scratch: &mut Scratch) -> Result<()> {
    let (a, v, k) = (ins[0].csr()?, ins[1].typed::<T>()?, ins[1].shape()[1]);
    let entries = csr_ref(a, a.values.typed::<T>()?);
    if let View::RowSparse(rows) = &ins[1] {
        let mut own = None;
        factor_sums(entries, row_slots(a, rows.rows, &mut own), v, k, out.dense());
        return Ok(());
    }
    match near_rows(a, v, k, scratch)? {
        Some((slots, near)) => factor_sums(entries, slots, &near, k, out.dense()),
        None => factor_sums(entries, entries.indices, v, k, out.dense()),
    }
    Ok(())
}

fn grad<T: Real>(
    _: &FactorSumsGrad,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let (a, v, k) = (ins[0].csr()?, ins[1].typed::<T>()?, ins[1].shape()[1]);
    let (sums, dy) = (ins[2].typed::<T>()?, ins[3].typed::<T>()?);
    let (entries, columns) = (csr_ref(a, a.values.typed::<T>()?), a.pattern.columns());
    let own = ins[1].rows().map(|rows| positions(&columns.distinct, rows));
    let ids = own.as_deref().map_or(&columns.distinct[..], |at| at);
    let g = Temp::collect(dy.chunks_exact(k + 1).map(|row| row[0]));
    let mut t = scratch.take::<T>(entries.rows() * k);
    scaled_sums(sums, dy, k, &mut t);
    let rows = out.rows(columns.distinct.clone())?;
    factor_sums_grad(entries, &columns.slots, (&g, &t), (ids, v), k, rows);
    scratch.give(t);
    Ok(())
}

/// A csr matrix, the factors of its columns, and a number and a sum of each factor for its rows.
fn refine(x: &mut PartialShape, v: &mut PartialShape, sums: &mut PartialShape) -> Result<()> {
    [&mut *x, &mut *v, &mut *sums].into_iter().try_for_each(|shape| shape.set_rank(2))?;
    unify_dims((x, 1), (v, 0))?;
    unify_dims((x, 0), (sums, 0))?;
    let message = || Error::new(ErrorKind::Shape, format!("sums {sums} for factors {v}"));
    match (v.dim(1), sums.dim(1)) {
        (Some(k), _) => {
            let width = k.checked_add(1).ok_or_else(message)?;
            sums.set_dim(1, width)
        }
        (None, Some(width)) => {
            let k = width.checked_sub(1).ok_or_else(message)?;
            v.set_dim(1, k)
        }
        (None, None) => Ok(()),
    }
}

/// The number of each row, and its sums.
fn parts<'t>(sums: Var<'t>) -> (Var<'t>, Var<'t>) {
    (sums.slice_axis(1, ..1), sums.slice_axis(1, 1..))
}

fn join<'t>(number: Var<'t>, sums: Var<'t>) -> Var<'t> {
    number.tape().concat(&[number, sums], 1)
}

/// ⟨tᵢ, wⱼ⟩ − gᵢ xᵢⱼ pⱼ at each entry of x.
fn of_entries<'t>(x: Var<'t>, (g, t): (Var<'t>, Var<'t>), w: Var<'t>, p: Var<'t>) -> Var<'t> {
    x.sampled_dot(t, w) - x * x.sampled_dot(g, p)
}

/// g and t = g s + d.
fn scaled<'t>(y: Var<'t>, dy: Var<'t>) -> (Var<'t>, Var<'t>) {
    let ((_, s), (g, d)) = (parts(y), parts(dy));
    (g, g * s + d)
}

impl Op for FactorSums {
    const NAME: &'static str = "factor_sums";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let [x, v] = ins else { unreachable!("a csr matrix and factors") };
        refine(x, v, out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<FactorSums>; 2] =
            [case!([Csr, Default] => Default, sums), case!([Csr, RowSparse] => Default, sums)];
        &CASES
    }

    fn reads(&self, i: usize) -> Read {
        if i == 1 { Read::RowsOf(0) } else { Read::All }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], y: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        let (a, v) = (x[0], x[1]);
        grads.give(0, || {
            let squares = v.rows_of(a).square_sum(&[1], true);
            of_entries(a, scaled(y, dy), v, squares)
        });
        grads.give(1, || Var::apply(FactorSumsGrad, &[a, v, y, dy]));
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let (x, v) = (matrix(&ins[0]), matrix(&ins[1]));
        let (sums, squares) = (x.dot(&v), (&x * &x).dot(&(&v * &v)));
        let pairs = (&sums * &sums - squares).sum_axis(Axis(1)) * 0.5;
        concatenate![Axis(1), pairs.insert_axis(Axis(1)), sums].into_dyn()
    }

    fn samples() -> Vec<Sample<Self>> {
        let x = || sparse_sample([3, 4], 3);
        let good = |x: [usize; 2], k| {
            Sample::good(FactorSums, [sparse_sample(x, 3), sparse_sample([x[1], k], 4)])
        };
        vec![
            good([3, 4], 2),
            good([4, 5], 1),
            good([2, 4], 7),
            good([0, 5], 2),
            good([3, 4], 0),
            Sample::bad(FactorSums, [x(), sparse_sample([3, 2], 4)], ErrorKind::Shape, "differ"),
            Sample::bad(
                FactorSums,
                [x(), Tensor::from_fn([4, 2, 1], |i| i as f64)],
                ErrorKind::Shape,
                "needs 2 axes",
            ),
        ]
    }
}

impl Op for FactorSumsGrad {
    const NAME: &'static str = "factor_sums_grad";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let [x, v, y, dy] = ins else { unreachable!("operands, result and cotangent") };
        v.unify(out)?;
        refine(x, v, y)?;
        refine(x, v, dy)?;
        refine(x, v, y)?;
        v.unify(out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<FactorSumsGrad>; 2] = [
            case!([Csr, Default, Default, Default] => RowSparse, grad),
            case!([Csr, RowSparse, Default, Default] => RowSparse, grad),
        ];
        &CASES
    }

    fn reads(&self, i: usize) -> Read {
        if i == 1 { Read::RowsOf(0) } else { Read::All }
    }

    fn vjp<'t>(&self, ins: &[Var<'t>], _: Var<'t>, h: Var<'t>, grads: &mut Grads<'t>) {
        let &[x, v, y, dy] = ins else { unreachable!("operands, result and cotangent") };
        // For Σⱼ ⟨hⱼ, Σᵢ xᵢⱼ tᵢ − Σᵢ gᵢ xᵢⱼ² vⱼ⟩, in which t = g s + d.
        let products = || (v.rows_of(x) * h).sum_axes(&[1], true);
        grads.give(0, || of_entries(x, scaled(y, dy), h, products() * 2.0));
        grads.give(1, || {
            let own = x.square().dot_with(parts(dy).0, true, false);
            let row = Reduction::over(&[1], true);
            Var::apply(SquareSumGrad(row), &[h, own]) * -0.5
        });
        grads.give(2, || {
            let (g, _) = parts(dy);
            join(g.zeros_like(), g * x.dot(h))
        });
        grads.give(3, || {
            let sums = x.dot(h);
            let of_pairs = (parts(y).1 * sums).sum_axes(&[1], true);
            join(of_pairs - x.square().dot(products()), sums)
        });
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let [x, v, y, dy] = [0, 1, 2, 3].map(|i| matrix(&ins[i]));
        let (g, d) = dy.view().split_at(Axis(1), 1);
        let s = y.slice(ndarray::s![.., 1..]);
        let own = (&x * &x).t().dot(&g);
        (x.t().dot(&(&g * &s + d)) - own * v).into_dyn()
    }

    fn samples() -> Vec<Sample<Self>> {
        let sums = |rows: usize, k: usize, seed: f64| {
            Tensor::from_fn([rows, k + 1], move |i| (i as f64 * seed).sin() + 0.25)
        };
        let operands = |[rows, columns]: [usize; 2], k| {
            let (x, v) = (sparse_sample([rows, columns], 3), sparse_sample([columns, k], 4));
            [x, v, sums(rows, k, 0.9), sums(rows, k, 1.3)]
        };
        let [x, v, y, _] = operands([3, 4], 2);
        let wrong = Sample::bad(
            FactorSumsGrad,
            [x, v, y, sums(3, 3, 1.0)],
            ErrorKind::Shape,
            "axis 1 has size 4, but 3 is needed",
        );
        let shapes = [([3, 4], 2), ([4, 5], 1), ([2, 4], 7), ([0, 5], 2)];
        let good = shapes.map(|(x, k)| Sample::good(FactorSumsGrad, operands(x, k)));
        good.into_iter().chain([wrong]).collect()
    }
}

fn matrix(x: &ArrayD<f64>) -> Array2<f64> {
    x.clone().into_dimensionality::<Ix2>().unwrap_or_default()
}
