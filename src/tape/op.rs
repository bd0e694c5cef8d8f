//! What an operator is: shapes, a table of kernels by storage type, a backward rule, samples.

use std::borrow::Cow;
use std::fmt::{self, Debug};

use ndarray::ArrayD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use smallvec::SmallVec;

use super::dyn_op::DynOp;
use super::memory::{Out, Scratch};
use super::partial::DTypes;
use super::refine::PartialShape;
use super::var::Var;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::slab::Lanewise;
use crate::tensor::{CsrSlices, DType, Shape, Stype, Tensor, View};

/// A kernel: one table row for one element type.
pub type Kernel<O> = fn(&O, &[View<'_>], &mut Out<'_>, &mut Scratch) -> Result<()>;

/// A kernel that takes its first operand as slices, which it checks, and writes a dense result of this shape over
/// a tensor.
pub type SliceKernel<O> = fn(&O, &CsrSlices<'_>, &[View<'_>], &Shape, &mut Tensor) -> Result<()>;

/// An operator: one output, computed from the operands and the operator's own fields.
///
/// Storage-type inference and kernel dispatch read the same row of [`Op::cases`], so they cannot
/// disagree. An operator defined outside this crate records, runs and is tested
/// ([`check_op`](crate::check::check_op)) like the built-in ones; the [guide](crate::guide::extending) walks
/// through a complete one.
pub trait Op: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name in errors, tables and files.
    const NAME: &'static str;

    /// A more telling name of this very operator, for people.
    fn label(&self) -> Cow<'_, str> {
        Cow::Borrowed(Self::NAME)
    }

    /// What sets this operator's table apart from those of its namesakes, for people; by default the
    /// fields that differ.
    fn variant(&self) -> Option<&'static str> {
        None
    }

    /// Whether [`Op::vjp`] is the derivative of the operator itself.
    fn gradient(&self) -> Gradient<Self> {
        Gradient::True
    }

    /// Refines the shapes of operands and result; reads no values.
    ///
    /// Sizes, even ranks, may be unknown on either side. It says all that follows for certain, for the
    /// result and for operands, and takes any shape without a panic. With all operands known, the
    /// result is.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if they do not fit. The tape adds operator, operands and source line.
    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()>;

    /// The result's element type; by default that of all operands, which must agree.
    ///
    /// # Errors
    /// [`ErrorKind::DType`] for element types that do not fit.
    fn dtype(&self, ins: &[DType]) -> Result<DType> {
        same_dtype(ins)
    }

    /// The table: which storage types go in, which comes out, and the kernel that does it.
    fn cases(&self) -> &'static [Case<Self>];

    /// What the kernels read of operand `i`.
    fn reads(&self, i: usize) -> Read {
        let _ = i;
        Read::All
    }

    /// Whether the result may be operand `i` itself ([`Out::alias`]), or share its memory.
    fn may_alias(&self, i: usize) -> bool {
        self.reads(i) == Read::View
    }

    /// Whether the kernels can put a dense result into the memory of operand `i`, dense and of the
    /// result's shape and element type, where that dies ([`Out::in_place`]).
    fn in_place(&self, i: usize) -> bool {
        let _ = i;
        false
    }

    /// What it computes, if it is one primitive of the crate's on dense operands of one type: the result has
    /// that type, too.
    #[doc(hidden)]
    fn lanewise(&self) -> Option<&'static Lanewise> {
        None
    }

    /// The numbers that [`Op::lanewise`] and [`Op::slope`] take.
    #[doc(hidden)]
    fn scalars(&self) -> [f64; 2] {
        [0.0; 2]
    }

    /// The backward rule of operand `i`, if it is one such primitive, too; [`Op::vjp`] answers the same.
    #[doc(hidden)]
    fn slope(&self, i: usize) -> Option<&'static Slope> {
        let _ = i;
        None
    }

    /// The kernel for results of this element type that takes the first operand, csr, as slices, and the others
    /// and the result dense.
    #[doc(hidden)]
    fn on_slices(&self, dtype: DType) -> Option<SliceKernel<Self>> {
        let _ = dtype;
        None
    }

    /// Whether the result differs between training and prediction ([`Scratch::mode`]).
    fn depends_on_mode(&self) -> bool {
        false
    }

    /// The backward rule: answers, for each operand that is wanted, with its cotangent.
    ///
    /// Written with recorded operators only, so it can be differentiated again. It may branch on the
    /// operator's fields and on storage types, never on shapes or values.
    fn vjp<'t>(&self, x: &[Var<'t>], y: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>);

    /// The definition: a slow, obvious dense computation in `f64` that kernels are tested against.
    /// An operand of which the pattern alone is read ([`Read::Pattern`]) is given as ones where it
    /// stores something, zeros elsewhere.
    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64>;

    /// Good and bad inputs; every generic test runs over them.
    fn samples() -> Vec<Sample<Self>>;
}

/// The common element type of all operands.
pub(crate) fn same_dtype(ins: &[DType]) -> Result<DType> {
    match ins {
        [] => Err(Error::new(ErrorKind::DType, "needs an operand")),
        [first, rest @ ..] => match rest.iter().position(|d| d != first) {
            None => Ok(*first),
            Some(i) => {
                let message = format!(
                    "operand 0 is {first}, operand {} is {}; element types are never promoted, \
                     use `cast`",
                    i + 1,
                    rest[i]
                );
                Err(Error::new(ErrorKind::DType, message))
            }
        },
    }
}

/// One row of an operator's table.
#[derive(Clone, Copy, Debug)]
pub struct Case<O: 'static> {
    /// Storage types of the operands.
    pub ins: Ins,
    /// Storage type of the result.
    pub out: Stype,
    /// The kernel per element type of the result.
    pub run: ByDtype<O>,
}

/// A [`Case`] without its kernels: a row of the table, for people and for tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableRow {
    /// Storage types of the operands.
    pub ins: Ins,
    /// Storage type of the result.
    pub out: Stype,
    /// The element types of results that there are kernels for.
    pub dtypes: DTypes,
}

/// Operand storage types of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ins {
    /// Exactly these.
    Fixed(&'static [Stype]),
    /// Any number of operands, all of this storage type.
    All(Stype),
    /// Any number of operands of these storage types, each of which occurs.
    Mix(&'static [Stype]),
    /// The first operand of one storage type, any number of further ones all of another.
    First(Stype, Stype),
}

impl Ins {
    /// The storage type wanted for operand `i`; of several, each in turn.
    pub fn get(&self, i: usize) -> Stype {
        match self {
            Ins::Fixed(stypes) => stypes[i],
            Ins::All(stype) => *stype,
            Ins::Mix(stypes) => stypes[i % stypes.len()],
            Ins::First(first, rest) => *if i == 0 { first } else { rest },
        }
    }

    /// Whether the row takes this many operands.
    pub fn takes(&self, n: usize) -> bool {
        match self {
            Ins::Fixed(stypes) => stypes.len() == n,
            Ins::All(_) => true,
            Ins::Mix(stypes) => stypes.len() <= n,
            Ins::First(..) => n > 0,
        }
    }

    pub(super) fn matches(&self, own: &[Stype]) -> bool {
        match self {
            Ins::Fixed(stypes) => *stypes == own,
            Ins::All(stype) => own.iter().all(|s| s == stype),
            Ins::First(first, rest) => own
                .split_first()
                .is_some_and(|(f, others)| f == first && others.iter().all(|other| other == rest)),
            Ins::Mix(stypes) => {
                own.iter().all(|s| stypes.contains(s)) && stypes.iter().all(|s| own.contains(s))
            }
        }
    }
}

impl fmt::Display for Ins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |stypes: &[Stype], separator| {
            stypes.iter().map(Stype::to_string).collect::<Vec<_>>().join(separator)
        };
        match self {
            Ins::Fixed(stypes) => f.write_str(&list(stypes, ", ")),
            Ins::All(stype) => write!(f, "{stype}, .."),
            Ins::First(first, rest) => write!(f, "{first}, {rest}, .."),
            Ins::Mix(stypes) => write!(f, "{}, ..", list(stypes, " and ")),
        }
    }
}

/// A kernel per element type of the result; `None` where there is none.
#[derive(Debug)]
pub struct ByDtype<O: 'static> {
    /// For `f32` results.
    pub f32: Option<Kernel<O>>,
    /// For `f64` results.
    pub f64: Option<Kernel<O>>,
    /// For `i64` results.
    pub i64: Option<Kernel<O>>,
}

impl<O> Clone for ByDtype<O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for ByDtype<O> {}

impl<O> ByDtype<O> {
    /// Kernels for `f32` and `f64`.
    pub const fn floats(f32: Kernel<O>, f64: Kernel<O>) -> Self {
        ByDtype { f32: Some(f32), f64: Some(f64), i64: None }
    }

    /// Kernels for every element type.
    pub const fn all(f32: Kernel<O>, f64: Kernel<O>, i64: Kernel<O>) -> Self {
        ByDtype { f32: Some(f32), f64: Some(f64), i64: Some(i64) }
    }

    /// One kernel that works for every element type.
    pub const fn any(kernel: Kernel<O>) -> Self {
        ByDtype { f32: Some(kernel), f64: Some(kernel), i64: Some(kernel) }
    }

    pub(super) fn get(&self, dtype: DType) -> Option<Kernel<O>> {
        match dtype {
            DType::F32 => self.f32,
            DType::F64 => self.f64,
            DType::I64 => self.i64,
        }
    }

    /// The element types that there are kernels for.
    pub(super) fn taken(&self) -> DTypes {
        let taken = DTypes::ANY.iter().filter(|&dtype| self.get(dtype).is_some());
        taken.fold(DTypes::NONE, |all, dtype| all.or(dtype.into()))
    }
}

/// A table row for `f32` and `f64`: `case!([Csr, Default] => Default, kernel)` for a kernel
/// `fn kernel<T: Real>(&O, &[View], &mut Out, &mut Scratch) -> Result<()>`; with `any` before the row,
/// for every element type, and the kernel has no parameter; with `each`, for every element type, and
/// the kernel's parameter is any [`Element`](crate::Element). `[Csr, ..]` is [`Ins::All`],
/// `[Csr, Default, ..]` is [`Ins::First`].
#[macro_export]
macro_rules! case {
    (any [$($in:ident),*] => $out:ident, $kernel:ident) => {
        $crate::Case {
            ins: $crate::Ins::Fixed(&[$($crate::Stype::$in),*]),
            out: $crate::Stype::$out,
            run: $crate::ByDtype::any($kernel),
        }
    };
    (each [$all:ident, ..] => $out:ident, $kernel:ident) => {
        $crate::case!(@each $crate::Ins::All($crate::Stype::$all), $out, $kernel)
    };
    (each [$first:ident, $rest:ident, ..] => $out:ident, $kernel:ident) => {
        $crate::case!(
            @each $crate::Ins::First($crate::Stype::$first, $crate::Stype::$rest), $out, $kernel
        )
    };
    (each [$($in:ident),*] => $out:ident, $kernel:ident) => {
        $crate::case!(@each $crate::Ins::Fixed(&[$($crate::Stype::$in),*]), $out, $kernel)
    };
    (@each $ins:expr, $out:ident, $kernel:ident) => {
        $crate::Case {
            ins: $ins,
            out: $crate::Stype::$out,
            run: $crate::ByDtype::all($kernel::<f32>, $kernel::<f64>, $kernel::<i64>),
        }
    };
    ([$($in:ident),*] => $out:ident, $kernel:ident) => {
        $crate::Case {
            ins: $crate::Ins::Fixed(&[$($crate::Stype::$in),*]),
            out: $crate::Stype::$out,
            run: $crate::ByDtype::floats($kernel::<f32>, $kernel::<f64>),
        }
    };
}

/// What a kernel reads of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Nothing but the shape.
    Shape,
    /// Nothing: the result is the operand itself, perhaps in another shape.
    View,
    /// The pattern or the row ids, not the values.
    Pattern,
    /// The rows at the distinct columns (or ids) that the given operand holds.
    RowsOf(usize),
    /// Everything.
    All,
}

/// What [`Op::vjp`] is the derivative of.
pub enum Gradient<O> {
    /// Of the operator itself; checked by finite differences.
    True,
    /// Of another function, on purpose.
    Stated {
        /// Why, in one sentence.
        why: &'static str,
        /// The function that the rule differentiates, given the operands and, held constant, the
        /// point of linearisation; `None` if there is no such function.
        function: Option<Surrogate<O>>,
    },
    /// Of a loss, whatever the head cotangent: the rule ignores it, as the outputs of MXNet do.
    /// [`Var::backward`] starts at such a result whatever its shape.
    Loss {
        /// Why, in one sentence.
        why: &'static str,
        /// The loss, a single number.
        loss: LossOf<O>,
    },
}

/// The loss whose derivative a backward rule is: `(operator, operands)`.
pub type LossOf<O> = for<'t> fn(&O, &[Var<'t>]) -> Var<'t>;

/// The function whose derivative a backward rule is: `(operator, operands, operands held constant)`.
pub type Surrogate<O> = for<'t> fn(&O, &[Var<'t>], &[Var<'t>]) -> Var<'t>;

/// A backward rule that needs no recording to be known. Values are told by number: first the operands, then
/// the result, then its cotangent.
pub enum Slope {
    /// The cotangent of the operand is this value.
    Value(u8),
    /// It is one primitive of these values; of one, it is named twice. An operator that holds numbers has
    /// rules that do: they are no static operators.
    Primitive(Option<&'static dyn DynOp>, &'static Lanewise, [u8; 2]),
}

/// The answers of a backward rule, one per operand.
pub struct Grads<'t> {
    pub(super) want: SmallVec<[bool; 4]>,
    pub(super) answers: SmallVec<[Option<Cotangent<'t>>; 4]>,
}

/// The answer for one operand.
#[derive(Clone, Copy, Debug)]
pub enum Cotangent<'t> {
    /// The cotangent.
    Var(Var<'t>),
    /// Exactly zero: the result does not depend on the operand's values.
    Zero,
    /// There is no derivative, and why.
    NotDifferentiable(&'static str),
}

impl<'t> Grads<'t> {
    pub(super) fn new(want: SmallVec<[bool; 4]>) -> Self {
        let answers = SmallVec::from_elem(None, want.len());
        Grads { want, answers }
    }

    /// For the backward rule of a part of an operator.
    pub(crate) fn wanting(want: impl IntoIterator<Item = bool>) -> Self {
        Grads::new(want.into_iter().collect())
    }

    /// What was answered for operand `i`.
    pub(crate) fn answered(&self, i: usize) -> Option<Cotangent<'t>> {
        self.answers[i]
    }

    /// Answers operand `i` as a part of the operator did.
    pub(crate) fn answer(&mut self, i: usize, answer: Option<Cotangent<'t>>) {
        self.answers[i] = answer;
    }

    /// Whether the cotangent of operand `i` is wanted.
    pub fn wants(&self, i: usize) -> bool {
        self.want[i]
    }

    /// Answers operand `i` with a cotangent, computed only if it is wanted.
    pub fn give(&mut self, i: usize, cotangent: impl FnOnce() -> Var<'t>) {
        if self.want[i] {
            self.answers[i] = Some(Cotangent::Var(cotangent()));
        }
    }

    /// Answers operand `i` with an exact zero.
    pub fn zero(&mut self, i: usize) {
        self.answers[i] = Some(Cotangent::Zero);
    }

    /// Answers that there is no derivative with respect to operand `i`.
    pub fn not_differentiable(&mut self, i: usize, why: &'static str) {
        self.answers[i] = Some(Cotangent::NotDifferentiable(why));
    }
}

/// An operator with inputs, for the generic tests.
#[derive(Clone, Debug)]
pub struct Sample<O> {
    /// The operator.
    pub op: O,
    /// Dense inputs; the tests cast them to each row's storage types.
    pub inputs: Vec<Tensor>,
    /// The error that is due, if any: its kind and a part of its message.
    pub error: Option<(ErrorKind, &'static str)>,
}

impl<O> Sample<O> {
    /// Inputs that the operator takes.
    pub fn good(op: O, inputs: impl Into<Vec<Tensor>>) -> Self {
        Sample { op, inputs: inputs.into(), error: None }
    }

    /// Inputs that the operator refuses, with the error's kind and a part of its message.
    pub fn bad(
        op: O,
        inputs: impl Into<Vec<Tensor>>,
        kind: ErrorKind,
        message: &'static str,
    ) -> Self {
        Sample { op, inputs: inputs.into(), error: Some((kind, message)) }
    }
}
