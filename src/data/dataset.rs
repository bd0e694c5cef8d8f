//! Features with labels.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::batches::BatchPlan;
use super::order::permutation;
use super::schema::{IdBase, Schema};
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::dtype::{Values, each_dtype};
use crate::tensor::{DType, Element, Layout, Pattern, Stype, Tensor, row_len};

/// Rows of features, their labels, further [inputs](Dataset::with_input) by name, and what reading them
/// found out. Cloning is cheap.
///
/// ```
/// use sparsetape::{Tensor, data::Dataset};
/// let x = Tensor::csr([2, 3], vec![0, 1, 2], vec![2, 0], vec![1.0f32, 5.0])?;
/// let data = Dataset::new(x, Tensor::dense([2], vec![0.0f32, 1.0])?)?;
/// let (train, test) = data.split(0.5)?;
/// assert_eq!((train.rows(), test.rows()), (1, 1));
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Dataset {
    /// The features, `(rows, features)`; CSR when they were read from a file.
    pub features: Tensor,
    /// One label per row, `(rows,)`; or several, `(rows, labels)`, dense, or CSR if they were read
    /// from the entries of a label file.
    pub labels: Tensor,
    /// The query id of each row, `(rows,)` of i64, if the file states them.
    pub qids: Option<Tensor>,
    /// Further inputs by name, `(rows, ..)` each: ids to look up, weights of rows.
    pub inputs: Vec<(Arc<str>, Tensor)>,
    /// Id base and width: what files read later must conform to.
    pub schema: Schema,
    /// What was left out because the file is wider than the schema.
    pub dropped: Dropped,
}

/// What [`Wider::Drop`](crate::data::Wider::Drop) left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Number of entries.
    pub entries: usize,
    /// Number of distinct columns that these entries are in.
    pub columns: usize,
}

impl Dataset {
    /// A data set of tensors in memory, without query ids; its schema is zero-based and as wide as
    /// the features.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] unless the features have two axes and both have as many rows, or if
    /// there are more than 2^32 features.
    #[track_caller]
    pub fn new(features: Tensor, labels: Tensor) -> Result<Self> {
        let width = features.shape().get(1).copied().unwrap_or(0);
        let schema = Schema::new(IdBase::Zero, width)?;
        let (qids, inputs, dropped) = (None, Vec::new(), Dropped::default());
        let data = Dataset { features, labels, qids, inputs, schema, dropped };
        data.check()?;
        Ok(data)
    }

    /// A data set without features, `(rows, 0)` csr, to which [inputs](Dataset::with_input) are added:
    /// ratings of items by users, say.
    ///
    /// ```
    /// use sparsetape::{Tensor, data::Dataset};
    /// let ids = |ids: [i64; 3]| Tensor::dense([3], ids.to_vec());
    /// let data = Dataset::from_labels(Tensor::dense([3], vec![4.0f32, 1.0, 5.0])?)?
    ///     .with_input("user", ids([0, 0, 7])?)?
    ///     .with_input("item", ids([3, 2, 3])?)?;
    /// for batch in data.batches(2).build()?.epoch(0) {
    ///     assert_eq!(batch.input("user")?.shape(), batch.labels.shape());
    /// }
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] for labels without axes.
    #[track_caller]
    pub fn from_labels(labels: Tensor) -> Result<Self> {
        let none = Tensor::zeros(Stype::Csr, [rows_of(&labels), 0], DType::F32)?;
        Dataset::new(none, labels)
    }

    /// Features without labels, which are `(rows, 0)`: rows to predict.
    ///
    /// # Errors
    /// As [`Dataset::new`].
    #[track_caller]
    pub fn from_features(features: Tensor) -> Result<Self> {
        let none = Tensor::zeros(Stype::Default, [rows_of(&features), 0], DType::F32)?;
        Dataset::new(features, none)
    }

    /// The same with another input, which batches hold by this name; in place of one of the same name.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] unless its first axis is as long as there are rows.
    #[track_caller]
    pub fn with_input(mut self, name: impl Into<Arc<str>>, values: Tensor) -> Result<Self> {
        let name = name.into();
        self.inputs.retain(|(own, _)| *own != name);
        self.inputs.push((name, values));
        self.check()?;
        Ok(self)
    }

    /// The same with a query id for each row.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] unless there are as many ids as rows.
    #[track_caller]
    pub fn with_qids(mut self, qids: Vec<i64>) -> Result<Self> {
        self.qids = Some(Tensor::dense([qids.len()], qids)?);
        self.check()?;
        Ok(self)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        rows_of(&self.features)
    }

    /// All parts fit together; the fields are public.
    #[track_caller]
    pub(super) fn check(&self) -> Result<()> {
        if self.features.ndim() != 2 {
            let message = format!("features have two axes, got {}", self.features.ty());
            return Err(Error::new(ErrorKind::Shape, message));
        }
        let others = [Some(("labels", &self.labels)), self.qids.as_ref().map(|q| ("qids", q))];
        let inputs = self.inputs.iter().map(|(name, values)| (&**name, values));
        for (what, tensor) in others.into_iter().flatten().chain(inputs) {
            if rows_of(tensor) != self.rows() || tensor.ndim() == 0 {
                let message =
                    format!("features are {}, but {what} are {}", self.features.ty(), tensor.ty());
                return Err(Error::new(ErrorKind::Shape, message));
            }
        }
        Ok(())
    }

    /// Rows `start..end`, sharing memory with the whole. `dropped` is carried over as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Index`] if the range is not within the rows.
    #[track_caller]
    pub fn rows_window(&self, start: usize, end: usize) -> Result<Dataset> {
        self.check()?;
        self.each(|tensor| tensor.rows_window(start, end))
    }

    /// The same of every tensor.
    fn each(&self, change: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Dataset> {
        let inputs = self.inputs.iter().map(|(name, values)| Ok((name.clone(), change(values)?)));
        Ok(Dataset {
            features: change(&self.features)?,
            labels: change(&self.labels)?,
            qids: self.qids.as_ref().map(&change).transpose()?,
            inputs: inputs.collect::<Result<_>>()?,
            ..*self
        })
    }

    /// The first `fraction` of the rows (rounded to whole rows) and the rest, sharing memory with
    /// the whole; [`shuffled`](Dataset::shuffled) first if the rows are in an order.
    ///
    /// # Errors
    /// [`ErrorKind::Value`] unless `0 <= fraction <= 1`.
    #[track_caller]
    pub fn split(&self, fraction: f64) -> Result<(Dataset, Dataset)> {
        if !(0.0..=1.0).contains(&fraction) {
            let message = format!("a fraction is between 0 and 1, got {fraction}");
            return Err(Error::new(ErrorKind::Value, message).operator("split"));
        }
        let rows = self.rows();
        let head = (fraction * rows as f64).round() as usize;
        Ok((self.rows_window(0, head)?, self.rows_window(head, rows)?))
    }

    /// The `k`-th of `n` parts of (almost) as many rows, sharing memory with the whole: what one of n
    /// workers trains on. (MXNet: `part_index`, `num_parts`.)
    ///
    /// # Errors
    /// [`ErrorKind::Value`] unless `k < n`.
    #[track_caller]
    pub fn part(&self, k: usize, n: usize) -> Result<Dataset> {
        let Range { start, end } = part_of(self.rows(), k, n)?;
        self.rows_window(start, end)
    }

    /// A copy with its rows in another order, which depends on `seed` and the number of rows alone.
    ///
    /// Done once before training, it makes fixed batch windows as good as random ones.
    ///
    /// ```
    /// use sparsetape::data::Libsvm;
    /// let data = Libsvm::new().read_from("1 1:1\n2 1:2\n3 1:3\n".as_bytes())?;
    /// let mixed = data.shuffled(5)?;
    /// assert_eq!(mixed.labels.values::<f32>()?, mixed.features.values::<f32>()?);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if a field was replaced by a tensor of another number of rows,
    /// [`ErrorKind::Stype`] if one is row-sparse.
    #[track_caller]
    pub fn shuffled(&self, seed: u64) -> Result<Dataset> {
        self.check()?;
        self.gather(&permutation(self.rows(), seed, 0))
    }

    /// A copy of the rows `order`, which may repeat.
    #[track_caller]
    pub(super) fn gather(&self, order: &[usize]) -> Result<Dataset> {
        self.each(|tensor| gather_rows(tensor, order))
    }

    /// A plan that cuts the rows into batches of `size` rows; see [`BatchPlan`].
    pub fn batches(&self, size: usize) -> BatchPlan<'_> {
        BatchPlan::new(self, size)
    }
}

/// Types instead of all values.
impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("features", &self.features.ty())
            .field("labels", &self.labels.ty())
            .field("qids", &self.qids.is_some())
            .field("inputs", &types_of(&self.inputs))
            .field("schema", &self.schema)
            .field("dropped", &self.dropped)
            .finish()
    }
}

pub(super) fn types_of(inputs: &[(Arc<str>, Tensor)]) -> Vec<String> {
    inputs.iter().map(|(name, values)| format!("{name}: {}", values.ty())).collect()
}

/// The rows of the `k`-th of `n` parts.
#[track_caller]
pub(super) fn part_of(rows: usize, k: usize, n: usize) -> Result<Range<usize>> {
    if k >= n {
        let message = format!("part {k} of {n}: parts count from 0");
        return Err(Error::new(ErrorKind::Value, message).operator("part"));
    }
    let end = |k: usize| (rows as u128 * k as u128 / n as u128) as usize;
    Ok(end(k)..end(k + 1))
}

fn rows_of(tensor: &Tensor) -> usize {
    tensor.shape().first().copied().unwrap_or(0)
}

#[track_caller]
fn gather_rows(tensor: &Tensor, order: &[usize]) -> Result<Tensor> {
    if tensor.rows().is_some() {
        let message = format!("rows of {} are not gathered; cast its storage", tensor.ty());
        return Err(Error::new(ErrorKind::Stype, message));
    }
    let mut shape = tensor.shape().to_vec();
    shape[0] = order.len();
    let (_, _, values) = tensor.clone().into_parts();
    let Some(pattern) = tensor.pattern() else {
        let width = row_len(tensor.shape());
        let ranges = || order.iter().map(|&r| r * width..(r + 1) * width);
        return Ok(Tensor::from_parts(shape.into(), Layout::Dense, pick_values(&values, ranges())));
    };
    let ranges = || order.iter().map(|&r| pattern.row_range(r));
    let ends = ranges().scan(0, |end, r| {
        *end += r.len();
        Some(*end)
    });
    let indptr: Vec<usize> = std::iter::once(0).chain(ends).collect();
    let indices = pick(pattern.indices(), ranges());
    let gathered = Pattern::new(pattern.cols(), indptr.into(), indices.into());
    let values = pick_values(&values, ranges());
    Ok(Tensor::from_parts(shape.into(), Layout::Csr(Arc::new(gathered)), values))
}

fn pick_values(values: &Values, ranges: impl Iterator<Item = std::ops::Range<usize>>) -> Values {
    each_dtype!(Values::values, v => Element::erase(pick(v, ranges).into()))
}

fn pick<T: Copy>(from: &[T], ranges: impl Iterator<Item = std::ops::Range<usize>>) -> Vec<T> {
    let mut picked = Vec::new();
    ranges.for_each(|r| picked.extend_from_slice(&from[r]));
    picked
}
