//! How segments run: values copied in, code over a slab, results copied out.

use super::super::program::Program;
use super::super::segments::{Held, Segment, Segments, Slab};
use super::Executor;
use crate::error::Result;
use crate::kernels::memory::Temp;
use crate::tape::structural::Accumulate;
use crate::tape::{Lent, Mode, Value, Workspace};
use crate::tensor::{DType, Real, Shape, Tensor};

/// The memory of segments, and whether the results of the last forward pass are there.
#[derive(Default)]
pub(super) struct Slabs {
    pub in_use: bool,
    f32: Vec<f32>,
    f64: Vec<f64>,
}

impl Slabs {
    pub fn new(segments: &Segments) -> Slabs {
        let mut slabs = Slabs::default();
        slabs.fit(segments);
        slabs
    }

    /// Takes on the slabs of another program.
    pub fn fit(&mut self, segments: &Segments) {
        self.in_use = false;
        fit(&mut self.f32, &segments.f32);
        fit(&mut self.f64, &segments.f64);
    }
}

fn fit<T: Real>(own: &mut Vec<T>, slab: &Slab<T>) {
    let len = slab.constants.iter().fold(slab.code.len(), |len, (at, _)| len.max(at + 1));
    own.clear();
    own.resize(len, T::default());
    slab.constants.iter().for_each(|&(at, x)| own[at] = x);
}

/// A copy in the memory of a tensor that is dead, or else in recycled memory.
fn copied<T: Real>(last: Option<Tensor>, shape: &Shape, from: &[T]) -> Result<Tensor> {
    match last {
        Some(mut last) => last.refill_dense(shape, from).map(|()| last),
        None => Tensor::dense(shape.clone(), Temp::copied(from)),
    }
}

impl Executor {
    /// Whether someone looks at single steps: then segments run step by step.
    pub(super) fn is_watched(&self) -> bool {
        !self.observers.is_empty() || self.workspace.is_watched()
    }

    pub(super) fn run_segment(&mut self, program: &Program, segment: &Segment) -> Result<()> {
        for held in &segment.imports {
            let copied = self.import(program, segment.dtype, held);
            copied.map_err(|error| program.blame(&program.steps[held.step], error))?;
        }
        let (Slabs { f32, f64, .. }, code) = (&mut self.slabs, segment.code.clone());
        match segment.dtype {
            DType::F32 => program.segments.f32.code.run(code, f32),
            _ => program.segments.f64.code.run(code, f64),
        }
        for held in &segment.exports {
            self.export(program, segment.dtype, held)?;
        }
        segment.dead.iter().for_each(|&dead| self.release(program, dead));
        Ok(())
    }

    fn import(&mut self, program: &Program, dtype: DType, held: &Held) -> Result<()> {
        let Slabs { f32, f64, .. } = &mut self.slabs;
        let (value, shape) =
            (&self.values[held.node as usize], &program.types[held.node as usize].shape);
        let Workspace { arena, scratch, .. } = &mut self.workspace;
        let train = scratch.mode() != Mode::Predict;
        let lent = Lent::new(&Accumulate, &[value], &[shape], shape, |_| train, arena)?;
        let (view, to) = (value.view(0, shape, &lent), held.at..held.at + held.len);
        match dtype {
            DType::F32 => f32[to].copy_from_slice(view.typed()?),
            _ => f64[to].copy_from_slice(view.typed()?),
        }
        lent.end(arena);
        Ok(())
    }

    /// Copies a result out of the slab, into the memory that it had before or that waits in its place.
    fn export(&mut self, program: &Program, dtype: DType, held: &Held) -> Result<()> {
        let node = held.node as usize;
        let place = program.place_of[node] as usize;
        let last = match std::mem::replace(&mut self.values[node], Value::Symbol) {
            Value::Tensor(last) => Some(last),
            _ => self.memory[place].take(),
        };
        let (shape, from) = (&program.types[node].shape, held.at..held.at + held.len);
        let (Slabs { f32, f64, .. }, Workspace { arena, .. }) = (&self.slabs, &mut self.workspace);
        self.values[node] = Value::Tensor(arena.during(|| match dtype {
            DType::F32 => copied(last, shape, &f32[from]),
            _ => copied(last, shape, &f64[from]),
        })?);
        Ok(())
    }

    /// Takes what the backward pass reads out of the slabs: it runs step by step.
    pub(super) fn leave_slabs(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.slabs.in_use) {
            return Ok(());
        }
        let program = std::sync::Arc::clone(&self.program);
        for held in &program.segments.carried {
            self.export(&program, program.types[held.node as usize].dtype, held)?;
        }
        Ok(())
    }
}
