//! What `check_op` must not miss: one operator, broken in many ways.

use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};
use sparsetape::check::check_op;
use sparsetape::{
    ByDtype, Case, Error, ErrorKind, Grads, Ins, Op, Out, PartialShape, Read, Real, Result, Sample,
    Scratch, Stype, Tensor, Var, View,
};

const SOUND: usize = 0;
const WRONG_VALUE: usize = 1;
const WRONG_SPARSE_VALUE: usize = 2;
const BATCH_SIZE_MATTERS: usize = 3;
const CHANGING: usize = 4;
const WRONG_SHAPE: usize = 5;
const REPEATED_ROW: usize = 6;
const UNREACHED_ROW: usize = 7;
const NO_SAMPLE: usize = 8;
const NOT_REFUSED: usize = 9;
const OTHER_MESSAGE: usize = 10;
const OTHER_KIND: usize = 11;
const PANICLESS_ERROR: usize = 12;
const THREADS_MATTER: usize = 13;
const DENSE_BACKWARD: usize = 14;
const LOSES_ENTRIES: usize = 15;
const READS_MORE: usize = 16;

/// 2·x, with a fault.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Twice<const FAULT: usize>;

fn factor<const FAULT: usize>(ins: &[View]) -> f64 {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    match FAULT {
        WRONG_VALUE => 2.0001,
        WRONG_SPARSE_VALUE if ins[0].stype() == Stype::Csr => 2.0001,
        // Within what rounding allows, but not the same bits.
        BATCH_SIZE_MATTERS => 2.0 + ins[0].shape()[0] as f64 * 1e-15,
        CHANGING => 2.0 + CALLS.fetch_add(1, Ordering::Relaxed) as f64 * 1e-15,
        THREADS_MATTER if rayon::current_num_threads() == 3 => 2.0 + 1e-15,
        _ => 2.0,
    }
}

fn twice<T: Real, const FAULT: usize>(
    _: &Twice<FAULT>,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    let (x, factor) = (ins[0].typed::<T>()?, T::from_f64(factor::<FAULT>(ins)));
    let double = |to: &mut [T]| to.iter_mut().zip(x).for_each(|(y, &x)| *y = x * factor);
    match ins[0] {
        _ if FAULT == PANICLESS_ERROR => return Err(Error::new(ErrorKind::Value, "no")),
        View::Csr(v) if FAULT == LOSES_ENTRIES => {
            out.csr::<T>(vec![0; v.shape()[0] + 1], Vec::new())?;
        }
        View::Csr(v) => double(out.csr_on::<T>(v.pattern())?),
        View::RowSparse(v) => double(out.rows::<T>(v.rows().clone())?),
        View::Dense(_) => double(out.dense::<T>()),
    }
    Ok(())
}

impl<const FAULT: usize> Twice<FAULT> {
    const fn row(ins: &'static [Stype], out: Stype) -> Case<Self> {
        Case {
            ins: Ins::Fixed(ins),
            out,
            run: ByDtype::floats(twice::<f32, FAULT>, twice::<f64, FAULT>),
        }
    }

    const DENSE: Case<Self> = Self::row(&[Stype::Default], Stype::Default);
    const CSR: Case<Self> = Self::row(&[Stype::Csr], Stype::Csr);
    const ROWS: Case<Self> = Self::row(&[Stype::RowSparse], Stype::RowSparse);
    const PAIR: Case<Self> = Self::row(&[Stype::Default, Stype::Default], Stype::Default);
}

impl<const FAULT: usize> Op for Twice<FAULT> {
    const NAME: &'static str = "twice";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        if ins[0].rank() == Some(1) && FAULT != NOT_REFUSED {
            let kind = if FAULT == OTHER_KIND { ErrorKind::Value } else { ErrorKind::Shape };
            return Err(Error::new(kind, "a vector is not welcome"));
        }
        match FAULT {
            WRONG_SHAPE => out.set(&[4, 3]),
            _ => ins[0].unify(out),
        }
    }

    fn cases(&self) -> &'static [Case<Self>] {
        match FAULT {
            REPEATED_ROW => const { &[Self::DENSE, Self::CSR, Self::DENSE] },
            UNREACHED_ROW => const { &[Self::DENSE, Self::PAIR] },
            DENSE_BACKWARD => const { &[Self::DENSE, Self::CSR, Self::ROWS] },
            _ => const { &[Self::DENSE, Self::CSR, Self::ROWS] },
        }
    }

    fn reads(&self, _: usize) -> Read {
        if FAULT == READS_MORE { Read::Shape } else { Read::All }
    }

    fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || match FAULT {
            // exp(0) is not 0: the cotangent of a sparse operand becomes dense on the way.
            DENSE_BACKWARD => dy.exp().log() * 2.0,
            _ => dy * 2.0,
        });
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        ins[0].mapv(|x| 2.0 * x)
    }

    fn samples() -> Vec<Sample<Self>> {
        let values: Vec<f64> =
            (0..12).map(|i| if i % 3 == 0 { 0.0 } else { 0.1 * f64::from(i) }).collect();
        let matrix = Tensor::dense([3, 4], values).unwrap();
        let vector = Tensor::dense([2], vec![1.0f64, 2.0]).unwrap();
        let message = if FAULT == OTHER_MESSAGE { "scalar" } else { "a vector" };
        let bad = Sample::bad(Twice, [vector], ErrorKind::Shape, message);
        if FAULT == NO_SAMPLE { vec![bad] } else { vec![Sample::good(Twice, [matrix]), bad] }
    }
}

fn fault<const FAULT: usize>() -> String {
    let error = check_op::<Twice<FAULT>>().unwrap_err();
    assert_eq!((error.kind(), error.operator_name()), (ErrorKind::Check, Some("twice")));
    error.to_string()
}

#[test]
fn a_sound_operator_passes() {
    let checked = check_op::<Twice<SOUND>>().unwrap();
    assert_eq!((checked.rows, checked.tables, checked.samples, checked.runs), (3, 1, 2, 6));
    assert!(checked.single_rows > 0 && checked.batches > 0 && checked.gradients > 0);
    assert!(checked.to_string().starts_with("twice: 3 rows, 2 samples, 6 runs, "));
}

#[test]
fn faults_are_found() {
    for (found, wanted) in [
        (fault::<WRONG_VALUE>(), "the definition gives"),
        (fault::<WRONG_SPARSE_VALUE>(), "twice(csr f64 (3, 4)): element"),
        (fault::<BATCH_SIZE_MATTERS>(), "a batch twice gives"),
        (fault::<CHANGING>(), "unrecorded"),
        (fault::<WRONG_SHAPE>(), "definition's [3, 4]"),
        (fault::<REPEATED_ROW>(), "are repeated"),
        (fault::<UNREACHED_ROW>(), "no sample reaches the row"),
        (fault::<NO_SAMPLE>(), "nothing was compared"),
        (fault::<NOT_REFUSED>(), "should be refused"),
        (fault::<OTHER_MESSAGE>(), "does not say \"scalar\""),
        (fault::<OTHER_KIND>(), "Value, not Shape"),
        (fault::<PANICLESS_ERROR>(), "twice(default f64 (3, 4)): twice"),
        (fault::<THREADS_MATTER>(), "with 3 threads it gives other bits"),
        (fault::<DENSE_BACKWARD>(), "would be made dense"),
        (fault::<READS_MORE>(), "of operand 0 more than Shape is read"),
        (fault::<LOSES_ENTRIES>(), "is absent, the definition gives"),
    ] {
        assert!(found.contains(wanted), "{wanted:?} is not in {found}");
    }
}
