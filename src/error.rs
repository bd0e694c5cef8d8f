//! The crate's one error type.
//!
//! An [`Error`] names the operator that failed, its operands' types, the offending position and
//! bound, and the line of *user* code that asked for it. Branch on [`Error::kind`], print the rest.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, for programs that branch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Shapes do not fit together, or a buffer's length does not fit its shape.
    Shape,
    /// A storage type does not support the request.
    Stype,
    /// Element types differ or are not supported; `cast` converts.
    DType,
    /// An index is out of bounds, repeated or out of order.
    Index,
    /// A value is outside the operator's domain.
    Value,
    /// Malformed text or file contents.
    Parse,
    /// The operating system refused a read or write.
    Io,
    /// A derivative was asked for that does not exist.
    NotDifferentiable,
    /// An operand would be made dense under [`Fallback::Deny`](crate::Fallback::Deny).
    Fallback,
    /// A parameter changed after the tape recorded a read of it.
    Stale,
    /// A parameter is being read while an update wants it, or the other way round.
    Busy,
    /// NaN or infinity appeared while detection was on.
    NonFinite,
    /// The request is valid, but not in this state (for example variables of two tapes).
    State,
    /// A gradient or an operator check found a difference.
    Check,
}

/// An error with its operator, operands, message and source line.
///
/// ```
/// use sparsetape::{ErrorKind, Tensor};
/// let error = Tensor::csr([1, 3], vec![0, 1], vec![7], vec![1.0f32]).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Index);
/// assert!(error.to_string().contains("indices[0] = 7 in row 0, but there are 3 columns"));
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    operator: Option<String>,
    within: Option<&'static str>,
    operands: Vec<String>,
    message: String,
    line: Option<Line>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error located at the caller's source line.
    #[track_caller]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Arc::new(Inner {
            kind,
            operator: None,
            within: None,
            operands: Vec::new(),
            message: message.into(),
            line: Some(Line::Code(Location::caller())),
            source: None,
        }))
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The same error, naming the operator (or function) that failed, unless one is named already.
    pub fn operator(self, name: impl Into<String>) -> Self {
        self.with(|e| {
            e.operator.get_or_insert_with(|| name.into());
        })
    }

    /// The same error, naming the composition of operators that failed, or that called the one that
    /// did.
    pub(crate) fn within(self, composition: &'static str) -> Self {
        self.with(|e| match e.operator {
            None => e.operator = Some(composition.to_owned()),
            Some(_) => e.within = Some(composition),
        })
    }

    /// The same error, listing the operands' types.
    pub fn operands<I: fmt::Display>(self, operands: impl IntoIterator<Item = I>) -> Self {
        self.with(|e| e.operands = operands.into_iter().map(|o| o.to_string()).collect())
    }

    /// The same error at another source line.
    pub fn at(self, location: &'static Location<'static>) -> Self {
        self.at_line(Line::Code(location))
    }

    pub(crate) fn at_line(self, line: Line) -> Self {
        self.with(|e| e.line = Some(line))
    }

    /// The same error without a source line, for faults that are in a file or in what was typed rather
    /// than in code.
    pub fn nowhere(self) -> Self {
        self.with(|e| e.line = None)
    }

    /// The same error with the lower-level error that caused it.
    pub fn caused_by(self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.with(|e| e.source = Some(Arc::new(source)))
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The operator or function that failed.
    pub fn operator_name(&self) -> Option<&str> {
        self.0.operator.as_deref()
    }

    /// The operands' types, as printed.
    pub fn operand_types(&self) -> &[String] {
        &self.0.operands
    }

    /// The message without operator, operands and line.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The line of user code that recorded or called the failing operation; `None` where it is not of
    /// this program, but of the one that made a file.
    pub fn location(&self) -> Option<&'static Location<'static>> {
        match self.0.line {
            Some(Line::Code(location)) => Some(location),
            _ => None,
        }
    }
}

/// A line of user code.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Line {
    /// Of this program.
    Code(&'static Location<'static>),
    /// Of the program that wrote a file.
    Text(Arc<str>),
}

impl From<&'static Location<'static>> for Line {
    fn from(location: &'static Location<'static>) -> Self {
        Line::Code(location)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Code(location) => location.fmt(f),
            Line::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if let Some(operator) = &inner.operator {
            f.write_str(operator)?;
            if !inner.operands.is_empty() {
                write!(f, "({})", inner.operands.join(", "))?;
            }
            if let Some(composition) = inner.within.filter(|name| name != operator) {
                write!(f, " in {composition}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&inner.message)?;
        if let Some(source) = &inner.source {
            write!(f, ": {source}")?;
        }
        match &inner.line {
            Some(at) => write!(f, " (at {at})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}
