//! Products of the linear maps of many steps, for any interval that ends now.

/// A linear map.
pub(crate) trait Map: Copy {
    const IDENTITY: Self;

    /// a · b: first b, then a.
    fn after(a: &Self, b: &Self) -> Self;
}

/// A 2×2 matrix, row by row: it maps a weight and its momentum.
pub(crate) type Map2 = [f64; 4];

impl Map for Map2 {
    const IDENTITY: Map2 = [1.0, 0.0, 0.0, 1.0];

    fn after(a: &Map2, b: &Map2) -> Map2 {
        [
            a[0] * b[0] + a[1] * b[2],
            a[0] * b[1] + a[1] * b[3],
            a[2] * b[0] + a[3] * b[2],
            a[2] * b[1] + a[3] * b[3],
        ]
    }
}

/// A diagonal 3×3 matrix.
impl Map for [f64; 3] {
    const IDENTITY: Self = [1.0; 3];

    fn after(a: &Self, b: &Self) -> Self {
        [a[0] * b[0], a[1] * b[1], a[2] * b[2]]
    }
}

/// Blocks of a level hold so many of the level below.
const BITS: u32 = 6;
const RADIX: usize = 1 << BITS;

const LEVELS: u32 = 4;

/// Products of the maps from earlier steps to now.
///
/// Steps are grouped into blocks of 64, those into blocks of 4096, and so on. A block that is complete keeps,
/// for each of its 64 parts, the product from the part's begin to the block's end; of the blocks
/// that now is in, the products to now are kept up to date. So an interval takes one product for each level, O(log₆₄ of
/// its length), no inverse and no assumption about the maps.
#[derive(Clone, Debug)]
pub(crate) struct Products<M = Map2> {
    now: u32,
    levels: Box<[Level<M>; LEVELS as usize]>,
}

#[derive(Clone, Debug)]
struct Level<M> {
    /// For the parts of complete blocks: to the block's end.
    complete: Vec<M>,
    /// For the parts of the block that now is in: to now.
    open: [M; RADIX],
}

impl<M: Map> Default for Products<M> {
    fn default() -> Self {
        let level = || Level { complete: Vec::new(), open: [M::IDENTITY; RADIX] };
        Products { now: 0, levels: Box::new([(); LEVELS as usize].map(|()| level())) }
    }
}

impl<M: Map> Products<M> {
    /// The most steps that fit.
    pub const MOST: u32 = (1 << (BITS * LEVELS)) - 1;

    /// How many steps there were.
    pub fn now(&self) -> u32 {
        self.now
    }

    /// One more step.
    pub fn push(&mut self, map: &M) {
        let before = self.now;
        assert!(before < Self::MOST, "the products are restarted in time");
        self.now += 1;
        for (i, level) in self.levels.iter_mut().enumerate() {
            let shift = BITS * i as u32;
            let part = (before >> shift) as usize % RADIX;
            if before.trailing_zeros() >= shift {
                level.open[part] = M::IDENTITY;
            }
            for open in &mut level.open[..=part] {
                *open = M::after(map, open);
            }
            if self.now.trailing_zeros() >= shift + BITS {
                level.complete.extend_from_slice(&level.open);
            }
        }
    }

    /// The product of the maps of the steps `from..now`.
    pub fn since(&self, from: u32) -> M {
        let (mut at, mut product) = (from, M::IDENTITY);
        for (i, level) in self.levels.iter().enumerate() {
            let shift = BITS * i as u32;
            if at == self.now {
                break;
            }
            let part = at >> shift;
            if part >> BITS == self.now >> (shift + BITS) {
                return M::after(&level.open[part as usize % RADIX], &product);
            }
            if !part.is_multiple_of(RADIX as u32) {
                product = M::after(&level.complete[part as usize], &product);
                at = ((part >> BITS) + 1) << (shift + BITS);
            }
        }
        product
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.levels.iter().map(|level| size_of_val(&level.complete[..])).sum()
    }

    /// Forgets all steps, keeps the memory.
    pub fn restart(&mut self) {
        self.now = 0;
        self.levels.iter_mut().for_each(|level| level.complete.clear());
    }
}

impl Products {
    /// All numbers, for [`Products::from_columns`].
    pub fn columns(&self) -> impl Iterator<Item = &[f64]> {
        self.levels.iter().flat_map(|l| [l.complete.as_flattened(), l.open.as_flattened()])
    }

    /// The products of so many steps from their numbers; none if they are not as many as there must be.
    pub fn from_columns(now: u32, columns: &[Vec<f64>]) -> Option<Products> {
        let mut products = Products { now, ..Products::default() };
        let levels = products.levels.iter_mut().zip((1..).map(|i| BITS * i));
        let fits = columns.len() == 2 * LEVELS as usize && now <= Self::MOST;
        for ((level, bits), columns) in levels.zip(columns.chunks(2)).take_while(|_| fits) {
            let [complete, open] = columns else { return None };
            let (complete, rest) = complete.as_chunks();
            if complete.len() != (now >> bits) as usize * RADIX || !rest.is_empty() {
                return None;
            }
            level.complete = complete.to_vec();
            level.open = open.as_chunks().0.try_into().ok()?;
        }
        fits.then_some(products)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(step: u32) -> Map2 {
        let a = 0.01 * (1.0 + (step as f64).sin());
        [1.0 - a, 0.9, -a, 0.9]
    }

    #[test]
    fn products_are_those_of_the_single_steps() {
        let mut products = Products::default();
        for step in 0..5000 {
            products.push(&map(step));
        }
        let mut slow = Map2::IDENTITY;
        for from in (0..5000).rev() {
            slow = Map2::after(&slow, &map(from));
            let size = slow.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
            for (fast, slow) in products.since(from).iter().zip(&slow) {
                assert!((fast - slow).abs() <= 1e-12 * size, "from {from}: {fast} {slow}");
            }
        }
        assert_eq!(products.since(5000), Map2::IDENTITY);
    }

    #[test]
    fn products_come_back_from_their_numbers() {
        for now in [0, 1, 63, 64, 65, 4095, 4096, 5000] {
            let mut products = Products::default();
            (0..now).for_each(|step| products.push(&map(step)));
            let mut columns: Vec<Vec<f64>> = products.columns().map(<[f64]>::to_vec).collect();
            let mut twin = Products::from_columns(now, &columns).unwrap();
            for step in now..now + 40 {
                assert!((0..=step).all(|from| products.since(from) == twin.since(from)));
                products.push(&map(step));
                twin.push(&map(step));
            }
            assert!(Products::from_columns(now + 64, &columns).is_none());
            columns[0].push(0.0);
            assert!(Products::from_columns(now, &columns).is_none());
        }
    }

    #[test]
    fn every_end_is_right_for_every_begin() {
        let mut products = Products::default();
        for end in 0..600u32 {
            for from in 0..end {
                // Counting steps: [1, n; 0, 1].
                assert_eq!(products.since(from), [1.0, (end - from) as f64, 0.0, 1.0]);
            }
            products.push(&[1.0, 1.0, 0.0, 1.0]);
        }
        products.restart();
        products.push(&map(3));
        assert_eq!((products.since(0), products.since(1)), (map(3), Map2::IDENTITY));
    }
}
