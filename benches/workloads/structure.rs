//! Operators that make or take apart sparse values.

mod floors;

use std::hint::black_box;

use sparsetape::random::{Popularity, Random};
use sparsetape::{Bind, Input, Stype, Tape, Tensor, Var};

use self::floors::{Csr, Rows};
use super::{Case, EAGER, FLOOR, FROZEN, Size, Visit};

pub fn cases(size: Size, visit: Visit) {
    for (name, popularity) in POPULARITIES {
        let [a, b] = pair(size, popularity);
        add(name, &a, &b, visit);
        multiply(name, &a, &b, visit);
    }
    product(size, visit);
    conversions(size, visit);
    slices(size, visit);
    add_n(size, visit);
    sums(size, visit);
}

pub const POPULARITIES: [(&str, Popularity); 2] =
    [("Zipf", Popularity::PowerLaw(1.1)), ("uniform", Popularity::Uniform)];

fn rows(size: Size) -> usize {
    if size == Size::Full { 2048 } else { 16 }
}

/// Two csr matrices of 10^6 columns, with 40 entries a row.
pub fn pair(size: Size, popularity: Popularity) -> [Tensor; 2] {
    [1, 2].map(|seed| {
        Random::new(seed).csr_rows::<f32>([rows(size), 1_000_000], 40, popularity).unwrap()
    })
}

/// Two csr matrices to be multiplied: 40 entries a row, and 10.
pub fn factors(size: Size) -> [Tensor; 2] {
    let (law, n) = (Popularity::PowerLaw(1.1), 10_000);
    [
        Random::new(1).csr_rows::<f32>([rows(size), n], 40, law).unwrap(),
        Random::new(2).csr_rows::<f32>([n, n], 10, law).unwrap(),
    ]
}

/// A dense matrix of which one element in a hundred is not zero.
pub fn scattered(size: Size) -> Tensor {
    Random::new(1).tensor::<f32>(Stype::Default, [rows(size), 4096], 0.01).unwrap()
}

/// Row-sparse values that each store one row in fifty of 10^6.
fn updates(size: Size) -> Vec<Tensor> {
    let rows = if size == Size::Full { 1_000_000 } else { 5000 };
    (1..9).map(|seed| Random::new(seed).row_sparse::<f32>([rows, 64], 0.02).unwrap()).collect()
}

type Operator = for<'t> fn(&'t Tape, &[Var<'t>]) -> Var<'t>;

/// With a tape that is cleared for each run, and with an executor.
fn ours(case: Case, inputs: &[&Tensor], operator: Operator) -> Case {
    let inputs: Vec<Tensor> = inputs.iter().map(|&x| x.clone()).collect();
    let tape = Tape::new();
    let names: Vec<String> = (0..inputs.len()).map(|i| format!("x{i}")).collect();
    let vars: Vec<Var> = inputs.iter().map(|x| tape.constant(x.clone())).collect();
    let named = names.iter().zip(&vars).map(|(name, x)| Input::new(name, *x).batch_axis(None));
    let graph = tape.freeze(named, [operator(&tape, &vars)]).unwrap();
    let bind = names.iter().zip(&inputs).fold(Bind::new(), |bind, (name, x)| bind.tensor(name, x));
    let mut executor = graph.bind(bind).unwrap();
    let mut tape = Tape::new();
    case.with(EAGER, move || {
        tape.clear();
        let vars: Vec<Var> = inputs.iter().map(|x| tape.constant(x.clone())).collect();
        black_box(operator(&tape, &vars).value().unwrap());
    })
    .with(FROZEN, move || {
        executor.forward(false).unwrap();
        black_box(executor.output(0).unwrap());
    })
}

fn add(name: &str, a: &Tensor, b: &Tensor, visit: Visit) {
    let case = Case::new(format!("csr + csr, {name}"), "entry", a.nnz() + b.nnz());
    let (x, y, mut out) = (Csr::of(a), Csr::of(b), Csr::default());
    let case = case.with(FLOOR, move || floors::add(&x, &y, black_box(&mut out)));
    visit(ours(case, &[a, b], |_, x| x[0] + x[1]));
}

fn multiply(name: &str, a: &Tensor, b: &Tensor, visit: Visit) {
    let case = Case::new(format!("csr × csr, {name}"), "entry", a.nnz() + b.nnz());
    let (x, y, mut out) = (Csr::of(a), Csr::of(b), Csr::default());
    let case = case.with(FLOOR, move || floors::multiply(&x, &y, black_box(&mut out)));
    visit(ours(case, &[a, b], |_, x| x[0] * x[1]));
}

fn product(size: Size, visit: Visit) {
    let [a, b] = factors(size);
    let (x, y, mut out) = (Csr::of(&a), Csr::of(&b), Csr::default());
    let mut sums = vec![0.0; y.cols];
    let products = x.indices.iter().map(|&j| y.row(j as usize).0.len()).sum();
    let case = Case::new("csr · csr", "product", products);
    let case = case.with(FLOOR, move || floors::product(&x, &y, &mut sums, black_box(&mut out)));
    visit(ours(case, &[&a, &b], |_, x| x[0].dot(x[1])));
}

fn conversions(size: Size, visit: Visit) {
    let dense = scattered(size);
    let [rows, cols] = [dense.shape()[0], dense.shape()[1]];
    let (x, mut out) = (dense.values::<f32>().unwrap().to_vec(), Csr::default());
    let case = Case::new("dense → csr, 1 %", "element", rows * cols)
        .with(FLOOR, move || floors::to_csr(&x, cols, black_box(&mut out)));
    visit(ours(case, &[&dense], |_, x| x[0].cast_storage(Stype::Csr)));

    let csr = dense.cast_storage(Stype::Csr).unwrap();
    let (x, mut out) = (Csr::of(&csr), vec![0.0; rows * cols]);
    let case = Case::new("csr → dense, 1 %", "element", rows * cols)
        .with(FLOOR, move || floors::to_dense(&x, black_box(&mut out)));
    visit(ours(case, &[&csr], |_, x| x[0].cast_storage(Stype::Default)));
}

fn slices(size: Size, visit: Visit) {
    let [a, _] = pair(size, Popularity::Uniform);
    let case = Case::new("csr, a quarter of the rows", "call", 1);
    visit(ours(case, &[&a], |_, x| x[0].slice_axis(0, 4..rows_quarter(x[0]))));

    let (x, mut out) = (Csr::of(&a), Csr::default());
    let case = Case::new("csr, half of the columns", "entry", a.nnz())
        .with(FLOOR, move || floors::cut(&x, 250_000..750_000, black_box(&mut out)));
    visit(ours(case, &[&a], |_, x| x[0].slice_axis(1, 250_000..750_000)));
}

fn rows_quarter(x: Var) -> isize {
    4 + x.shape().unwrap()[0] as isize / 4
}

fn add_n(size: Size, visit: Visit) {
    let parts = updates(size);
    let held: Vec<Rows> = parts.iter().map(Rows::of).collect();
    let stored = held.iter().map(|part| part.ids.len()).sum();
    let mut sum = floors::Sum::new(parts[0].shape()[0], stored, 64);
    let case = Case::new("add_n of 8 row-sparse, rows of 64", "row", stored)
        .with(FLOOR, move || sum.of(black_box(&held)));
    visit(ours(case, &parts.iter().collect::<Vec<_>>(), |tape, x| tape.add_n(x)));
}

fn sums(size: Size, visit: Visit) {
    let [a, _] = pair(size, Popularity::PowerLaw(1.1));
    let (x, mut out) = (Csr::of(&a), vec![0.0; a.shape()[1]]);
    let case = Case::new("sum of csr over axis 0", "entry", a.nnz())
        .with(FLOOR, move || floors::sum_rows(&x, black_box(&mut out)));
    visit(ours(case, &[&a], |_, x| x[0].sum_axes(&[0], false)));

    let (x, mut out) = (Csr::of(&a), vec![0.0; a.shape()[0]]);
    let case = Case::new("sum of csr over axis 1", "entry", a.nnz())
        .with(FLOOR, move || floors::sum_columns(&x, black_box(&mut out)));
    visit(ours(case, &[&a], |_, x| x[0].sum_axes(&[1], false)));

    let x = Csr::of(&a);
    let case = Case::new("sum of csr", "entry", a.nnz())
        .with(FLOOR, move || _ = black_box(floors::sum(black_box(&x.values))));
    visit(ours(case, &[&a], |_, x| x[0].sum()));
}
