//! The libsvm / svmlight reader.

mod blocks;
mod collect;
mod hashed;
mod index;
mod input;
mod parse;
mod scan;
mod stream;

use std::io::Read;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use blocks::BlockReader;
use collect::{Ids, Source};
pub(super) use index::Index;
use input::Input;
use parse::{Grammar, LabelCount};
use scan::Decimal;
use stream::Chunks;
pub use stream::{Chunk, Stream};

use super::dataset::Dataset;
use super::hashing::FeatureHasher;
use super::schema::{IdBase, Schema};
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::DType;

/// What to do when a feature id occurs twice in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeated {
    /// Their values are added, in the order of the file.
    Sum,
    /// It is an error.
    #[default]
    Refuse,
}

/// What to do when an id is outside of the stated number of features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wider {
    /// It is an error.
    #[default]
    Refuse,
    /// The entry is left out and counted in [`Dataset::dropped`].
    Drop,
    /// The entry is counted there too, and its value added in this column (from 0): that of all features
    /// that training did not know.
    Bucket(u32),
}

/// What labels become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelMap {
    /// They stay as they are: any number, `nan` and `inf` included.
    #[default]
    Keep,
    /// -1 becomes 0; 0 and 1 stay; anything else is an error.
    PlusMinusOne,
}

impl LabelMap {
    fn apply<T: Decimal>(self, x: T) -> Option<T> {
        match self {
            LabelMap::Keep => Some(x),
            LabelMap::PlusMinusOne if x == -T::one() || x == T::zero() => Some(T::zero()),
            LabelMap::PlusMinusOne => (x == T::one()).then_some(x),
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            LabelMap::Keep => "a number",
            LabelMap::PlusMinusOne => "-1, 0 or 1",
        }
    }
}

/// Labels that are not in the lines of the features.
#[derive(Clone, Debug)]
enum SeparateLabels {
    Numbers(PathBuf),
    Entries(PathBuf, usize),
}

impl SeparateLabels {
    fn path(&self) -> &Path {
        match self {
            SeparateLabels::Numbers(path) | SeparateLabels::Entries(path, _) => path,
        }
    }
}

/// A reader of libsvm / svmlight text: options first, then [`read`](Libsvm::read),
/// [`read_files`](Libsvm::read_files), [`read_from`](Libsvm::read_from), or, for what does not fit memory,
/// [`stream_batches`](Libsvm::stream_batches) to train on and [`stream`](Libsvm::stream) to read once.
///
/// # Format
/// A line is a row:
///
/// ```text
/// label[,label...] [qid:number] id:value id:value ... # comment
/// ```
///
/// - Blanks are spaces, tabs and carriage returns; blank lines, lines with nothing but a comment,
///   and a byte order mark are skipped; the last line needs no line end.
/// - Several labels are separated by commas or blanks; labels are the numbers before the first
///   token with a colon, and there must be as many as [`label_columns`](Libsvm::label_columns) says.
/// - Either all rows have a query id or none.
/// - Ids are whole numbers up to 4294967295, in any order; they are sorted. Values and labels are
///   decimal numbers, with exponent if need be, or `inf`, `infinity`, `nan` in any case, rounded
///   correctly to the [`dtype`](Libsvm::dtype). Explicit zeros are stored. An id without a value
///   is an error.
///
/// Files that begin like a `.gz` file are decompressed (feature `gzip`), whatever their name. Other
/// regular files are mapped into memory and parsed in parallel: **nobody may change or truncate a
/// file while it is being read**. The result does not depend on the number of threads.
///
/// # Errors
/// [`ErrorKind::Parse`] errors begin with `file:line:column:` (the column counts bytes, from 1) and
/// quote the text at fault; [`ErrorKind::Io`] errors name the file.
///
/// ```
/// use sparsetape::data::Libsvm;
/// let error = Libsvm::new().read_from("1 1:0.5\n0 12x:1\n".as_bytes()).unwrap_err();
/// assert_eq!(error.to_string(), r#"<reader>:2:3: feature id "12x" is not a number"#);
/// ```
#[derive(Clone, Debug)]
pub struct Libsvm {
    dtype: DType,
    base: Option<IdBase>,
    features: Option<usize>,
    wider: Wider,
    repeated: Repeated,
    map: LabelMap,
    label_columns: usize,
    skip_labels: bool,
    separate_labels: Option<SeparateLabels>,
    hasher: Option<FeatureHasher>,
}

impl Default for Libsvm {
    fn default() -> Self {
        Libsvm {
            dtype: DType::F32,
            base: None,
            features: None,
            wider: Wider::Refuse,
            repeated: Repeated::Refuse,
            map: LabelMap::Keep,
            label_columns: 1,
            skip_labels: false,
            separate_labels: None,
            hasher: None,
        }
    }
}

/// Calls a generic method with the float type that the options name.
macro_rules! typed {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self.dtype {
            DType::F32 => $self.$method::<f32>($($argument),*),
            DType::F64 => $self.$method::<f64>($($argument),*),
            DType::I64 => {
                let message = "features are read as f32 or f64, not i64";
                Err(Error::new(ErrorKind::DType, message).operator("libsvm"))
            }
        }
    };
}

impl Libsvm {
    /// A reader of f32 values with one label per row, that finds id base and width out.
    pub fn new() -> Self {
        Libsvm::default()
    }

    /// The type of values and labels: f32 (the default) or f64.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// What ids count from. Otherwise it is found out: from 0 if any id of any file is 0, else
    /// from 1.
    pub fn base(mut self, base: IdBase) -> Self {
        self.base = Some(base);
        self
    }

    /// The number of features. Otherwise it is what the largest id asks for.
    pub fn features(mut self, features: usize) -> Self {
        self.features = Some(features);
        self
    }

    /// Base and number of features, as found when another file was read.
    pub fn schema(self, schema: Schema) -> Self {
        self.base(schema.base()).features(schema.features())
    }

    /// What to do with ids outside of the stated number of features; refused by default.
    ///
    /// ```
    /// use sparsetape::data::{Libsvm, Wider};
    /// let reader = Libsvm::new().features(4).wider(Wider::Bucket(3));
    /// let data = reader.read_from("1 1:1 9:0.5 800:2\n".as_bytes())?;
    /// assert_eq!(data.features.indices(), Some(&[0, 3][..]));
    /// assert_eq!(data.features.values::<f32>()?, [1.0, 2.5]);
    /// assert_eq!(data.dropped.entries, 2);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn wider(mut self, wider: Wider) -> Self {
        self.wider = wider;
        self
    }

    /// What to do with ids that occur twice in a row; refused by default.
    pub fn repeated(mut self, repeated: Repeated) -> Self {
        self.repeated = repeated;
        self
    }

    /// What labels become; kept by default.
    pub fn labels(mut self, map: LabelMap) -> Self {
        self.map = map;
        self
    }

    /// Number of labels in each line (of the label file, if there is one): 1 by default, which
    /// makes [`Dataset::labels`] `(rows,)`; otherwise it is `(rows, count)`. With 0, lines have
    /// entries only.
    ///
    /// ```
    /// use sparsetape::data::Libsvm;
    /// let data = Libsvm::new().label_columns(2).read_from("1,3 4:0.5\n0 2\n".as_bytes())?;
    /// assert_eq!(data.labels.shape()[..], [2, 2]);
    /// assert_eq!(data.labels.values::<f32>()?, [1.0, 3.0, 0.0, 2.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn label_columns(mut self, count: usize) -> Self {
        self.label_columns = count;
        self
    }

    /// Skips the labels in the lines, in any number: for rows to predict, which may have none.
    /// [`Dataset::labels`] is `(rows, 0)`.
    ///
    /// ```
    /// use sparsetape::data::Libsvm;
    /// let data = Libsvm::new().skip_labels().read_from("1 4:0.5\n2:3\n".as_bytes())?;
    /// assert_eq!((data.features.shape()[0], data.labels.shape()[1]), (2, 0));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn skip_labels(mut self) -> Self {
        (self.skip_labels, self.label_columns) = (true, 0);
        self
    }

    /// Takes the labels from lines of numbers in a separate file; its n-th row belongs to the n-th
    /// row of all files together. Labels in the lines of the features, in any number, are skipped.
    pub fn label_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.separate_labels = Some(SeparateLabels::Numbers(path.into()));
        self
    }

    /// Takes the labels from the entries of a separate libsvm file: [`Dataset::labels`] is then CSR,
    /// `(rows, columns)`. Its ids count from the same base as the features'. Labels in the lines of
    /// either file, in any number, are skipped. (MXNet: `label_libsvm`.)
    pub fn label_entries(mut self, path: impl Into<PathBuf>, columns: usize) -> Self {
        self.separate_labels = Some(SeparateLabels::Entries(path.into(), columns));
        self
    }

    /// Reads one file.
    ///
    /// # Errors
    /// See [`Libsvm`].
    #[track_caller]
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Dataset> {
        self.read_files(&[path])
    }

    /// Reads several files as if they were one: base and width are those of all together.
    ///
    /// ```
    /// # let directory = std::env::temp_dir();
    /// # let (a, b) = (directory.join("sparsetape-a.svm"), directory.join("sparsetape-b.svm"));
    /// # std::fs::write(&a, "1 1:0.5\n").unwrap();
    /// # std::fs::write(&b, "0 7:2\n").unwrap();
    /// use sparsetape::data::Libsvm;
    /// let data = Libsvm::new().read_files(&[a, b])?;
    /// assert_eq!(data.features.shape()[..], [2, 7]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// See [`Libsvm`].
    #[track_caller]
    pub fn read_files<P: AsRef<Path>>(&self, paths: &[P]) -> Result<Dataset> {
        typed!(self.read_inputs(files(paths)))
    }

    /// Reads text, compressed or not, to its end. Errors name it `<reader>`.
    ///
    /// # Errors
    /// See [`Libsvm`]; besides, [`ErrorKind::Parse`] for a line of more than 64 MiB.
    #[track_caller]
    pub fn read_from(&self, reader: impl Read + Send) -> Result<Dataset> {
        typed!(self.read_inputs(vec![Input::Reader(Box::new(reader))]))
    }

    /// Finds base and number of features out, in bounded memory.
    ///
    /// # Errors
    /// As reading the files would give.
    #[track_caller]
    pub fn find_schema<P: AsRef<Path>>(&self, paths: &[P]) -> Result<Schema> {
        typed!(self.find_schema_as(files(paths)))
    }

    /// Reads files chunk by chunk, in memory that depends on the chunk alone. Base and number of
    /// features must be stated, because a stream cannot look ahead:
    /// [`find_schema`](Libsvm::find_schema) reads the files once more for that.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join("sparsetape-stream.svm");
    /// # std::fs::write(&path, "1 1:0.5\n0 3:2\n1 2:1\n").unwrap();
    /// use sparsetape::data::{Chunk, Libsvm};
    /// let paths = [path];
    /// let reader = Libsvm::new().schema(Libsvm::new().find_schema(&paths)?);
    /// let mut rows = Vec::new();
    /// for chunk in reader.stream(&paths, Chunk::Rows(2))? {
    ///     rows.push(chunk?.rows());
    /// }
    /// assert_eq!(rows, [2, 1]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::State`] unless base and number of features are stated, [`ErrorKind::Value`] for
    /// an empty chunk. Files are opened when their turn comes: see [`Libsvm`] for the errors of the
    /// chunks, and [`ErrorKind::Parse`] for a line of more than 64 MiB.
    #[track_caller]
    pub fn stream<P: AsRef<Path>>(&self, paths: &[P], chunk: Chunk) -> Result<Stream<'static>> {
        typed!(self.stream_inputs(files(paths), chunk))
    }

    /// Reads text chunk by chunk, as [`stream`](Libsvm::stream) does. Errors name it `<reader>`.
    ///
    /// # Errors
    /// As [`stream`](Libsvm::stream).
    #[track_caller]
    pub fn stream_from<'a>(
        &self,
        reader: impl Read + Send + 'a,
        chunk: Chunk,
    ) -> Result<Stream<'a>> {
        typed!(self.stream_inputs(vec![Input::Reader(Box::new(reader))], chunk))
    }

    #[track_caller]
    fn grammar(&self) -> Result<Grammar> {
        let (base, features) = self.base_and_features()?;
        let labels = match self.skip_labels || self.separate_labels.is_some() {
            true => LabelCount::Ignored,
            false => LabelCount::Exactly(self.label_columns),
        };
        Ok(Grammar {
            base,
            features,
            wider: self.wider,
            repeated: self.repeated,
            hasher: self.hasher,
            labels,
            map: self.map,
        })
    }

    /// What the separate label file must look like.
    fn label_grammar(&self, base: IdBase, grammar: Grammar) -> Option<Grammar> {
        let separate = self.separate_labels.as_ref()?;
        let (columns, labels) = match *separate {
            SeparateLabels::Numbers(_) => (0, LabelCount::Exactly(self.label_columns)),
            SeparateLabels::Entries(_, columns) => (columns, LabelCount::Ignored),
        };
        Some(Grammar {
            base: Some(base),
            features: Some(columns),
            wider: Wider::Refuse,
            hasher: None,
            labels,
            ..grammar
        })
    }

    /// The separate label file.
    fn label_source(&self, base: IdBase, grammar: Grammar) -> Option<Source<'static>> {
        let path = self.separate_labels.as_ref()?.path();
        Some(Source::new(files(&[path]), self.label_grammar(base, grammar)?))
    }

    /// Base and number of features, which a stream must be told.
    #[track_caller]
    pub(super) fn stated(&self) -> Result<Schema> {
        let grammar = self.grammar()?;
        let (Some(base), Some(features)) = (grammar.base, grammar.features) else {
            let message = "a stream needs the id base and the number of features: \
                           state them, or find them with `find_schema`";
            return Err(Error::new(ErrorKind::State, message).operator("libsvm"));
        };
        Schema::new(base, features)
    }

    /// Reads the blocks of an index.
    #[track_caller]
    pub(super) fn block_reader(&self, index: Arc<Index>) -> Result<BlockReader> {
        typed!(self.block_reader_as(index))
    }

    fn read_inputs<T: Decimal>(&self, inputs: Vec<Input<'_>>) -> Result<Dataset> {
        let grammar = self.grammar()?;
        let rows = Source::new(inputs, grammar).take_all::<T>()?;
        let schema = rows.ids.schema(&grammar)?;
        let labels = self.label_source(schema.base(), grammar).map(Source::take_all).transpose()?;
        self.assemble(rows, labels, schema, 0)
    }

    fn find_schema_as<T: Decimal>(&self, inputs: Vec<Input<'_>>) -> Result<Schema> {
        const CHUNK: usize = 32 << 20;
        let grammar = self.grammar()?;
        let mut source = Source::new(inputs, grammar);
        let mut ids = Ids::default();
        loop {
            let chunk = source.take::<T>(usize::MAX, CHUNK)?;
            if chunk.bytes == 0 {
                return ids.schema(&grammar);
            }
            ids.merge(chunk.ids);
        }
    }

    #[track_caller]
    fn stream_inputs<'a, T: Decimal>(
        &self,
        inputs: Vec<Input<'a>>,
        chunk: Chunk,
    ) -> Result<Stream<'a>> {
        let (grammar, schema) = (self.grammar()?, self.stated()?);
        Ok(Stream::new(Chunks::<T> {
            options: self.clone(),
            schema,
            chunk: chunk.checked()?,
            source: Source::new(inputs, grammar),
            labels: self.label_source(schema.base(), grammar),
            ended: false,
            done: 0,
            element: PhantomData,
        }))
    }
}

fn files<P: AsRef<Path>>(paths: &[P]) -> Vec<Input<'static>> {
    paths.iter().map(|path| Input::File(path.as_ref().to_path_buf())).collect()
}
