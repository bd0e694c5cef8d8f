//! The libsvm writer.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::dataset::Dataset;
use super::schema::IdBase;
use super::{io_error, path_error};
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::display::is_plain;
use crate::tensor::{Slice, Tensor};

/// A writer of libsvm text, which [`Libsvm`](super::Libsvm) reads back bit for bit (NaN as NaN):
/// numbers have the fewest digits that identify them, explicit zeros are written.
///
/// ```
/// use sparsetape::data::{Libsvm, LibsvmWriter};
/// let data = Libsvm::new().read_from("1 qid:7 3:0.5 1:-2e10\n".as_bytes())?;
/// let mut text = Vec::new();
/// LibsvmWriter::new().write(&mut text, &data)?;
/// assert_eq!(text, b"1 qid:7 1:-20000000000 3:0.5\n");
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LibsvmWriter {
    base: Option<IdBase>,
}

impl LibsvmWriter {
    /// A writer with the id base of the data set's schema.
    pub fn new() -> Self {
        LibsvmWriter::default()
    }

    /// What ids in the file count from.
    pub fn base(mut self, base: IdBase) -> Self {
        self.base = Some(base);
        self
    }

    /// Writes to a file, which is replaced.
    ///
    /// # Errors
    /// As [`write`](LibsvmWriter::write); [`ErrorKind::Io`] names the path.
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>, data: &Dataset) -> Result<()> {
        let path = path.as_ref();
        let rows = Rows::new(data, self.base)?;
        let file = File::create(path).map_err(path_error(path))?;
        rows.write(BufWriter::new(file)).map_err(path_error(path))
    }

    /// Writes one line per row; several labels are separated by commas.
    ///
    /// # Errors
    /// [`ErrorKind::Stype`] unless features are CSR and labels dense, [`ErrorKind::Shape`] if labels
    /// have more than two axes or the number of rows differs, [`ErrorKind::Value`] for a row without
    /// labels, query id and entries (its line would be blank) and for an id above 4294967295,
    /// [`ErrorKind::Io`] if writing fails.
    #[track_caller]
    pub fn write(&self, writer: impl Write, data: &Dataset) -> Result<()> {
        let rows = Rows::new(data, self.base)?;
        rows.write(BufWriter::new(writer)).map_err(|e| io_error("<writer>", e))
    }
}

/// Rows that can be written.
struct Rows<'a> {
    indptr: &'a [usize],
    ids: &'a [u32],
    values: Slice<'a>,
    first_id: u32,
    labels: Slice<'a>,
    label_columns: usize,
    qids: Option<&'a [i64]>,
}

impl<'a> Rows<'a> {
    #[track_caller]
    fn new(data: &'a Dataset, base: Option<IdBase>) -> Result<Self> {
        data.check()?;
        let (indptr, ids) = match (data.features.indptr(), data.features.indices()) {
            (Some(indptr), Some(ids)) => (indptr, ids),
            _ => return Err(refused(ErrorKind::Stype, "features are csr", &data.features)),
        };
        if data.labels.rows().is_some() || data.labels.indptr().is_some() {
            return Err(refused(ErrorKind::Stype, "labels are dense", &data.labels));
        }
        let label_columns = match data.labels.shape()[..] {
            [_] => 1,
            [_, columns] => columns,
            _ => {
                return Err(refused(ErrorKind::Shape, "labels have one or two axes", &data.labels));
            }
        };
        let qids = data.qids.as_ref().map(Tensor::values::<i64>).transpose()?;
        let first_id = base.unwrap_or(data.schema.base()).first_id();
        let labels = data.labels.view().values();
        let values = data.features.view().values();
        let rows = Rows { indptr, ids, values, first_id, labels, label_columns, qids };
        rows.check()?;
        Ok(rows)
    }

    #[track_caller]
    fn check(&self) -> Result<()> {
        if self.ids.iter().any(|id| id.checked_add(self.first_id).is_none()) {
            let message = "column 4294967295 has no id that counts from 1";
            return Err(Error::new(ErrorKind::Value, message).operator("write libsvm"));
        }
        let labelled = self.label_columns > 0 || self.qids.is_some();
        match self.indptr.windows(2).position(|w| w[0] == w[1]) {
            Some(row) if !labelled => {
                let message = format!("row {row} is empty: its line would be blank");
                Err(Error::new(ErrorKind::Value, message).operator("write libsvm"))
            }
            _ => Ok(()),
        }
    }

    fn write(&self, mut to: impl Write) -> std::io::Result<()> {
        let base = self.indptr[0];
        for (row, ends) in self.indptr.windows(2).enumerate() {
            for column in 0..self.label_columns {
                if column > 0 {
                    to.write_all(b",")?;
                }
                write_number(&mut to, self.labels, row * self.label_columns + column)?;
            }
            if let Some(qids) = self.qids {
                write!(to, " qid:{}", qids[row])?;
            }
            for k in ends[0] - base..ends[1] - base {
                write!(to, " {}:", self.ids[k] + self.first_id)?;
                write_number(&mut to, self.values, k)?;
            }
            to.write_all(b"\n")?;
        }
        to.flush()
    }
}

/// Writes a number with the fewest digits that identify it.
pub(crate) fn write_number(
    to: &mut impl Write,
    values: Slice<'_>,
    k: usize,
) -> std::io::Result<()> {
    match values {
        Slice::F32(v) if is_plain(f64::from(v[k].abs())) => write!(to, "{}", v[k]),
        Slice::F32(v) => write!(to, "{:e}", v[k]),
        Slice::F64(v) if is_plain(v[k].abs()) => write!(to, "{}", v[k]),
        Slice::F64(v) => write!(to, "{:e}", v[k]),
        Slice::I64(v) => write!(to, "{}", v[k]),
    }
}

#[track_caller]
fn refused(kind: ErrorKind, wanted: &str, got: &Tensor) -> Error {
    Error::new(kind, format!("{wanted}, got {}", got.ty())).operator("write libsvm")
}
