//! `Display` and `Debug`: a type line, then a few rows.

use std::fmt;

use super::dtype::Slice;
use super::pattern::Pattern;
use super::{Layout, Tensor, row_len};

/// Positions shown along an axis before it is cut to its ends.
const SHOWN: usize = 6;
/// Rows of a dense tensor shown in all, over its outer axes.
const DENSE_ROWS: usize = 36;
/// Lines stay about this short.
const WIDTH: usize = 96;

/// The type line, then up to six rows (first and last) with up to six values each. A precision
/// (`{:.2}`) sets the decimals.
///
/// ```
/// use sparsetape::Tensor;
/// let x = Tensor::csr([2, 4], vec![0, 2, 3], vec![1, 3, 0], vec![0.5f32, 2.0, -1.0])?;
/// assert_eq!(x.to_string(), "\
/// csr f32 (2, 4), 3 stored (37.5 %), 48 B
/// 0: 1=0.5  3=2
/// 1: 0=-1");
/// # Ok::<(), sparsetape::Error>(())
/// ```
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_type_line(f)?;
        let cells = Cells { values: self.values.as_slice(), decimals: f.precision() };
        match &self.layout {
            Layout::Dense => write_dense(f, &self.shape, cells),
            Layout::Csr(pattern) => write_csr(f, pattern, cells),
            Layout::RowSparse(rows) => write_row_sparse(f, &self.shape, rows, cells),
        }
    }
}

/// The type line and the first stored values, on one line.
///
/// ```
/// use sparsetape::Tensor;
/// let x = Tensor::dense([2, 2], vec![1.0f32, 2.0, 3.0, 4.0])?;
/// assert_eq!(format!("{x:?}"), "Tensor(default f32 (2, 2), 16 B, [1, 2, 3, 4])");
/// # Ok::<(), sparsetape::Error>(())
/// ```
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = Cells { values: self.values.as_slice(), decimals: f.precision() };
        let mut few: Vec<String> = (0..self.nnz().min(SHOWN)).map(|i| cells.text(i)).collect();
        if self.nnz() > SHOWN {
            few.push("…".into());
        }
        f.write_str("Tensor(")?;
        self.write_type_line(f)?;
        write!(f, ", [{}])", few.join(", "))
    }
}

impl Tensor {
    fn write_type_line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.stype(), self.dtype(), self.shape())?;
        let (stored, what) = match &self.layout {
            Layout::Dense => (None, ""),
            Layout::Csr(pattern) => (Some(pattern.nnz()), "stored"),
            Layout::RowSparse(rows) if rows.len() == 1 => (Some(1), "row stored"),
            Layout::RowSparse(rows) => (Some(rows.len()), "rows stored"),
        };
        let places: f64 = match &self.layout {
            Layout::RowSparse(_) => self.shape[0] as f64,
            _ => self.shape.iter().map(|&d| d as f64).product(),
        };
        if let Some(stored) = stored {
            let percent = if places > 0.0 { 100.0 * stored as f64 / places } else { 0.0 };
            write!(f, ", {stored} {what} ({} %)", significant(percent, 3))?;
        }
        write!(f, ", {}", bytes(self.bytes()))
    }
}

/// Stored values and how to print them.
#[derive(Clone, Copy)]
struct Cells<'a> {
    values: Slice<'a>,
    decimals: Option<usize>,
}

impl Cells<'_> {
    fn text(self, i: usize) -> String {
        match (self.values, self.decimals) {
            (Slice::I64(ids), _) => ids[i].to_string(),
            (values, Some(decimals)) => format!("{:.*}", decimals.min(17), values.get_f64(i)),
            (values, None) => significant(values.get_f64(i), 5),
        }
    }
}

/// `x` with so many significant digits and no trailing zeros; very large and small ones as `1e-7`.
fn significant(x: f64, digits: usize) -> String {
    if x == 0.0 || !x.is_finite() {
        return x.to_string();
    }
    let scientific = format!("{:.*e}", digits - 1, x);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let magnitude: i32 = exponent.parse().unwrap_or(0);
    if !(-4..7).contains(&magnitude) {
        return format!("{}e{exponent}", without_zeros(mantissa));
    }
    let decimals = usize::try_from(digits as i32 - 1 - magnitude).unwrap_or(0);
    without_zeros(&format!("{x:.decimals$}")).to_string()
}

fn without_zeros(number: &str) -> &str {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    }
}

/// Whether `{}` writes a number of this size without the many zeros of a very large or small one, which `{:e}` is for.
pub(crate) fn is_plain(size: f64) -> bool {
    size == 0.0 || !size.is_finite() || (1e-5..1e16).contains(&size)
}

/// An amount of memory, in the largest unit of which there is at least one.
pub(crate) fn bytes(n: usize) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let unit = (0..units.len() - 1).find(|&u| n < 1000usize.pow(u as u32 + 1)).unwrap_or(4);
    match unit {
        0 => format!("{n} B"),
        _ => format!("{} {}", significant(n as f64 / 1000f64.powi(unit as i32), 3), units[unit]),
    }
}

/// The positions shown of `0..len` when at most `shown` are; `None` stands for the gap.
fn ends(len: usize, shown: usize) -> Vec<Option<usize>> {
    if len <= shown {
        return (0..len).map(Some).collect();
    }
    let (head, tail) = (shown.div_ceil(2), shown / 2);
    (0..head).map(Some).chain([None]).chain((len - tail..len).map(Some)).collect()
}

fn write_csr(f: &mut fmt::Formatter<'_>, pattern: &Pattern, cells: Cells<'_>) -> fmt::Result {
    let rows = ends(pattern.rows(), SHOWN);
    let label = rows.last().copied().flatten().unwrap_or(0).to_string().len();
    for row in rows {
        match row {
            None => write!(f, "\n{:>label$}", "…")?,
            Some(row) => {
                let line = format!("{row:>label$}: {}", csr_entries(pattern, row, cells));
                write!(f, "\n{}", line.trim_end())?;
            }
        }
    }
    Ok(())
}

fn csr_entries(pattern: &Pattern, row: usize, cells: Cells<'_>) -> String {
    let range = pattern.row_range(row);
    let mut line = String::new();
    for k in range.clone() {
        let entry = format!("{}={}", pattern.indices()[k], cells.text(k));
        if !line.is_empty() && line.len() + entry.len() + 2 > WIDTH - 24 {
            let rest = range.end - k;
            line.push_str(&format!("  … {rest} more"));
            break;
        }
        line.push_str(if line.is_empty() { "" } else { "  " });
        line.push_str(&entry);
    }
    line
}

fn write_row_sparse(
    f: &mut fmt::Formatter<'_>,
    shape: &[usize],
    ids: &[u32],
    cells: Cells<'_>,
) -> fmt::Result {
    let k = row_len(shape);
    let label = ids.last().map_or(0, |id| id.to_string().len());
    for position in ends(ids.len(), SHOWN) {
        let Some(n) = position else {
            write!(f, "\n{:>1$}", "…", label + 4)?;
            continue;
        };
        write!(f, "\nrow {:>label$}: ", ids[n])?;
        match shape.len() {
            1 => f.write_str(&cells.text(n))?,
            _ => write!(f, "[{}]", row_text(n * k, k, cells, 0, row_width(k, n * k, cells)))?,
        }
    }
    Ok(())
}

/// How many positions of a row of length `k` fit a line, given its widest shown value.
fn row_width(k: usize, start: usize, cells: Cells<'_>) -> usize {
    let shown = ends(k, SHOWN).into_iter().flatten();
    let widest = shown.map(|j| cells.text(start + j).len()).max().unwrap_or(0);
    fitting(widest)
}

fn fitting(widest: usize) -> usize {
    [SHOWN, 4].into_iter().find(|n| (n + 1) * (widest + 2) <= WIDTH - 16).unwrap_or(2)
}

fn row_text(start: usize, k: usize, cells: Cells<'_>, width: usize, shown: usize) -> String {
    let text = |position: Option<usize>| match position {
        Some(j) => format!("{:>width$}", cells.text(start + j)),
        None => "…".to_string(),
    };
    ends(k, shown).into_iter().map(text).collect::<Vec<_>>().join(", ")
}

fn write_dense(f: &mut fmt::Formatter<'_>, shape: &[usize], cells: Cells<'_>) -> fmt::Result {
    let Some((&k, outer)) = shape.split_last() else {
        return write!(f, "\n{}", cells.text(0));
    };
    if shape.contains(&0) {
        return f.write_str("\n[]");
    }
    let mut dense = Dense { shape, cells, shown: outer_shown(outer), width: 0, lines: Vec::new() };
    dense.shown.push(SHOWN.min(k));
    dense.width = dense.widest(0, 0);
    dense.shown[outer.len()] = fitting(dense.width);
    dense.collect(0, 0, &"[".repeat(shape.len()), &"]".repeat(shape.len()));
    dense.lines.iter().try_for_each(|line| write!(f, "\n{line}"))
}

/// How many positions of each outer axis to show, so that the rows in all stay few.
fn outer_shown(outer: &[usize]) -> Vec<usize> {
    let mut rows = 1;
    let mut shown: Vec<usize> = outer
        .iter()
        .rev()
        .map(|&len| {
            let wanted = len.min(SHOWN);
            let taken = if rows * wanted <= DENSE_ROWS { wanted } else { 1 };
            rows *= taken;
            taken
        })
        .collect();
    shown.reverse();
    shown
}

/// Collects the lines of a dense tensor.
struct Dense<'a> {
    shape: &'a [usize],
    cells: Cells<'a>,
    shown: Vec<usize>,
    width: usize,
    lines: Vec<String>,
}

impl Dense<'_> {
    /// Length of the longest shown value from `axis` on, where `start` is the first element.
    fn widest(&self, axis: usize, start: usize) -> usize {
        if axis == self.shape.len() {
            return self.cells.text(start).len();
        }
        let step: usize = self.shape[axis + 1..].iter().product();
        let shown = ends(self.shape[axis], self.shown[axis]).into_iter().flatten();
        shown.map(|i| self.widest(axis + 1, start + i * step)).max().unwrap_or(0)
    }

    /// `open` and `close` are the brackets around this block as its first and last lines show them.
    fn collect(&mut self, axis: usize, start: usize, open: &str, close: &str) {
        let last_axis = self.shape.len() - 1;
        if axis == last_axis {
            let row =
                row_text(start, self.shape[axis], self.cells, self.width, self.shown[last_axis]);
            self.lines.push(format!("{open}{row}{close}"));
            return;
        }
        let step: usize = self.shape[axis + 1..].iter().product();
        let positions = ends(self.shape[axis], self.shown[axis]);
        let (indent, depth) = (" ".repeat(axis + 1), last_axis - axis);
        for (n, position) in positions.iter().enumerate() {
            let last = n + 1 == positions.len();
            let close = if last { close.to_string() } else { "]".repeat(depth) + "," };
            let Some(i) = position else {
                let end = if last { &close[depth..] } else { "" };
                self.lines.push(format!("{indent}…{end}"));
                continue;
            };
            let open = if n == 0 { open.to_string() } else { indent.clone() + &"[".repeat(depth) };
            self.collect(axis + 1, start + i * step, &open, &close);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::significant;
    use crate::{Stype, Tensor};

    fn counted(shape: &[usize]) -> Tensor {
        let size = shape.iter().product::<usize>();
        Tensor::dense(shape, (0..size).map(|i| i as f32 / 4.0).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn numbers() {
        let shown = [0.0, -0.0, 1.0, 0.1f32 as f64, 1234.5678, -1e-5, 2.5e9, 1e6, f64::NAN, 1e300];
        let texts = shown.map(|x| significant(x, 5)).join(" ");
        assert_eq!(texts, "0 -0 1 0.1 1234.6 -1e-5 2.5e9 1000000 NaN 1e300");
        assert_eq!(significant(f64::NEG_INFINITY, 5), "-inf");
    }

    #[test]
    fn dense() {
        assert_eq!(Tensor::scalar(7i64).to_string(), "default i64 (), 8 B\n7");
        assert_eq!(
            counted(&[2, 3]).to_string(),
            "default f32 (2, 3), 24 B\n[[   0, 0.25,  0.5],\n [0.75,    1, 1.25]]"
        );
        assert_eq!(
            counted(&[2, 1, 2]).to_string(),
            "default f32 (2, 1, 2), 16 B\n[[[   0, 0.25]],\n [[ 0.5, 0.75]]]"
        );
        assert_eq!(
            counted(&[9]).to_string(),
            "default f32 (9,), 36 B\n[   0, 0.25,  0.5, …,  1.5, 1.75,    2]"
        );
        assert_eq!(
            format!("{:.1}", counted(&[8, 2])),
            "default f32 (8, 2), 64 B\n[[0.0, 0.2],\n [0.5, 0.8],\n [1.0, 1.2],\n …\n [2.5, 2.8],\n [3.0, 3.2],\n [3.5, 3.8]]"
        );
        let empty = Tensor::dense([3, 0], Vec::<f32>::new()).unwrap();
        assert_eq!(empty.to_string(), "default f32 (3, 0), 0 B\n[]");
    }

    #[test]
    fn many_axes_stay_short() {
        let x = counted(&[2; 12]);
        assert_eq!(x.to_string().lines().count(), 39);
        let ends_in_gap = counted(&[50, 6, 6, 2]).to_string();
        assert!(ends_in_gap.ends_with("17.75]]],\n …]"), "{ends_in_gap}");
    }

    #[test]
    fn csr() {
        let long: Vec<(usize, f32)> = (0..100).map(|j| (j, 0.5)).collect();
        let x = Tensor::from_rows(1000, &[vec![(3, 1.5f32)], vec![], long]).unwrap();
        assert_eq!(
            x.to_string(),
            "csr f32 (3, 1000), 101 stored (3.37 %), 840 B\n0: 3=1.5\n1:\n2: 0=0.5  1=0.5  2=0.5  \
             3=0.5  4=0.5  5=0.5  6=0.5  7=0.5  8=0.5  9=0.5  … 90 more"
        );
        let tall = Tensor::from_triplets([12, 2], &[(0, 1, 2i64), (11, 0, 3)]).unwrap();
        assert_eq!(
            tall.to_string(),
            "csr i64 (12, 2), 2 stored (8.33 %), 128 B\n 0: 1=2\n 1:\n 2:\n …\n 9:\n10:\n11: 0=3"
        );
    }

    #[test]
    fn row_sparse() {
        let x = Tensor::row_sparse([1_000_000, 2], vec![3, 70], vec![0.1f32, 1.0, 2.0, 3.0]);
        let x = x.unwrap();
        assert_eq!(
            x.to_string(),
            "row_sparse f32 (1000000, 2), 2 rows stored (0.0002 %), 24 B\n\
             row  3: [0.1, 1]\nrow 70: [2, 3]"
        );
        assert_eq!(
            format!("{x:?}"),
            "Tensor(row_sparse f32 (1000000, 2), 2 rows stored (0.0002 %), 24 B, [0.1, 1, 2, 3])"
        );
        let all = counted(&[8, 1]).cast_storage(Stype::RowSparse).unwrap();
        assert_eq!(all.to_string().lines().nth(4), Some("    …"));
        let flat = Tensor::row_sparse([4], vec![2], vec![5i64]).unwrap();
        assert!(flat.to_string().ends_with("1 row stored (25 %), 12 B\nrow 2: 5"));
    }
}
