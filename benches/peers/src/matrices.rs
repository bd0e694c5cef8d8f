//! sprs.

use std::hint::black_box;

use ndarray::{Array2, ArrayView2};
use sparsetape::random::{Popularity, Random};
use sparsetape::{Stype, Tensor};
use sprs::binop::mul_mat_same_storage;
use sprs::prod::csr_mulacc_dense_rowmaj;

use crate::workloads::structure::{POPULARITIES, factors, pair, scattered};
use crate::workloads::{Case, Size};

const SPRS: &str = "sprs";

type Csr = sprs::CsMatI<f32, u32, usize>;

fn sprs(x: &Tensor) -> Csr {
    let shape = (x.shape()[0], x.shape()[1]);
    let (indptr, indices) = (x.indptr().unwrap().to_vec(), x.indices().unwrap().to_vec());
    Csr::new(shape, indptr, indices, x.values::<f32>().unwrap().to_vec())
}

/// The cases of the workload `structure` that sprs has, found by their names.
pub fn structure(case: Case, size: Size) -> Case {
    for (name, popularity) in POPULARITIES {
        let [plus, times] = ["+", "×"].map(|sign| format!("csr {sign} csr, {name}") == case.name);
        if plus || times {
            let [a, b] = pair(size, popularity).map(|x| sprs(&x));
            return match plus {
                true => case.with(SPRS, move || drop(black_box(&a + &b))),
                false => case.with(SPRS, move || {
                    drop(black_box(mul_mat_same_storage::<f32, f32, f32, u32, usize, _, _>(
                        &a, &b,
                    )));
                }),
            };
        }
    }
    match &case.name[..] {
        "csr · csr" => {
            let [a, b] = factors(size).map(|x| sprs(&x));
            case.with(SPRS, move || drop(black_box(&a * &b)))
        }
        "dense → csr, 1 %" => {
            let x = scattered(size);
            case.with(SPRS, move || {
                let shape = (x.shape()[0], x.shape()[1]);
                let x = ArrayView2::from_shape(shape, x.values::<f32>().unwrap()).unwrap();
                drop(black_box(Csr::csr_from_dense(x, 0.0)));
            })
        }
        "csr → dense, 1 %" => {
            let x = sprs(&scattered(size).cast_storage(Stype::Csr).unwrap());
            case.with(SPRS, move || drop(black_box(x.to_dense())))
        }
        _ => case,
    }
}

/// csr · dense, for names as `csr · dense, 8192 × 1000000 · 16, Zipf`.
pub fn product_with_dense(case: Case) -> Case {
    const WINDOWS: usize = 32;
    const PER_ROW: usize = 40;
    let Some([rows, cols, k]) = sizes(&case.name) else { return case };
    let popularity = match case.name.ends_with("Zipf") && cols >= 1000 {
        true => Popularity::ScatteredPowerLaw(1.1),
        false => Popularity::Uniform,
    };
    let x = Random::new(1).csr_rows::<f32>([rows * WINDOWS, cols], PER_ROW, popularity).unwrap();
    let x = sprs(&x);
    let table = Array2::<f32>::from_elem((cols, k), 0.5);
    let (mut out, mut window) = (Array2::<f32>::zeros((rows, k)), 0);
    case.with(SPRS, move || {
        let own = x.slice_outer(window * rows..(window + 1) * rows);
        window = (window + 1) % WINDOWS;
        out.fill(0.0);
        csr_mulacc_dense_rowmaj(own, table.view(), out.view_mut());
        black_box(&mut out);
    })
}

/// The three numbers in a name.
fn sizes(name: &str) -> Option<[usize; 3]> {
    let name = name.strip_prefix("csr · dense, ")?;
    let numbers = name.split([' ', ',']).filter_map(|word| word.parse().ok());
    numbers.collect::<Vec<usize>>().try_into().ok()
}
