//! Losses for define-by-run use: differentiable to any order, stable.
//!
//! Each takes logits (or predictions) and labels, and is the mean over rows unless a [`Loss`] says
//! otherwise. A label outside the domain of the loss is an error that names its row. Labels of shape
//! (n,) and (n, 1) are taken for each other; nothing else broadcasts, so that (n,) against (n, 1)
//! never becomes (n, n).

mod check_weights;
mod labels;
mod weights;

use std::sync::LazyLock;

pub use check_weights::CheckWeights;
use check_weights::Weigh;
pub use labels::CheckLabels;
use labels::Domain;
pub use weights::Loss;

use super::arithmetic::stretching;
use super::map::expr::Expr;
use super::map::{Map, Named};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::elementwise::{Binary, Unary};
use crate::tape::OpRef;
use crate::tape::op::Sample;
use crate::tape::{PartialShape, PartialType, Var, compose};
use crate::tensor::{DType, Stype, Tensor};

static BINARY: LazyLock<Named> = LazyLock::new(|| {
    // −y ln σ(z) − (1 − y) ln(1 − σ(z)) = softplus(z) − y·z
    let expr = Expr::build(2, |b| {
        let (z, y) = (b.input(0), b.input(1));
        let (softplus, product) = (b.unary(Unary::Softplus, z), b.mul(y, z));
        b.sub(softplus, product)
    });
    Named::new("sigmoid_binary_cross_entropy", expr)
});

static L2: LazyLock<Named> = LazyLock::new(|| {
    let expr = Expr::build(2, |b| {
        let (x, y) = (b.input(0), b.input(1));
        let difference = b.binary(Binary::Sub, x, y);
        let (square, half) = (b.unary(Unary::Square, difference), b.constant(0.5));
        b.mul(half, square)
    });
    Named::new("l2_loss", expr)
});

static HINGE: LazyLock<Named> = LazyLock::new(|| {
    let expr = Expr::build(2, |b| {
        let (z, y) = (b.input(0), b.input(1));
        let (one, product) = (b.constant(1.0), b.mul(y, z));
        let short = b.sub(one, product);
        b.unary(Unary::Relu, short)
    });
    Named::new("hinge", expr)
});

/// Methods of [`Var`] and [`Tensor`]: a loss by mean, and with a [`Loss`].
macro_rules! losses {
    ($($(#[$doc:meta])* $name:ident, $with:ident;)*) => {
        impl<'t> Var<'t> {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(self, labels: Var<'t>) -> Var<'t> {
                self.$with(labels, &Loss::mean())
            }

            #[doc = concat!("[`Var::", stringify!($name), "`] by another reduction, or with weights of \
                samples or classes.")]
            ///
            #[doc = concat!("```\nuse sparsetape::{Loss, Tape, Tensor};\nlet tape = Tape::new();\n",
                "let z = tape.constant(Tensor::full([2, 1], 0.5f64)?);\n",
                "let y = tape.constant(Tensor::full([2, 1], 1.0f64)?);\n",
                "let loss = z.", stringify!($with), "(y, &Loss::sum());\n",
                "let mean = z.", stringify!($name), "(y);\n",
                "assert_eq!(loss.item::<f64>()?, 2.0 * mean.item::<f64>()?);\n",
                "# Ok::<(), sparsetape::Error>(())\n```")]
            #[track_caller]
            pub fn $with(self, labels: Var<'t>, loss: &Loss<Var<'t>>) -> Var<'t> {
                self.tape().composition(stringify!($name), || $name(self, labels, loss))
            }
        )*}

        impl Tensor {$(
            #[doc = concat!("Unrecorded [`Var::", stringify!($name), "`].")]
            ///
            /// # Errors
            /// What the recorded operators refuse, at once.
            #[track_caller]
            pub fn $name(&self, labels: &Tensor) -> Result<Tensor> {
                compose([self, labels], |[z, y]| z.$name(y))
            }

            #[doc = concat!("Unrecorded [`Var::", stringify!($with), "`].")]
            ///
            /// # Errors
            /// What the recorded operators refuse, at once.
            #[track_caller]
            pub fn $with(&self, labels: &Tensor, loss: &Loss<Tensor>) -> Result<Tensor> {
                compose([self, labels], |[z, y]| z.$with(y, &loss.on_tape_of(z)))
            }
        )*}
    };
}

losses! {
    /// Cross-entropy of these logits (n, k), one row per sample, against class ids (i64, (n,) or
    /// (n, 1)) or class probabilities (of the logits' shape; dense, or csr, whose absent entries are
    /// 0): `ln Σ eᶻ − z[label]`, in nats; one loss per row. (MXNet: `softmax_cross_entropy`, which
    /// sums; the loss of `SoftmaxOutput`. PyTorch: `cross_entropy`.)
    ///
    /// Errors: [`ErrorKind::Index`] for an id that is no class, [`ErrorKind::Value`] for a probability
    /// that is negative or not finite, each with its row; [`ErrorKind::Shape`] for other shapes.
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let z = tape.variable(Tensor::dense([1, 2], vec![0.0f64, 0.0])?);
    /// let label = tape.constant(Tensor::dense([1], vec![1i64])?);
    /// let loss = z.softmax_cross_entropy(label);
    /// assert!((loss.item::<f64>()? - 2f64.ln()).abs() < 1e-15);
    /// assert_eq!(loss.backward()?.wrt(z).unwrap().values::<f64>()?, [0.5, -0.5]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "cross_entropy")]
    #[doc(alias = "nll_loss")]
    softmax_cross_entropy, softmax_cross_entropy_with;
    /// Cross-entropy of these logits of two classes against labels from 0 to 1, the probabilities of
    /// class 1: `ln(1 + eᶻ) − y·z`, in nats, element by element, stable. Labels may be csr. (MXNet:
    /// the loss of `LogisticRegressionOutput`; PyTorch: `binary_cross_entropy_with_logits`.)
    ///
    /// Errors: [`ErrorKind::Value`] for a label below 0, above 1 or NaN, with its row;
    /// [`ErrorKind::Shape`] unless the shapes are the same, but for (n,) and (n, 1).
    ///
    /// ```
    /// use sparsetape::{Loss, Tape, Tensor};
    /// let tape = Tape::new();
    /// let z = tape.variable(Tensor::dense([2, 1], vec![0.0f64, 0.0])?);
    /// let y = tape.constant(Tensor::dense([2], vec![1.0f64, 0.0])?);
    /// let loss = z.sigmoid_binary_cross_entropy_with(y, &Loss::sum());
    /// assert_eq!(loss.backward()?.wrt(z).unwrap().values::<f64>()?, [-0.5, 0.5]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "binary_cross_entropy_with_logits")]
    #[doc(alias = "SigmoidBinaryCrossEntropyLoss")]
    sigmoid_binary_cross_entropy, sigmoid_binary_cross_entropy_with;
    /// Half the squared difference, element by element. (MXNet: `L2Loss`, the loss of
    /// `LinearRegressionOutput`; half of PyTorch's `mse_loss`.)
    ///
    /// Errors: [`ErrorKind::Shape`] unless the shapes are the same, but for (n,) and (n, 1);
    /// [`ErrorKind::Value`] for class weights.
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::dense([2], vec![1.0f64, 4.0])?);
    /// let y = tape.constant(Tensor::dense([2], vec![0.0f64, 2.0])?);
    /// assert_eq!(x.l2_loss(y).item::<f64>()?, 1.25);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "mse_loss")]
    #[doc(alias = "L2Loss")]
    l2_loss, l2_loss_with;
    /// The hinge loss of these scores against labels −1 and 1: `max(0, 1 − y·z)`, element by element;
    /// the gradient at the kink is 0. (MXNet: `HingeLoss`, the loss of `SVMOutput`.)
    ///
    /// Errors: [`ErrorKind::Value`] for a label that is neither −1 nor 1, with its row;
    /// [`ErrorKind::Shape`] unless the shapes are the same, but for (n,) and (n, 1).
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let z = tape.variable(Tensor::dense([2], vec![0.5f64, 3.0])?);
    /// let y = tape.constant(Tensor::dense([2], vec![-1.0f64, 1.0])?);
    /// assert_eq!(z.hinge(y).item::<f64>()?, 0.75);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "HingeLoss")]
    hinge, hinge_with;
}

fn softmax_cross_entropy<'t>(z: Var<'t>, labels: Var<'t>, loss: &Loss<Var<'t>>) -> Var<'t> {
    let [logits, given] = match ranked([z, labels]) {
        Ok(types) => types,
        Err(poisoned) => return poisoned,
    };
    let are_ids = match are_ids(labels, &given, &logits) {
        Ok(are_ids) => are_ids,
        Err(error) => return labels.poisoned(error),
    };
    let refused =
        |kind, message| labels.poisoned(Error::new(kind, message).operands([&logits, &given]));
    let fits = match are_ids {
        true => logits.shape.rank() == Some(2) && one_each(&given.shape, &logits.shape),
        false => agree(&logits.shape, &given.shape) && logits.shape.rank() > Some(0),
    };
    if !fits {
        let message = format!(
            "labels are class ids, i64 of shape ({},), or class probabilities of shape {}; \
             `cast` turns numbers into ids",
            size(&logits.shape, 0),
            logits.shape
        );
        return refused(ErrorKind::Shape, message);
    }
    if !are_ids && logits.dtypes.and(given.dtypes).is_empty() {
        let (wanted, got) = (logits.dtypes, given.dtypes);
        let message =
            format!("labels are i64 ids or {wanted} probabilities, got {got}; use `cast`");
        return refused(ErrorKind::DType, message);
    }
    let weights = loss.class_weights.map(|w| class_weights(w, z, Weigh::Classes));
    let log_p = z.log_softmax();
    if are_ids {
        let ids = if given.shape.rank() == Some(2) { labels.squeeze(&[-1]) } else { labels };
        let ids = Var::apply(CheckLabels(Domain::Classes), &[ids, log_p]);
        let losses = log_p.pick(ids).neg();
        return match weights {
            None => loss.reduce(losses, None),
            Some(w) => {
                let of_label = w.take(ids);
                loss.reduce(times(losses, of_label), Some(of_label))
            }
        };
    }
    let shares = Var::apply(CheckLabels(Domain::Probabilities), &[labels]);
    match weights {
        None => loss.reduce(times(shares, log_p).sum_axes(&[-1], false).neg(), None),
        Some(w) => {
            // As many shares as classes, and weights.
            let losses = times(shares * w, log_p).sum_axes(&[-1], false).neg();
            loss.reduce(losses, Some((shares * w).sum_axes(&[-1], false)))
        }
    }
}

/// Whether labels are class ids, not probabilities: by element type or, where that is open, because
/// they have an axis less than the logits.
fn are_ids(labels: Var<'_>, given: &PartialType, logits: &PartialType) -> Result<bool> {
    let axes = |ty: &PartialType| ty.shape.rank().unwrap_or(0);
    match () {
        _ if !given.dtypes.may_be_float() => Ok(true),
        _ if !given.dtypes.contains(DType::I64) => Ok(false),
        _ if axes(given) + 1 == axes(logits) => Ok(true),
        _ => labels.dtype().map(|dtype| dtype == DType::I64),
    }
}

fn sigmoid_binary_cross_entropy<'t>(z: Var<'t>, labels: Var<'t>, loss: &Loss<Var<'t>>) -> Var<'t> {
    let y = Var::apply(CheckLabels(Domain::Binary), &[aligned(z, labels)]);
    let Some(weights) = loss.class_weights else {
        return loss.reduce(Var::apply(OpRef::from_static(BINARY.equal()), &[z, y]), None);
    };
    let [of_zero, of_one] = pair(weights, z);
    let (zero, one) = ((1.0 - y) * of_zero, y * of_one);
    let losses = times(zero, z.softplus()) + times(one, z.neg().softplus());
    loss.reduce(losses, Some(zero + one))
}

fn l2_loss<'t>(z: Var<'t>, labels: Var<'t>, loss: &Loss<Var<'t>>) -> Var<'t> {
    if let Some(weights) = loss.class_weights {
        let message = "there are no classes here, so no class weights; use sample weights";
        return weights.poisoned(Error::new(ErrorKind::Value, message));
    }
    let y = aligned(z, labels);
    loss.reduce(Var::apply(OpRef::from_static(L2.equal()), &[z, y]), None)
}

fn hinge<'t>(z: Var<'t>, labels: Var<'t>, loss: &Loss<Var<'t>>) -> Var<'t> {
    let y = Var::apply(CheckLabels(Domain::Signs), &[aligned(z, labels)]);
    let losses = Var::apply(OpRef::from_static(HINGE.equal()), &[z, y]);
    let Some(weights) = loss.class_weights else { return loss.reduce(losses, None) };
    let [of_minus, of_plus] = pair(weights, z);
    let of_label = (1.0 - y) * 0.5 * of_minus + (1.0 + y) * 0.5 * of_plus;
    loss.reduce(times(losses, of_label), Some(of_label))
}

/// Labels in the shape of the logits: the same, or (n,) for (n, 1) and the reverse.
fn aligned<'t>(z: Var<'t>, labels: Var<'t>) -> Var<'t> {
    let [logits, given] = match ranked([z, labels]) {
        Ok(types) => types,
        Err(poisoned) => return poisoned,
    };
    let refused =
        |kind, message| labels.poisoned(Error::new(kind, message).operands([&logits, &given]));
    if logits.dtypes.and(given.dtypes).is_empty() {
        let (wanted, got) = (logits.dtypes, given.dtypes);
        let message = format!("labels are {wanted}, as predictions are; got {got}; use `cast`");
        return refused(ErrorKind::DType, message);
    }
    match (logits.shape.rank(), given.shape.rank()) {
        (n, m) if n == m && agree(&logits.shape, &given.shape) => labels,
        (Some(2), Some(1)) if one_each(&logits.shape, &given.shape) => labels.expand_dims(-1),
        (Some(1), Some(2)) if one_each(&given.shape, &logits.shape) => labels.without_column(),
        _ => {
            let message = format!(
                "labels of shape {} for predictions of shape {}: they must be the same (only (n,) \
                 and (n, 1) stand for each other); `reshape` the labels",
                given.shape, logits.shape
            );
            refused(ErrorKind::Shape, message)
        }
    }
}

/// What is known of values whose number of axes decides what is recorded; else the poisoned one.
fn ranked<'t, const N: usize>(vars: [Var<'t>; N]) -> Result<[PartialType; N], Var<'t>> {
    let mut types = vars.map(|_| PartialType::unknown());
    for (ty, var) in types.iter_mut().zip(vars) {
        let found = var.known_rank().and_then(|_| var.inferred_type());
        *ty = found.map_err(|error| var.poisoned(error))?;
    }
    Ok(types)
}

/// Whether shapes may be the same.
fn agree(a: &PartialShape, b: &PartialShape) -> bool {
    a.clone().unify(&mut b.clone()).is_ok()
}

/// Whether there may be one value for each row, in one axis or as a column.
fn one_each(values: &PartialShape, rows: &PartialShape) -> bool {
    let may_be = |a: Option<usize>, b: Option<usize>| a.is_none() || b.is_none() || a == b;
    let column = match values.rank() {
        Some(1) => true,
        Some(2) => may_be(values.dim(1), Some(1)),
        _ => false,
    };
    column && rows.rank() > Some(0) && may_be(values.dim(0), rows.dim(0))
}

/// A size in words.
fn size(shape: &PartialShape, axis: usize) -> String {
    match shape.rank() {
        Some(0) => "1".to_owned(),
        _ => shape.dim(axis).map_or("?".to_owned(), |size| size.to_string()),
    }
}

/// The product of values of one shape: nothing broadcasts.
fn times<'t>(a: Var<'t>, b: Var<'t>) -> Var<'t> {
    Var::apply(stretching(Binary::Mul, 0), &[a, b])
}

impl<'t> Var<'t> {
    /// A column as a vector. A csr one is dense then.
    fn without_column(self) -> Var<'t> {
        let csr = self.stype().is_ok_and(|stype| stype == Stype::Csr);
        let column = if csr { self.cast_storage(Stype::Default) } else { self };
        column.squeeze(&[-1])
    }
}

/// Class weights, one for each class.
fn class_weights<'t>(weights: Var<'t>, z: Var<'t>, weigh: Weigh) -> Var<'t> {
    let types = weights.inferred_type().and_then(|given| Ok((given, z.inferred_type()?)));
    let (given, logits) = match types {
        Ok(types) => types,
        Err(error) => return weights.poisoned(error),
    };
    let refused =
        |kind, message| weights.poisoned(Error::new(kind, message).operands([&logits, &given]));
    let classes = match (weigh, logits.shape.rank()) {
        (Weigh::Two, _) => "2".to_owned(),
        (_, rank) => size(&logits.shape, rank.unwrap_or(1).saturating_sub(1)),
    };
    let fits = agree(&given.shape, &[classes.parse().ok()].into());
    match () {
        _ if !fits => {
            let got = &given.shape;
            let message =
                format!("class weights have shape ({classes},), one for each class; got {got}");
            refused(ErrorKind::Shape, message)
        }
        _ if logits.dtypes.and(given.dtypes).is_empty() => {
            let (wanted, got) = (logits.dtypes, given.dtypes);
            let message = format!("class weights are {wanted}, as predictions are; got {got}");
            refused(ErrorKind::DType, message)
        }
        _ => Var::apply(CheckWeights(weigh), &[weights, z]),
    }
}

/// The weights of two classes, 0-d each.
fn pair<'t>(weights: Var<'t>, z: Var<'t>) -> [Var<'t>; 2] {
    let weights = class_weights(weights, z, Weigh::Two);
    let id = |id: i64| weights.tape().constant(Tensor::scalar(id));
    let ids = [id(0), id(1)];
    [weights.take(ids[0]), weights.take(ids[1])]
}

pub(super) fn samples() -> Vec<Sample<Map>> {
    let z = || Tensor::from_fn([3, 2], |i| (i as f64 * 1.1).sin() * 2.0);
    let y = || Tensor::from_fn([3, 2], |i| if i % 2 == 0 { 0.2 } else { 0.9 });
    [&BINARY, &L2, &HINGE]
        .into_iter()
        .map(|named| Sample::good(named.equal().clone(), [z(), y()]))
        .collect()
}
