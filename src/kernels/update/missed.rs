//! The steps with a zero gradient that a row still has to make.

use super::super::Real;
use super::super::memory::Temp;
use super::super::vectorized::{Task, is_far, prefetch, vectorized};
use super::adam_rest::{AdamRest, Replay};
use super::products::{Map, Map2, Products};
use super::{AHEAD, Rows};

/// What every row goes through in a step in which it has no gradient, for the steps since the last
/// restart.
#[derive(Clone, Debug)]
pub(crate) enum Missed {
    /// A linear map of the weight and its first state.
    Linear(Linear),
    /// Moments that decay, and the moves that they still make.
    Adam(AdamRest),
}

/// Linear maps, one a step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Linear {
    products: Products,
    /// What the steps before the last restart make of a weight at rest.
    earlier: Option<Map2>,
}

impl Linear {
    /// One more step.
    pub fn push(&mut self, map: &Map2) {
        self.products.push(map);
    }
}

/// Bytes that are kept at least before a restart.
const KEPT_BYTES: usize = 1 << 20;

impl Missed {
    /// How many steps there were since the last restart.
    pub fn now(&self) -> u32 {
        match self {
            Missed::Linear(linear) => linear.products.now(),
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
            Missed::Adam(adam) => adam.restart(),
        }
    }

    /// Takes rows that come into being now, with states of zeros, through all steps up to the last restart.
    pub fn begin<T: Real, const N: usize>(&self, mut rows: Rows<'_, T, N>) {
        match self {
            Missed::Linear(Linear { earlier: None, .. }) => {}
            Missed::Linear(Linear { earlier: Some(earlier), .. }) => {
                let state = rows.s.first_mut().map_or(&mut [][..], |m| &mut **m);
                apply(earlier, rows.w, state);
            }
            Missed::Adam(adam) => adam.begin(rows.w),
        }
    }

    /// What a weight at rest becomes by all steps up to now.
    pub fn from_the_beginning<T: Real>(&self, w: &mut [T]) {
        let states = [(); 2].map(|()| Temp::filled(T::zero(), w.len()));
        let [mut one, mut two] = states;
        let (k, widths) = (w.len(), [w.len(); 2]);
        let mut rows = Rows { w, s: [&mut one, &mut two], k, widths };
        self.begin(rows.lend());
        self.catch_up(rows, &[0], &mut [0]);
    }

    /// Takes the rows at `slots` from the step that each is at to now.
    pub fn catch_up<T: Real, const N: usize>(
        &self,
        rows: Rows<'_, T, N>,
        slots: &[u32],
        at: &mut [u32],
    ) {
        let now = self.now();
        match self {
            Missed::Linear(linear) => {
                let by = Mapped { products: &linear.products, last: (now, Map2::IDENTITY) };
                vectorized(CatchUp { by, now, rows, slots, at });
            }
            Missed::Adam(adam) => {
                vectorized(CatchUp { by: Replay::new(adam), now, rows, slots, at });
            }
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        match self {
            Missed::Linear(linear) => linear.products.bytes(),
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
}

impl<T: Real, B: CatchUpRow<T, N>, const N: usize> Task for CatchUp<'_, '_, T, B, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let CatchUp { mut by, now, mut rows, slots, at } = self;
        let far = is_far::<T>(rows.w.len());
        for (i, &slot) in slots.iter().enumerate() {
            let slot = slot as usize;
            if far && let Some(&slot) = slots.get(i + AHEAD) {
                rows.ask_for(slot as usize);
                prefetch::<u32, 1>(at, slot as usize);
            }
            let from = std::mem::replace(&mut at[slot], now);
            if from != now {
                let (w, s) = rows.row(slot);
                by.row(from, w, s);
            }
        }
    }
}

/// By linear maps.
struct Mapped<'a> {
    products: &'a Products,
    /// Rows that were left at the same step share the product.
    last: (u32, Map2),
}

impl<T: Real, const N: usize> CatchUpRow<T, N> for Mapped<'_> {
    #[inline(always)]
    fn row(&mut self, from: u32, w: &mut [T], mut s: [&mut [T]; N]) {
        if from != self.last.0 {
            self.last = (from, self.products.since(from));
        }
        apply(&self.last.1, w, s.first_mut().map_or(&mut [][..], |m| &mut **m));
    }
}

/// Maps weights and their first states, if there are any, in f64.
#[inline(always)]
fn apply<T: Real>(map: &Map2, w: &mut [T], m: &mut [T]) {
    let [ww, wm, mw, mm] = *map;
    if m.is_empty() {
        for w in w {
            *w = narrow(ww * wide(*w));
        }
        return;
    }
    for (w, m) in w.iter_mut().zip(m) {
        let (x, y) = (wide(*w), wide(*m));
        *w = narrow(ww * x + wm * y);
        *m = narrow(mw * x + mm * y);
    }
}

#[inline(always)]
pub(super) fn wide<T: Real>(x: T) -> f64 {
    x.to_f64().unwrap_or(f64::NAN)
}

/// The nearest; casts between floats always succeed.
#[inline(always)]
pub(super) fn narrow<T: Real>(x: f64) -> T {
    T::from(x).unwrap_or_else(T::nan)
}
