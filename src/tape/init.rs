//! How parameters start.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::kernels::counter::Counter;
use crate::tensor::construct::dense_len_of;
use crate::tensor::{DType, Element, Layout, Real, Shape, Stype, Tensor, Values, row_len};

/// How the values of a parameter start. A value follows from the seed and its place, whatever else is
/// drawn. (MXNet: `init`.)
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// All the same.
    Constant(f64),
    /// Uniform in `[-scale, scale)`.
    Uniform(f64),
    /// Normal with mean 0 and this deviation.
    Normal(f64),
    /// Uniform in `[-s, s)` with `s = √(6 / (n + m))` for n outputs, the rows, of m inputs each (Glorot
    /// and Bengio 2010).
    #[doc(alias = "Glorot")]
    Xavier,
}

impl Init {
    /// Values of this shape. A row-sparse result stores all rows, or none if all values are 0.
    ///
    /// ```
    /// use sparsetape::{DType, Init, Stype};
    /// let w = Init::Uniform(0.1).tensor(Stype::Default, [100, 4], DType::F32, 7)?;
    /// assert!(w.values::<f32>()?.iter().all(|x| x.abs() <= 0.1));
    /// // The same rows, whatever the number of rows.
    /// let more = Init::Uniform(0.1).tensor(Stype::Default, [200, 4], DType::F32, 7)?;
    /// assert_eq!(more.rows_window(0, 100)?.values::<f32>()?, w.values::<f32>()?);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Shape`](crate::ErrorKind::Shape) for a shape that does not fit memory or storage type.
    #[track_caller]
    pub fn tensor(
        self,
        stype: Stype,
        shape: impl Into<Shape>,
        dtype: DType,
        seed: u64,
    ) -> Result<Tensor> {
        let shape = shape.into();
        if self == Init::Constant(0.0) {
            return Tensor::zeros(stype, shape, dtype);
        }
        dense_len_of(&shape, dtype)?;
        let dense = match dtype {
            DType::F32 => self.dense::<f32>(shape, seed),
            DType::F64 => self.dense::<f64>(shape, seed),
            DType::I64 => self.dense::<f64>(shape, seed).cast(dtype),
        };
        dense.cast_storage(stype)
    }

    fn dense<T: Real>(self, shape: Shape, seed: u64) -> Tensor {
        let mut values = Values::zeros(T::DTYPE, shape.size());
        self.fill(&shape, seed, 0, T::unique_slice(&mut values));
        Tensor::from_parts(shape, Layout::Dense, values)
    }

    /// Writes the elements from `first` on of a tensor of this shape.
    pub(crate) fn fill<T: Real>(self, shape: &Shape, seed: u64, first: u64, out: &mut [T]) {
        let counter = Counter::new(&[seed]);
        let scale = match self {
            Init::Constant(x) => return out.fill(Element::from_f64(x)),
            Init::Uniform(scale) | Init::Normal(scale) => scale,
            Init::Xavier => {
                let rows = shape.first().copied().unwrap_or(1);
                (6.0 / (rows + row_len(shape)) as f64).sqrt()
            }
        };
        let draw = |i: u64| match self {
            Init::Normal(_) => counter.normal(i),
            _ => 2.0 * counter.uniform(i) - 1.0,
        };
        out.iter_mut().zip(first..).for_each(|(out, i)| *out = Element::from_f64(scale * draw(i)));
    }
}
