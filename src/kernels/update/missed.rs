//! The steps with a zero gradient that a row still has to make.

use super::super::Real;
use super::super::memory::Temp;
use super::super::vectorized::{Task, is_far, prefetch, vectorized};
use super::products::{Map2, Products, after};
use super::{AHEAD, Rows};

/// What every row goes through in a step in which it has no gradient, for the steps since the last
/// restart.
#[derive(Clone, Debug)]
pub(crate) enum Missed {
    /// A linear map of the weight and its first state.
    Linear(Linear),
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

/// Bytes of products that are kept at least before a restart.
const KEPT_BYTES: usize = 1 << 20;

impl Missed {
    /// How many steps there were since the last restart.
    pub fn now(&self) -> u32 {
        match self {
            Missed::Linear(linear) => linear.products.now(),
        }
    }

    /// Whether to restart, for a table of so many bytes: the products stay small beside it, and
    /// bringing all its rows up to date seldom.
    pub fn is_long(&self, table: usize) -> bool {
        match self {
            Missed::Linear(linear) => {
                let products = &linear.products;
                products.now() == Products::MOST || products.bytes() > (table / 8).max(KEPT_BYTES)
            }
        }
    }

    /// Starts again: all rows are up to date.
    pub fn restart(&mut self) {
        match self {
            Missed::Linear(linear) => {
                let map = linear.products.since(0);
                let earlier = linear.earlier.as_ref();
                linear.earlier = Some(earlier.map_or(map, |earlier| after(&map, earlier)));
                linear.products.restart();
            }
        }
    }

    /// Takes rows that come into being now, with states of zeros, through all steps up to the last restart.
    pub fn begin<T: Real, const N: usize>(&self, mut rows: Rows<'_, T, N>) {
        let Missed::Linear(Linear { earlier: Some(earlier), .. }) = self else { return };
        let state = rows.s.first_mut().map_or(&mut [][..], |m| &mut **m);
        apply(earlier, rows.w, state);
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
        vectorized(CatchUp { missed: self, rows, slots, at });
    }

    /// The name of the kind of steps, in files.
    pub fn kind(&self) -> &'static str {
        match self {
            Missed::Linear(_) => "linear",
        }
    }

    /// All numbers, for [`Missed::from_columns`].
    pub fn columns(&self) -> Vec<&[f64]> {
        match self {
            Missed::Linear(Linear { products, earlier }) => {
                let earlier = earlier.as_slice().as_flattened();
                products.columns().chain([earlier]).collect()
            }
        }
    }

    /// What was missed in so many steps, from its numbers; none if they do not fit together.
    pub fn from_columns(kind: &str, now: u32, columns: &[Vec<f64>]) -> Option<Missed> {
        match (kind, columns) {
            ("linear", [products @ .., earlier]) => {
                let products = Products::from_columns(now, products)?;
                let earlier = match earlier[..] {
                    [] => None,
                    [ww, wm, mw, mm] => Some([ww, wm, mw, mm]),
                    _ => return None,
                };
                Some(Missed::Linear(Linear { products, earlier }))
            }
            _ => None,
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        match self {
            Missed::Linear(linear) => linear.products.bytes(),
        }
    }
}

struct CatchUp<'a, 'r, T, const N: usize> {
    missed: &'a Missed,
    rows: Rows<'r, T, N>,
    slots: &'a [u32],
    at: &'a mut [u32],
}

impl<T: Real, const N: usize> Task for CatchUp<'_, '_, T, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let CatchUp { missed, mut rows, slots, at } = self;
        let (now, far) = (missed.now(), is_far::<T>(rows.w.len()));
        let Missed::Linear(linear) = missed;
        // Rows that were left at the same step share the product.
        let mut last = (now, linear.products.since(now));
        for (i, &slot) in slots.iter().enumerate() {
            let slot = slot as usize;
            if far && let Some(&slot) = slots.get(i + AHEAD) {
                rows.ask_for(slot as usize);
                prefetch::<u32, 1>(at, slot as usize);
            }
            let from = std::mem::replace(&mut at[slot], now);
            if from == now {
                continue;
            }
            if from != last.0 {
                last = (from, linear.products.since(from));
            }
            let (w, mut s) = rows.row(slot);
            apply(&last.1, w, s.first_mut().map_or(&mut [][..], |m| &mut **m));
        }
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
fn wide<T: Real>(x: T) -> f64 {
    x.to_f64().unwrap_or(f64::NAN)
}

/// The nearest; casts between floats always succeed.
#[inline(always)]
fn narrow<T: Real>(x: f64) -> T {
    T::from(x).unwrap_or_else(T::nan)
}
