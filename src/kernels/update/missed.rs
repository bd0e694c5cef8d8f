//! The steps with a zero gradient that a row still has to make.

use std::borrow::Cow;

use super::super::Real;
use super::super::vectorized::{Task, is_far, prefetch, vectorized};
use super::adam_rest::{AdamRest, Replay};
use super::ftrl::Proximal;
use super::products::{Map, Map2, Products};
use super::{AHEAD, Rows};

/// What every row goes through in a step in which it has no gradient, for the steps since the last
/// restart.
#[derive(Clone, Debug)]
pub(crate) enum Missed {
    /// A linear map of the weight and its first state.
    Linear(Linear),
    /// The weight follows from its two states, which stay.
    Proximal(Latest),
    /// Moments that decay, and the moves that they still make.
    Adam(AdamRest),
}

/// Linear maps, one a step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Linear {
    products: Products,
    /// What the steps before the last restart make of a weight at rest.
    earlier: Option<Map2>,
    /// Whether the weight is mapped alone, and its states stay.
    alone: bool,
}

impl Linear {
    /// Maps of weights alone.
    pub fn of_weights() -> Self {
        Linear { alone: true, ..Linear::default() }
    }

    /// One more step.
    pub fn push(&mut self, map: &Map2) {
        self.products.push(map);
    }

    #[inline(always)]
    fn apply<T: Real, const N: usize>(&self, map: &Map2, w: &mut [T], mut s: [&mut [T]; N]) {
        match s.first_mut().filter(|_| !self.alone) {
            Some(m) => apply(map, w, m),
            None => w.iter_mut().for_each(|w| *w = narrow(map[0] * wide(*w))),
        }
    }
}

/// How weights follow from their states by the latest step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latest {
    now: u32,
    by: Option<Proximal<f64>>,
    /// After which step weights followed last; 0 if they did before the last restart.
    moved: u32,
}

impl Latest {
    /// One more step; one without numbers moves nothing.
    pub fn push(&mut self, by: Option<Proximal<f64>>) {
        self.now += 1;
        if by.is_some() {
            (self.by, self.moved) = (by, self.now);
        }
    }

    fn narrowed<T: Real>(&self) -> Follow<T> {
        Follow { by: self.by.as_ref().map(Proximal::narrowed), moved: self.moved }
    }
}

/// Bytes that are kept at least before a restart.
const KEPT_BYTES: usize = 1 << 20;

impl Missed {
    /// How many steps there were since the last restart.
    pub fn now(&self) -> u32 {
        match self {
            Missed::Linear(linear) => linear.products.now(),
            Missed::Proximal(latest) => latest.now,
            Missed::Adam(adam) => adam.now(),
        }
    }

    /// Whether to restart, for a table of so many bytes: what is kept stays small beside it, and
    /// bringing all its rows up to date seldom.
    pub fn is_long(&self, table: usize) -> bool {
        self.now() == Products::<Map2>::MOST || self.bytes() > (table / 8).max(KEPT_BYTES)
    }

    /// Starts again: all rows are up to date.
    pub fn restart(&mut self) {
        match self {
            Missed::Linear(linear) => {
                let map = linear.products.since(0);
                let earlier = linear.earlier.as_ref();
                linear.earlier = Some(earlier.map_or(map, |earlier| Map2::after(&map, earlier)));
                linear.products.restart();
            }
            Missed::Proximal(latest) => (latest.now, latest.moved) = (0, 0),
            Missed::Adam(adam) => adam.restart(),
        }
    }

    /// Takes rows that come into being now, with states of zeros, through all steps up to the last restart.
    pub fn begin<T: Real, const N: usize>(&self, rows: Rows<'_, T, N>) {
        match self {
            Missed::Linear(linear) => {
                if let Some(earlier) = &linear.earlier {
                    linear.apply(earlier, rows.w, rows.s);
                }
            }
            Missed::Proximal(latest) => {
                latest.narrowed().weights(rows.w, &rows.s);
            }
            Missed::Adam(adam) => adam.begin(rows.w),
        }
    }

    /// The factor that all steps together are for a weight whose states are zeros. All rows are up to
    /// date.
    pub fn factor(&self) -> f64 {
        match self {
            Missed::Linear(linear) => linear.earlier.map_or(1.0, |earlier| earlier[0]),
            // States of zeros give weights of zeros.
            Missed::Proximal(latest) => {
                if latest.by.is_some() {
                    0.0
                } else {
                    1.0
                }
            }
            Missed::Adam(adam) => adam.factor(),
        }
    }

    /// Takes the rows at `slots` from the step that each is at to now, and notes that they are at `next`: now, or
    /// the step that they are about to make.
    pub fn catch_up<T: Real, const N: usize>(
        &self,
        rows: Rows<'_, T, N>,
        slots: &[u32],
        at: &mut [u32],
        next: u32,
    ) {
        let now = self.now();
        match self {
            Missed::Linear(linear) => {
                let by = Mapped { linear, last: (now, Map2::IDENTITY) };
                vectorized(CatchUp { by, now, rows, slots, at, next });
            }
            Missed::Proximal(latest) => {
                let by = latest.narrowed();
                vectorized(CatchUp { by, now, rows, slots, at, next });
            }
            Missed::Adam(adam) => {
                let by = Replay::new(adam);
                vectorized(CatchUp { by, now, rows, slots, at, next });
            }
        }
    }

    /// The name of the kind of steps, in files.
    pub fn kind(&self) -> &'static str {
        match self {
            Missed::Linear(Linear { alone: false, .. }) => "linear",
            Missed::Linear(Linear { alone: true, .. }) => "linear of weights",
            Missed::Proximal(_) => "proximal",
            Missed::Adam(_) => "adam",
        }
    }

    /// All numbers, for [`Missed::from_columns`].
    pub fn columns(&self) -> Vec<Cow<'_, [f64]>> {
        match self {
            Missed::Linear(Linear { products, earlier, .. }) => {
                let earlier = earlier.as_slice().as_flattened();
                products.columns().chain([earlier]).map(Cow::Borrowed).collect()
            }
            Missed::Proximal(Latest { by, moved, .. }) => {
                let moved = f64::from(*moved);
                let numbers = by.as_ref().map(|by| [by.inverse, by.beta, by.l1, by.l2, moved]);
                vec![Cow::Owned(numbers.as_slice().as_flattened().to_vec())]
            }
            Missed::Adam(adam) => adam.columns(),
        }
    }

    /// What was missed in so many steps, from its numbers; none if they do not fit together.
    pub fn from_columns(kind: &str, now: u32, columns: &[Vec<f64>]) -> Option<Missed> {
        match (kind, columns) {
            ("linear" | "linear of weights", [products @ .., earlier]) => {
                let products = Products::from_columns(now, products)?;
                let earlier = match earlier[..] {
                    [] => None,
                    [ww, wm, mw, mm] => Some([ww, wm, mw, mm]),
                    _ => return None,
                };
                let alone = kind != "linear";
                Some(Missed::Linear(Linear { products, earlier, alone }))
            }
            ("proximal", [numbers]) => {
                let (by, moved) = match numbers[..] {
                    [] => (None, 0),
                    [inverse, beta, l1, l2, moved] => {
                        (Some(Proximal { inverse, beta, l1, l2 }), moved as u32)
                    }
                    _ => return None,
                };
                (moved <= now).then_some(Missed::Proximal(Latest { now, by, moved }))
            }
            ("adam", _) => AdamRest::from_columns(now, columns).map(Missed::Adam),
            _ => None,
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        match self {
            Missed::Linear(linear) => linear.products.bytes(),
            Missed::Proximal(_) => 0,
            Missed::Adam(adam) => adam.bytes(),
        }
    }
}

/// How a row makes the steps that it has missed.
pub(super) trait CatchUpRow<T, const N: usize> {
    /// Takes a row with its states from a step to now.
    fn row(&mut self, from: u32, w: &mut [T], s: [&mut [T]; N]);
}

struct CatchUp<'a, 'r, T, B, const N: usize> {
    by: B,
    now: u32,
    rows: Rows<'r, T, N>,
    slots: &'a [u32],
    at: &'a mut [u32],
    next: u32,
}

impl<T: Real, B: CatchUpRow<T, N>, const N: usize> Task for CatchUp<'_, '_, T, B, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let CatchUp { mut by, now, mut rows, slots, at, next } = self;
        let far = is_far::<T>(rows.w.len());
        for (i, &slot) in slots.iter().enumerate() {
            // The steps of rows on their way are here before the rows are asked for.
            if far && let Some(&slot) = slots.get(i + 2 * AHEAD) {
                prefetch::<u32, 1>(at, slot as usize);
            }
            if far
                && let Some(&slot) = slots.get(i + AHEAD)
                && at[slot as usize] != now
            {
                rows.ask_for(slot as usize);
            }
            let from = std::mem::replace(&mut at[slot as usize], next);
            // A row that is named twice is there already.
            if from != now && from != next {
                let (w, s) = rows.row(slot as usize);
                by.row(from, w, s);
            }
        }
    }
}

/// By linear maps.
struct Mapped<'a> {
    linear: &'a Linear,
    /// Rows that were left at the same step share the product.
    last: (u32, Map2),
}

impl<T: Real, const N: usize> CatchUpRow<T, N> for Mapped<'_> {
    #[inline(always)]
    fn row(&mut self, from: u32, w: &mut [T], s: [&mut [T]; N]) {
        if from != self.last.0 {
            self.last = (from, self.linear.products.since(from));
        }
        self.linear.apply(&self.last.1, w, s);
    }
}

/// From the states as they are, whatever was missed. Weights that were written since then stay.
struct Follow<T> {
    by: Option<Proximal<T>>,
    moved: u32,
}

impl<T: Real> Follow<T> {
    #[inline(always)]
    fn weights<const N: usize>(&self, w: &mut [T], s: &[&mut [T]; N]) {
        if let (Some(by), [z, n]) = (&self.by, &s[..]) {
            by.weights(w, z, n);
        }
    }
}

impl<T: Real, const N: usize> CatchUpRow<T, N> for Follow<T> {
    #[inline(always)]
    fn row(&mut self, from: u32, w: &mut [T], s: [&mut [T]; N]) {
        if from < self.moved {
            self.weights(w, &s);
        }
    }
}

/// Maps weights and their first states, in f64.
#[inline(always)]
fn apply<T: Real>(map: &Map2, w: &mut [T], m: &mut [T]) {
    let [ww, wm, mw, mm] = *map;
    for (w, m) in w.iter_mut().zip(m) {
        let (x, y) = (wide(*w), wide(*m));
        *w = narrow(ww * x + wm * y);
        *m = narrow(mw * x + mm * y);
    }
}

#[inline(always)]
pub(crate) fn wide<T: Real>(x: T) -> f64 {
    x.to_f64().unwrap_or(f64::NAN)
}

/// The nearest; casts between floats always succeed.
#[inline(always)]
pub(crate) fn narrow<T: Real>(x: f64) -> T {
    T::from(x).unwrap_or_else(T::nan)
}
