//! The gradient of squares.

use super::Number;
use super::vectorized::{Task, vectorized};

/// Makes each dy the gradient 2 · x · dy.
pub(crate) fn square_grad<T: Number>(x: &[T], dy: &mut [T]) {
    vectorized(SquareGrad { x, dy });
}

struct SquareGrad<'a, T> {
    x: &'a [T],
    dy: &'a mut [T],
}

impl<T: Number> Task for SquareGrad<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (dy, &x) in self.dy.iter_mut().zip(self.x) {
            let product = *dy * x;
            *dy = product + product;
        }
    }
}
