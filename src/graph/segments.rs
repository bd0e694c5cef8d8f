//! Steps that run together: element-wise operators on small dense values, one after the other.
//!
//! Such an operator costs less than finding its operands, memory and kernel. So what can be found before a
//! run is: the values of a segment live side by side in a slab, where only segments see them; what comes
//! from elsewhere is copied in, what others read is copied out.

use std::ops::Range;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::Body;
use super::program::Step;
use crate::kernels::slab::{Code, PAD, Primitive, SMALL};
use crate::ops::{Accumulate, Map};
use crate::tensor::{DType, Real, Stype, Type};

/// The segments of a program, and the code that they run.
#[derive(Default)]
pub(super) struct Segments {
    /// In the order of their steps.
    pub list: Vec<Segment>,
    pub f32: Slab<f32>,
    pub f64: Slab<f64>,
    /// The results of the forward pass that its slabs hold for the backward pass.
    pub carried: Vec<Held>,
}

/// Consecutive steps that run together.
pub(super) struct Segment {
    pub steps: Range<usize>,
    pub dtype: DType,
    /// In the code of its element type.
    pub code: Range<usize>,
    /// What comes from outside, with a step that reads it.
    pub imports: Vec<Held>,
    /// What is read outside, with the step that computes it.
    pub exports: Vec<Held>,
    /// What came from outside, or is read there, and is dead afterwards.
    pub dead: Vec<u32>,
}

/// A value in a slab.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub node: u32,
    pub step: usize,
    pub at: usize,
    pub len: usize,
}

/// What runs on the values of one element type.
#[derive(Default)]
pub(super) struct Slab<T> {
    pub code: Code<T>,
    /// Numbers that operators hold, and where.
    pub constants: Vec<(usize, T)>,
}

/// The element-wise operator that a step is, if it computes a small value from such values.
fn operator<'a>(step: &'a Step, types: &[Type]) -> Option<&'a Map> {
    let ty = &types[step.node as usize];
    let len = ty.shape.size();
    let fits = |&id: &u32| {
        let own = &types[id as usize];
        own.stype == Stype::Default && [1, len].contains(&own.shape.size())
    };
    let small = ty.stype == Stype::Default && (1..=SMALL).contains(&len);
    if !small || !step.ins.iter().all(fits) {
        return None;
    }
    let sum = || step.op.get::<Accumulate>().map(|_| Map::sum());
    step.op.get::<Map>().or_else(sum)
}

impl Segments {
    /// Of these steps, the first so many of which are the forward pass.
    pub fn of(body: &Body, types: &[Type], steps: &[Step], forward: usize) -> Segments {
        let mut writer = Writer::new(body, types, steps, forward);
        (0..steps.len()).for_each(|at| writer.step(at));
        writer.finish()
    }

    /// The segment that begins with this step.
    pub fn starting_at(&self, step: usize) -> Option<&Segment> {
        let at = self.list.binary_search_by_key(&step, |segment| segment.steps.start).ok()?;
        self.list.get(at)
    }
}

/// A step of code: what, from where, to where, on how many elements.
type Written = (Primitive, SmallVec<[usize; 3]>, usize, usize);

/// The code for one element type, and the places of its slab.
#[derive(Default)]
struct Draft {
    code: Vec<Written>,
    /// Numbers, by their bits.
    constants: FxHashMap<(u64, usize), usize>,
    /// Elements so far.
    end: usize,
    free: Free,
    /// Those for copies: they are made before the first step of a segment, so that no step may have used
    /// their places.
    free_for_imports: Free,
}

/// Places that are free, by how many elements there are in a row.
type Free = FxHashMap<usize, Vec<usize>>;

impl Draft {
    fn take(&mut self, len: usize) -> usize {
        taken(&mut self.free, &mut self.end, len)
    }

    fn take_for_import(&mut self, len: usize) -> usize {
        taken(&mut self.free_for_imports, &mut self.end, len)
    }

    fn give(&mut self, at: usize, len: usize) {
        self.free.entry(len.next_multiple_of(PAD)).or_default().push(at);
    }

    fn give_for_import(&mut self, at: usize, len: usize) {
        self.free_for_imports.entry(len.next_multiple_of(PAD)).or_default().push(at);
    }

    /// Where the slab has this number so many times, always.
    fn constant(&mut self, x: f64, len: usize) -> usize {
        let room = len.next_multiple_of(PAD);
        *self.constants.entry((x.to_bits(), room)).or_insert_with(|| {
            self.end += room;
            self.end - room
        })
    }

    fn finish<T: Real>(&self) -> Slab<T> {
        let mut code = Code::default();
        for (primitive, operands, to, len) in &self.code {
            code.push(*primitive, operands, *to, len.next_multiple_of(PAD));
        }
        let number = |(&(bits, room), &at): (&(u64, usize), &usize)| {
            let x: T = crate::tensor::Element::from_f64(f64::from_bits(bits));
            (at..at + room).map(move |at| (at, x))
        };
        Slab { code, constants: self.constants.iter().flat_map(number).collect() }
    }
}

fn taken(free: &mut Free, end: &mut usize, len: usize) -> usize {
    let room = len.next_multiple_of(PAD);
    free.get_mut(&room).and_then(Vec::pop).unwrap_or_else(|| {
        *end += room;
        *end - room
    })
}

struct Writer<'a> {
    types: &'a [Type],
    steps: &'a [Step],
    forward: usize,
    f32: Draft,
    f64: Draft,
    /// By node: whether a segment computes it, the last step that finds it in its slab, whether others read
    /// it, and where it is.
    held: Vec<bool>,
    last: Vec<usize>,
    exported: Vec<bool>,
    at: Vec<usize>,
    segments: Segments,
    /// Places that are free after this segment, of what is copied out at its end.
    ending: Vec<(usize, usize)>,
    /// Those of copies.
    imported: Vec<(usize, usize)>,
}

/// Of a value that is in no slab (any more).
const NOWHERE: usize = usize::MAX;

impl<'a> Writer<'a> {
    fn new(body: &Body, types: &'a [Type], steps: &'a [Step], forward: usize) -> Self {
        let n = types.len();
        let (mut held, mut last, mut exported) = (vec![false; n], vec![0; n], vec![false; n]);
        body.roots().for_each(|id| exported[id as usize] = true);
        for (at, step) in steps.iter().enumerate() {
            let small = operator(step, types).is_some();
            held[step.node as usize] = small;
            for &id in &step.ins {
                match small {
                    true => last[id as usize] = at,
                    false => exported[id as usize] = true,
                }
            }
        }
        Writer {
            types,
            steps,
            forward,
            f32: Draft::default(),
            f64: Draft::default(),
            held,
            last,
            exported,
            at: vec![NOWHERE; n],
            segments: Segments::default(),
            ending: Vec::new(),
            imported: Vec::new(),
        }
    }

    fn dtype(&self, at: usize) -> DType {
        self.types[self.steps[at].node as usize].dtype
    }

    fn len(&self, id: u32) -> usize {
        self.types[id as usize].shape.size()
    }

    /// The code that is being written.
    fn draft(&mut self, dtype: DType) -> &mut Draft {
        if dtype == DType::F32 { &mut self.f32 } else { &mut self.f64 }
    }

    /// Adds a step to the segment that it continues, or begins one.
    fn step(&mut self, at: usize) {
        let Some(map) = operator(&self.steps[at], self.types) else { return self.end() };
        let dtype = self.dtype(at);
        let continues = |last: &Segment| last.steps.end == at && last.dtype == dtype;
        if at == self.forward || !self.segments.list.last().is_some_and(continues) {
            self.end();
            let begin = self.draft(dtype).code.len();
            self.segments.list.push(Segment {
                steps: at..at,
                dtype,
                code: begin..begin,
                imports: Vec::new(),
                exports: Vec::new(),
                dead: Vec::new(),
            });
        }
        self.write(at, map);
    }

    fn write(&mut self, at: usize, map: &Map) {
        let (step, dtype) = (&self.steps[at], self.dtype(at));
        let (node, len) = (step.node, self.len(step.node));
        let mut temporary: Vec<(usize, usize)> = Vec::new();
        let mut operands: SmallVec<[usize; 4]> = SmallVec::new();
        for &id in &step.ins {
            let (own, from) = (self.place(id, at), self.len(id));
            operands.push(if from == len {
                own
            } else {
                self.filled(own, len, dtype, &mut temporary)
            });
        }
        let draft = self.draft(dtype);
        let to = draft.take(len);
        let registers: SmallVec<[usize; 4]> =
            (0..map.registers()).map(|_| draft.take(len)).collect();
        let written = map.primitives(&operands, &registers, to, |x| draft.constant(x, len));
        draft.code.extend(written.into_iter().map(|(what, from, to)| (what, from, to, len)));
        temporary.extend(registers.into_iter().map(|place| (place, len)));
        temporary.into_iter().for_each(|(place, len)| draft.give(place, len));
        let end = draft.code.len();
        self.at[node as usize] = to;
        let held = Held { node, step: at, at: to, len };
        if at < self.forward && self.last[node as usize] >= self.forward {
            self.segments.carried.push(held);
        }
        if let Some(segment) = self.segments.list.last_mut() {
            (segment.steps.end, segment.code.end) = (at + 1, end);
            segment.exports.extend(self.exported[node as usize].then_some(held));
        }
        step.ins.iter().chain([&node]).for_each(|&id| self.free(id, at, dtype));
    }

    /// One number as a value of `len` elements.
    fn filled(
        &mut self,
        from: usize,
        len: usize,
        dtype: DType,
        temporary: &mut Vec<(usize, usize)>,
    ) -> usize {
        let draft = self.draft(dtype);
        let to = draft.take(len);
        draft.code.push((Primitive::Fill, SmallVec::from_slice(&[from]), to, len));
        temporary.push((to, len));
        to
    }

    /// Makes room where a value was that nobody finds in the slab after this step; if it is copied out, later.
    fn free(&mut self, id: u32, at: usize, dtype: DType) {
        let (n, len) = (id as usize, self.len(id));
        if self.last[n] > at || !self.held[n] || self.at[n] == NOWHERE {
            return;
        }
        let place = std::mem::replace(&mut self.at[n], NOWHERE);
        match self.exported[n] {
            true => self.ending.push((place, len)),
            false => self.draft(dtype).give(place, len),
        }
    }

    /// Where an operand is in the slab; if it comes from outside, a copy.
    fn place(&mut self, id: u32, at: usize) -> usize {
        if self.held[id as usize] {
            return self.at[id as usize];
        }
        let imports = self.segments.list.last().map_or(&[][..], |segment| &segment.imports);
        if let Some(import) = imports.iter().find(|import| import.node == id) {
            return import.at;
        }
        let (dtype, len) = (self.dtype(at), self.len(id));
        let place = self.draft(dtype).take_for_import(len);
        self.imported.push((place, len));
        if let Some(segment) = self.segments.list.last_mut() {
            segment.imports.push(Held { node: id, step: at, at: place, len });
        }
        place
    }

    /// Ends the last segment.
    fn end(&mut self) {
        let Some(segment) = self.segments.list.last_mut() else { return };
        let seen = |&id: &u32| self.exported[id as usize] || !self.held[id as usize];
        let dead = self.steps[segment.steps.clone()].iter().flat_map(|step| &step.dead);
        segment.dead = dead.copied().filter(seen).collect();
        let dtype = segment.dtype;
        for (place, len) in std::mem::take(&mut self.imported) {
            self.draft(dtype).give_for_import(place, len);
        }
        for (place, len) in std::mem::take(&mut self.ending) {
            self.draft(dtype).give(place, len);
        }
    }

    fn finish(mut self) -> Segments {
        self.end();
        let (f32, f64) = (self.f32.finish(), self.f64.finish());
        Segments { f32, f64, ..self.segments }
    }
}
