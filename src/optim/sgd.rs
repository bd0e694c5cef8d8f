//! Stochastic gradient descent.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind, Result};
use crate::kernels::update::SgdStep;
use crate::tape::{Gradients, Parameter, Params, Stored};
use crate::tensor::{DType, Real, Stype, Tensor, row_len};

/// Stochastic gradient descent with momentum, weight decay, gradient rescaling and clipping.
///
/// With `h = clip(rescale · g) + weight_decay · w`, a step is
///
/// | | |
/// |---|---|
/// | without momentum | `w ← w − lr · h` |
/// | with momentum | `m ← momentum · m − lr · h`, then `w ← w + m` |
///
/// A dense gradient moves everything. A row-sparse gradient moves the rows that it stores, zero or
/// not, and their momentum: no other row decays or coasts (MXNet's `lazy_update`, its `sgd_update`
/// and `sgd_mom_update`); cost and memory traffic follow those rows, not the table. With
/// [`Sgd::lazy_update`]`(false)` every row moves, as with a zero gradient.
///
/// ```
/// use sparsetape::{Gradients, Parameter, Params, Tape, Tensor, optim::Sgd};
/// let w = Parameter::new("w", Tensor::full([1_000_000, 1], 1.0f32)?)?;
/// let params = Params::new([&w])?;
/// let mut sgd = Sgd::new(0.5).momentum(0.9);
/// let mut tape = Tape::new();
/// let mut gradients = Gradients::default();
/// for _ in 0..2 {
///     tape.clear();
///     let x = Tensor::csr([1, 1_000_000], vec![0, 1], vec![42], vec![1.0f32])?;
///     let loss = tape.constant(x).dot(tape.parameter(&w)).sum();
///     loss.backward_into(&mut gradients)?;
///     sgd.step(&params, &gradients)?; // touches row 42 only
/// }
/// assert!((w.snapshot()?.values::<f32>()?[42] - (1.0 - 0.5 - 0.95)).abs() < 1e-6);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Debug)]
pub struct Sgd {
    lr: f64,
    momentum: f64,
    weight_decay: f64,
    rescale_grad: f64,
    clip_gradient: Option<f64>,
    lazy_update: bool,
    /// Momenta, laid out as their parameters are.
    momenta: Vec<(Parameter, Stored)>,
}

impl Sgd {
    /// Plain gradient descent at this learning rate.
    pub fn new(lr: f64) -> Self {
        Sgd {
            lr,
            momentum: 0.0,
            weight_decay: 0.0,
            rescale_grad: 1.0,
            clip_gradient: None,
            lazy_update: true,
            momenta: Vec::new(),
        }
    }

    /// How much of the last move is repeated (heavy ball); 0 keeps no momentum in memory.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// The factor of the weight itself in its gradient (L2).
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// A factor on every gradient, before clipping.
    pub fn rescale_grad(mut self, rescale_grad: f64) -> Self {
        self.rescale_grad = rescale_grad;
        self
    }

    /// Clips every rescaled gradient value to `[−bound, bound]`; a negative bound does not clip.
    pub fn clip_gradient(mut self, bound: f64) -> Self {
        // NaN stays, to be refused by the step.
        self.clip_gradient = (bound.is_nan() || bound >= 0.0).then_some(bound);
        self
    }

    /// Whether row-sparse gradients move only the rows that they store; true by default.
    pub fn lazy_update(mut self, lazy: bool) -> Self {
        self.lazy_update = lazy;
        self
    }

    /// The learning rate.
    pub fn learning_rate(&self) -> f64 {
        self.lr
    }

    /// Sets the learning rate of the steps to come.
    pub fn set_learning_rate(&mut self, lr: f64) {
        self.lr = lr;
    }

    /// The momentum of a parameter, a copy, once it has moved.
    pub fn momentum_of(&self, parameter: &Parameter) -> Option<Tensor> {
        let (_, held) = self.momenta.iter().find(|(p, _)| p.same(parameter))?;
        Some(held.snapshot())
    }

    /// Bytes that momenta take.
    pub fn bytes(&self) -> usize {
        self.momenta.iter().map(|(_, m)| m.bytes()).sum()
    }

    /// Moves each parameter that has a gradient; the others stay.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] or [`ErrorKind::DType`] for a gradient that does not fit its parameter,
    /// [`ErrorKind::Busy`] while a parameter is read elsewhere, [`ErrorKind::Value`] for a
    /// hyper-parameter that is not finite. Gradients that do not fit are found before anything moves.
    #[track_caller]
    pub fn step(&mut self, params: &Params, gradients: &Gradients) -> Result<()> {
        self.check_hyper_parameters()?;
        let moving = || params.iter().filter_map(|p| Some((p, gradients.of(p)?)));
        for (parameter, gradient) in moving() {
            check_fits(parameter, gradient)?;
        }
        for (parameter, gradient) in moving() {
            match parameter.dtype() {
                DType::F32 => self.update::<f32>(parameter, gradient)?,
                _ => self.update::<f64>(parameter, gradient)?,
            }
        }
        Ok(())
    }

    #[track_caller]
    fn check_hyper_parameters(&self) -> Result<()> {
        let named = [
            ("learning rate", self.lr),
            ("momentum", self.momentum),
            ("weight decay", self.weight_decay),
            ("gradient rescaling", self.rescale_grad),
            ("clipping bound", self.clip_gradient.filter(|x| x.is_nan()).unwrap_or(0.0)),
        ];
        match named.iter().find(|(_, x)| !x.is_finite()) {
            None => Ok(()),
            Some((name, x)) => {
                let message = format!("the {name} is {x}");
                Err(Error::new(ErrorKind::Value, message).operator("sgd"))
            }
        }
    }

    #[track_caller]
    fn update<T: Real>(&mut self, parameter: &Parameter, gradient: &Tensor) -> Result<()> {
        let (lr_mult, wd_mult) = parameter.multipliers();
        let step = SgdStep {
            lr: T::from_f64(self.lr * lr_mult),
            momentum: T::from_f64(self.momentum),
            decay: T::from_f64(self.weight_decay * wd_mult),
            rescale: T::from_f64(self.rescale_grad),
            clip: self.clip_gradient.map_or(T::infinity(), T::from_f64),
        };
        let (gradient, lazy) = (by_rows(gradient)?, self.lazy_update);
        let k = row_len(parameter.shape());
        let g = gradient.values::<T>()?;
        let mut weight = parameter.write()?;
        let mut momentum = self.momentum_for::<T>(parameter, &weight);
        if let Some(momentum) = &mut momentum {
            momentum.match_rows::<T>(&mut weight);
        }
        match gradient.rows() {
            None => {
                weight.insert_all_rows::<T>();
                momentum.iter_mut().for_each(|m| m.insert_all_rows::<T>());
                step.dense(weight.values_mut(), momentum.map(Stored::values_mut), Some(g));
            }
            Some(rows) => {
                let slots = weight.slots::<T>(rows);
                // The same slots: both store the same rows.
                momentum.iter_mut().for_each(|m| drop(m.slots::<T>(rows)));
                let (w, m) = (weight.values_mut(), momentum.map(Stored::values_mut));
                match lazy {
                    true => step.rows(w, m, &slots, g, k),
                    false => step.all_rows(w, m, &slots, g, k),
                }
            }
        }
        Ok(())
    }

    /// The momentum of a parameter, zeros at first; none where it is not used.
    fn momentum_for<T: Real>(
        &mut self,
        parameter: &Parameter,
        weight: &Stored,
    ) -> Option<&mut Stored> {
        if self.momentum == 0.0 {
            return None;
        }
        let held = self.momenta.iter().position(|(p, _)| p.same(parameter));
        let at = held.unwrap_or_else(|| {
            self.momenta.push((parameter.clone(), weight.zeros_like::<T>()));
            self.momenta.len() - 1
        });
        Some(&mut self.momenta[at].1)
    }
}

/// A gradient that is dense or row-sparse: a csr gradient touches the rows that hold an entry.
fn by_rows(gradient: &Tensor) -> Result<Cow<'_, Tensor>> {
    Ok(match gradient.stype() {
        Stype::Csr => Cow::Owned(gradient.cast_storage(Stype::RowSparse)?),
        _ => Cow::Borrowed(gradient),
    })
}

#[track_caller]
fn check_fits(parameter: &Parameter, gradient: &Tensor) -> Result<()> {
    let (own, ty) = (parameter.ty(), gradient.ty());
    let kind = match () {
        _ if own.shape != ty.shape => ErrorKind::Shape,
        _ if own.dtype != ty.dtype => ErrorKind::DType,
        _ => return Ok(()),
    };
    let message = format!("parameter {:?} is {own}, its gradient {ty}", parameter.name());
    Err(Error::new(kind, message).operator("sgd"))
}
