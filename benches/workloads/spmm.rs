//! csr · dense.

use std::hint::black_box;

use sparsetape::{Bind, Parameter, Stype, Tape, Tensor, variable};

use super::floors::{
    Loop, PER_ROW, POPULARITIES, Table, Windows, matrix, prefetch, row, weight, weights, wide,
};
use super::{Case, EAGER, FLOOR, FROZEN, Size, Visit};

pub fn cases(size: Size, visit: Visit) {
    let (rows, cols, windows) = match size {
        Size::Full => (8192, 1_000_000, 32),
        Size::Test => (64, 1000, 2),
    };
    for (law, popularity) in POPULARITIES {
        let x = matrix(rows * windows, cols, popularity);
        for k in [1, 8, 16, 64] {
            let name = format!("csr · dense, {rows} × {cols} · {k}, {law}");
            visit(case(name, &x, rows, k));
        }
    }
}

fn case(name: String, x: &Tensor, rows: usize, k: usize) -> Case {
    let cols = x.shape()[1];
    let table = Parameter::new("table", weights([cols, k])).expect("a parameter");
    Case::new(name, "entry", rows * PER_ROW)
        .with(FLOOR, floor(Windows::new(x, rows), k))
        .with(EAGER, eager(Windows::new(x, rows), table.clone()))
        .with(FROZEN, frozen(Windows::new(x, rows), table))
}

fn eager(mut windows: Windows, table: Parameter) -> impl FnMut() + Send {
    let mut tape = Tape::new();
    move || {
        tape.clear();
        let (x, table) = (tape.constant(windows.next()), tape.parameter(&table));
        let y = tape.no_grad(|| x.dot(table));
        black_box(y.value().expect("a product"));
    }
}

fn frozen(mut windows: Windows, table: Parameter) -> impl FnMut() + Send {
    let tape = Tape::symbolic();
    let y = tape.symbol(variable("x").stype(Stype::Csr)).dot(tape.parameter(&table));
    let graph = sparsetape::Graph::new(&[y]).expect("a graph");
    let bind = Bind::new().parameter(&table).tensor("x", windows.next());
    let mut executor = graph.bind(bind).expect("an executor");
    move || {
        executor.run(&[("x", &windows.next())]).expect("a product");
        black_box(executor.output(0).expect("a product"));
    }
}

fn floor(mut windows: Windows, k: usize) -> impl FnMut() + Send {
    let cols = windows.cols();
    let table = Table::new((0..cols * k).map(weight));
    let mut out = Table::zeros(windows.rows() * k);
    move || {
        let (ids, values) = windows.step_entries();
        let (table, out) = (table.slice(), out.slice_mut());
        match k {
            1 => wide(Product::<1> { ids, values, table, out }),
            8 => wide(Product::<8> { ids, values, table, out }),
            16 => wide(Product::<16> { ids, values, table, out }),
            _ => wide(Product::<64> { ids, values, table, out }),
        }
        black_box(out);
    }
}

struct Product<'a, const K: usize> {
    ids: &'a [u32],
    values: &'a [f32],
    table: &'a [f32],
    out: &'a mut [f32],
}

impl<const K: usize> Loop for Product<'_, K> {
    #[inline(always)]
    fn run(self) {
        const AHEAD: usize = 24;
        let Product { ids, values, table, out } = self;
        let rows = ids.chunks_exact(PER_ROW).zip(values.chunks_exact(PER_ROW));
        for (n, ((own, values), out)) in rows.zip(out.chunks_exact_mut(K)).enumerate() {
            let mut sums = [[0f32; K]; 2];
            for e in (0..PER_ROW).step_by(2) {
                for (u, sum) in sums.iter_mut().enumerate() {
                    let ahead = ids.get(n * PER_ROW + e + u + AHEAD).copied().unwrap_or(0);
                    prefetch::<K>(table, ahead as usize * K);
                    // SAFETY: ids are below the number of rows of the table.
                    let row = unsafe { row::<K>(table, own[e + u] as usize * K) };
                    for l in 0..K {
                        sum[l] += values[e + u] * row[l];
                    }
                }
            }
            for l in 0..K {
                out[l] = sums[0][l] + sums[1][l];
            }
        }
    }
}
