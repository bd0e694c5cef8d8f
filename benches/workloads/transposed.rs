//! csrᵀ · dense, merged into sorted unique rows.

use std::hint::black_box;

use sparsetape::random::Popularity;
use sparsetape::{Stype, Tape, Tensor};

use super::floors::{Loop, PER_ROW, Table, Windows, matrix, row, row_mut, weight, weights, wide};
use super::merged::Merged;
use super::{Case, EAGER, FLOOR, FROZEN, Size, Visit};

pub fn cases(size: Size, visit: Visit) {
    let (cols, batches): (usize, &[usize]) = match size {
        Size::Full => (1_000_000, &[512, 2048, 8192]),
        Size::Test => (1000, &[64]),
    };
    let all = batches.iter().max().map_or(0, |most| 32 * most);
    let x = matrix(all, cols, Popularity::ScatteredPowerLaw(1.1));
    for &batch in batches {
        for k in [1, 8, 64] {
            let name = format!("csrᵀ · dense, {cols} × {batch} · {k}, Zipf");
            visit(case(name, &x, batch, k));
        }
    }
}

fn case(name: String, x: &Tensor, batch: usize, k: usize) -> Case {
    Case::new(name, "entry", batch * PER_ROW)
        .with(FLOOR, floor(Windows::new(x, batch), k))
        .with(EAGER, eager(Windows::new(x, batch), k))
        .with(FROZEN, frozen(Windows::new(x, batch), k))
}

fn eager(mut windows: Windows, k: usize) -> impl FnMut() + Send {
    let (mut tape, dense) = (Tape::new(), weights([windows.rows(), k]));
    move || {
        tape.clear();
        let dense = tape.constant(dense.clone());
        let product = tape.constant(windows.next()).dot_with(dense, true, false);
        assert_eq!(product.value().expect("a product").stype(), Stype::RowSparse);
    }
}

fn frozen(mut windows: Windows, k: usize) -> impl FnMut() + Send {
    let tape = Tape::new();
    let first = windows.next();
    let (x, dense) = (tape.constant(first.clone()), tape.constant(weights([windows.rows(), k])));
    let graph = tape.freeze([("x", x), ("dense", dense)], [x.dot_with(dense, true, false)]);
    let bind =
        sparsetape::Bind::new().tensor("x", first).tensor("dense", weights([windows.rows(), k]));
    let mut executor = graph.expect("a graph").bind(bind).expect("an executor");
    move || {
        executor.run(&[("x", &windows.next())]).expect("a product");
        black_box(executor.output(0).expect("a product"));
    }
}

fn floor(mut windows: Windows, k: usize) -> impl FnMut() + Send {
    let (cols, rows) = (windows.cols(), windows.rows());
    let dense = Table::new((0..rows * k).map(weight));
    let mut out = Table::zeros(rows * PER_ROW * k);
    let mut merged = Merged::default();
    move || {
        let (ids, values) = windows.step_entries();
        merged.merge(ids, cols);
        let (slots, dense) = (&merged.slots[..], dense.slice());
        let out = &mut out.slice_mut()[..merged.distinct.len() * k];
        match k {
            1 => wide(Scatter::<1> { slots, values, dense, out }),
            8 => wide(Scatter::<8> { slots, values, dense, out }),
            _ => wide(Scatter::<64> { slots, values, dense, out }),
        }
        black_box((&merged.distinct, out));
    }
}

struct Scatter<'a, const K: usize> {
    slots: &'a [u32],
    values: &'a [f32],
    dense: &'a [f32],
    out: &'a mut [f32],
}

impl<const K: usize> Loop for Scatter<'_, K> {
    #[inline(always)]
    fn run(self) {
        let Scatter { slots, values, dense, out } = self;
        out.fill(0.0);
        let rows = slots.chunks_exact(PER_ROW).zip(values.chunks_exact(PER_ROW));
        for (n, (slots, values)) in rows.enumerate() {
            // SAFETY: there is a dense row for each row, and a row of the result for each slot.
            let from: [f32; K] = *unsafe { row(dense, n * K) };
            for (&slot, &value) in slots.iter().zip(values) {
                // SAFETY: as above.
                let sum: &mut [f32; K] = unsafe { row_mut(out, slot as usize * K) };
                for l in 0..K {
                    sum[l] += value * from[l];
                }
            }
        }
    }
}
