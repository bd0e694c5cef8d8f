//! The element-wise operator on a product of a few numbers: written once as code over a slab on the stack.

use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;

use crate::error::Result;
use crate::kernels::slab::{Code, PAD};
use crate::ops::Map;
use crate::tensor::{Element, Real, Shape, View};

/// Elements of the slab.
const ROOM: usize = 8 * PAD;

/// The code of an operator, for each element type; it follows from the operator.
#[derive(Clone, Debug, Default)]
pub(super) struct Epilogue {
    f32: OnceLock<Option<Arc<Small<f32>>>>,
    f64: OnceLock<Option<Arc<Small<f64>>>>,
}

impl PartialEq for Epilogue {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Code for values of up to [`PAD`] elements: the operands come first in the slab, then the result.
pub(super) struct Small<T> {
    code: Code<T>,
    steps: usize,
    /// Numbers that the operator holds, and where.
    constants: Vec<(usize, T)>,
    result: usize,
}

impl<T> std::fmt::Debug for Small<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "code, result at {}", self.result)
    }
}

/// Element types that there is code for.
pub(super) trait Coded: Real {
    fn own(epilogue: &Epilogue) -> &OnceLock<Option<Arc<Small<Self>>>>;
}

impl Coded for f32 {
    fn own(epilogue: &Epilogue) -> &OnceLock<Option<Arc<Small<f32>>>> {
        &epilogue.f32
    }
}

impl Coded for f64 {
    fn own(epilogue: &Epilogue) -> &OnceLock<Option<Arc<Small<f64>>>> {
        &epilogue.f64
    }
}

impl Epilogue {
    /// Evaluates `map` on a dense value of this shape, its first operand, in that one's memory.
    pub fn run<T: Coded>(
        &self,
        map: &Map,
        others: &[View],
        shape: &Shape,
        value: &mut [T],
    ) -> Result<()> {
        let alike = |v: &View| v.values().len() == 1 || v.shape() == &shape[..];
        if value.len() <= PAD && others.iter().all(alike) {
            let small = T::own(self).get_or_init(|| Small::of(map).map(Arc::new));
            if let Some(small) = small {
                return small.run(others, value);
            }
        }
        map.run_on(others, shape, value)
    }
}

impl<T: Real> Small<T> {
    /// None for an operator that needs more room.
    fn of(map: &Map) -> Option<Self> {
        let mut end = 0;
        let mut take = |count: usize| -> SmallVec<[usize; 8]> {
            end += count;
            (end - count..end).map(|n| n * PAD).collect()
        };
        let (operands, result) = (take(map.inputs()), take(1)[0]);
        let registers = take(map.registers());
        let mut constants: Vec<(usize, T)> = Vec::new();
        let steps = map.primitives(&operands, &registers, result, |x| {
            let at = take(1)[0];
            constants.push((at, Element::from_f64(x)));
            at
        });
        if end * PAD > ROOM {
            return None;
        }
        let mut code = Code::default();
        for (primitive, from, to) in &steps {
            code.push(*primitive, from, *to, PAD);
        }
        Some(Small { code, steps: steps.len(), constants, result })
    }

    fn run(&self, others: &[View], value: &mut [T]) -> Result<()> {
        let mut slab = [T::zero(); ROOM];
        slab[..value.len()].copy_from_slice(value);
        for (view, to) in others.iter().zip(slab.chunks_exact_mut(PAD).skip(1)) {
            match view.typed::<T>()? {
                [x] => to.fill(*x),
                own => to[..own.len()].copy_from_slice(own),
            }
        }
        self.constants.iter().for_each(|&(at, x)| slab[at..at + PAD].fill(x));
        self.code.run(0..self.steps, &mut slab);
        value.copy_from_slice(&slab[self.result..][..value.len()]);
        Ok(())
    }
}
