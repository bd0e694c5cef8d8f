//! A complete operator defined outside the crate: the worked example of the documentation.
//!
//! `scale_rows(x, s)` multiplies each row of a matrix by one number of a vector. Rows that `x` does
//! not store stay absent, entries too; so a sparse matrix is never made dense.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};
use sparsetape::check::check_op;
use sparsetape::{
    Archive, Case, ErrorKind, Fallback, Grads, Graph, Model, Op, Out, PartialShape, Real, Registry,
    Result, Sample, Scratch, Stype, Tape, Tensor, Var, View, assert_close, case, evaluate,
    variable,
};

/// Each row of the first operand times a number: `y[i, j] = x[i, j] · s[i]`, or divided by it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct ScaleRows {
    inverse: bool,
}

impl ScaleRows {
    fn factor<T: Real>(&self, s: T) -> T {
        if self.inverse { T::one() / s } else { s }
    }
}

/// The row of each stored value and the values themselves, times the row's factor.
fn scaled<T: Real>(op: &ScaleRows, x: &[T], s: T, y: &mut [T]) {
    let factor = op.factor(s);
    y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * factor);
}

fn dense<T: Real>(op: &ScaleRows, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (x, s, cols) = (ins[0].typed::<T>()?, ins[1].typed::<T>()?, ins[0].shape()[1]);
    let y = out.dense::<T>();
    for (i, &s) in s.iter().enumerate() {
        let row = i * cols..(i + 1) * cols;
        scaled(op, &x[row.clone()], s, &mut y[row]);
    }
    Ok(())
}

fn csr<T: Real>(op: &ScaleRows, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (x, values, s) = (ins[0].csr()?, ins[0].typed::<T>()?, ins[1].typed::<T>()?);
    let y = out.csr_on::<T>(x.pattern())?;
    for (i, &s) in s.iter().enumerate() {
        let row = x.pattern().row_range(i);
        scaled(op, &values[row.clone()], s, &mut y[row]);
    }
    Ok(())
}

fn rows<T: Real>(op: &ScaleRows, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (x, values, s) = (ins[0].row_sparse()?, ins[0].typed::<T>()?, ins[1].typed::<T>()?);
    let cols = x.shape()[1];
    let y = out.rows::<T>(x.rows().clone())?;
    for (n, &i) in x.rows().iter().enumerate() {
        let row = n * cols..(n + 1) * cols;
        scaled(op, &values[row.clone()], s[i as usize], &mut y[row]);
    }
    Ok(())
}

impl Op for ScaleRows {
    const NAME: &'static str = "scale_rows";

    /// `(n, m)` and `(n,)` give `(n, m)`. What is known of the result flows back to the operands.
    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let [x, s] = ins else { unreachable!("scale_rows has two operands") };
        x.set_rank(2)?;
        s.set_rank(1)?;
        x.unify(out)?;
        if let Some(rows) = s.dim(0) {
            x.set_dim(0, rows)?;
        }
        if let Some(rows) = x.dim(0) {
            s.set_dim(0, rows)?;
        }
        x.unify(out)
    }

    /// One row per combination of storage types that has a kernel; other operands are made dense,
    /// visibly.
    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<ScaleRows>; 3] = [
            case!([Default, Default] => Default, dense),
            case!([Csr, Default] => Csr, csr),
            case!([RowSparse, Default] => RowSparse, rows),
        ];
        &CASES
    }

    /// Written with recorded operators, so it can be differentiated again.
    fn vjp<'t>(&self, x: &[Var<'t>], y: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        let (matrix, s) = (x[0], x[1]);
        grads.give(0, || dy.tape().apply(self.clone(), &[dy, s]));
        grads.give(1, || match self.inverse {
            false => (dy * matrix).sum_axes(&[-1], false),
            true => ((dy * y).sum_axes(&[-1], false) / s).neg(),
        });
    }

    /// The definition that kernels are tested against.
    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        ArrayD::from_shape_fn(ins[0].raw_dim(), |at| ins[0][&at] * self.factor(ins[1][[at[0]]]))
    }

    /// Dense inputs, with zeros so that sparse patterns have holes; and inputs that are refused.
    fn samples() -> Vec<Sample<Self>> {
        let value = |i: usize| if i.is_multiple_of(3) || i / 4 == 1 { 0.0 } else { i as f64 - 4.5 };
        let matrix = |rows: usize| {
            Tensor::dense([rows, 4], (0..4 * rows).map(value).collect::<Vec<f64>>()).unwrap()
        };
        let vector = |n: usize| {
            let values: Vec<f64> = (0..n).map(|i| 0.5 + i as f64 * 0.75).collect();
            Tensor::dense([n], values).unwrap()
        };
        vec![
            Sample::good(ScaleRows { inverse: false }, [matrix(3), vector(3)]),
            Sample::good(ScaleRows { inverse: true }, [matrix(4), vector(4)]),
            Sample::bad(
                ScaleRows { inverse: false },
                [matrix(3), vector(2)],
                ErrorKind::Shape,
                "axis 0 has size 3, but 2 is needed",
            ),
        ]
    }
}

/// Kernels, storage types, gradients of both orders, batches, threads, errors: all in one call.
#[test]
fn keeps_its_promises() {
    let checked = check_op::<ScaleRows>().unwrap();
    assert_eq!((checked.rows, checked.samples), (3, 3));
    assert!(checked.gradients > 100);
}

#[test]
fn records_like_a_built_in_operator() {
    let tape = Tape::new();
    tape.set_fallback(Fallback::Deny);
    let x = Tensor::csr([2, 3], vec![0, 1, 2], vec![2, 0], vec![3.0f64, 5.0]).unwrap();
    let x = tape.variable(x);
    let s = tape.variable(Tensor::dense([2], vec![2.0f64, 10.0]).unwrap());
    let y = tape.apply(ScaleRows { inverse: false }, &[x, s]);
    let gradients = y.sum().backward().unwrap();
    let dx = gradients.wrt(x).unwrap();
    assert_eq!((dx.stype(), dx.values::<f64>().unwrap()), (Stype::Csr, &[2.0, 10.0][..]));
    assert_eq!(gradients.wrt(s).unwrap().values::<f64>().unwrap(), [3.0, 5.0]);
}

#[test]
fn loads_through_a_registry() {
    let mut registry = Registry::standard();
    registry.add::<ScaleRows>();
    let loaded = registry.load("scale_rows", serde_json::json!({"inverse": true})).unwrap();
    assert_eq!(loaded.to_json().unwrap(), serde_json::json!({"inverse": true}));
    let x = Tensor::dense([1, 2], vec![3.0f32, 5.0]).unwrap();
    let s = Tensor::dense([1], vec![2.0f32]).unwrap();
    let y = evaluate(loaded, &[&x, &s]).unwrap();
    assert_close(&y, &Tensor::dense([1, 2], vec![1.5f32, 2.5]).unwrap(), 0.0, 0.0);

    let unknown = Registry::standard().load("scale_rows", serde_json::Value::Null).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Parse);
}

#[test]
fn is_saved_and_loaded_in_a_model() {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("x").stype(Stype::Csr));
    let s = tape.symbol(variable("s"));
    let y = tape.apply(ScaleRows { inverse: true }, &[x, s]);
    let graph = Graph::new(&[y.sum()]).unwrap().with_gradients(&["s"]).unwrap();
    let s = Tensor::dense([2], vec![2.0f64, 10.0]).unwrap();
    let weights = Archive::new([("s", s)]).unwrap();
    let bytes = Model { graph, weights }.to_bytes().unwrap();

    let error = Model::from_bytes(&bytes, &Registry::standard()).unwrap_err();
    assert!(error.to_string().contains("no operator \"scale_rows\" in the registry"), "{error}");

    let mut registry = Registry::standard();
    registry.add::<ScaleRows>();
    let model = Model::from_bytes(&bytes, &registry).unwrap();
    assert_eq!(model.to_bytes().unwrap(), bytes);
    let x = Tensor::csr([2, 3], vec![0, 1, 2], vec![2, 0], vec![3.0f64, 5.0]).unwrap();
    let mut executor = model.graph.bind(model.bind().tensor("x", x)).unwrap();
    executor.forward(false).unwrap();
    assert_eq!(executor.output(0).unwrap().item::<f64>().unwrap(), 2.0);
    executor.backward().unwrap();
    assert_eq!(executor.grad("s").unwrap().values::<f64>().unwrap(), [-0.75, -0.05]);
}
