//! What operators cost: calls, time and bytes, by operator and table row.

use std::fmt;
use std::time::{Duration, Instant};

use super::dyn_op::DynOp;
use super::execute::Plan;
use super::memory::Made;
use super::op::Read;
use super::{Tape, Workspace};
use crate::tensor::display::bytes;
use crate::tensor::{DType, Stype, View, row_len, size_of};

/// What the operators that ran have cost: a row for each operator, combination of storage types (so
/// each kernel) and element type. From [`Tape::profile`] or
/// [`Executor::profile`](crate::Executor::profile); prints as a table, the dearest row first.
///
/// ```
/// use sparsetape::{Stype, Tape, Tensor};
/// let tape = Tape::new();
/// tape.start_profile();
/// let x = tape.constant(Tensor::csr([1, 9], vec![0, 1], vec![4], vec![2.0f32])?);
/// let w = tape.variable(Tensor::full([9, 1], 0.5f32)?);
/// x.dot(w).sum().backward()?;
/// let profile = tape.stop_profile();
/// println!("{profile}");
/// let backward = profile.rows().iter().find(|row| row.out == Stype::RowSparse).unwrap();
/// assert_eq!((&backward.operator[..], backward.calls), ("dot", 1));
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Profile {
    rows: Vec<ProfileRow>,
}

/// The cost of one kernel, over all its calls.
///
/// Bytes are those of stored values, column ids, row ids and row pointers: what an algorithm has to move
/// at least, were nothing in a cache.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProfileRow {
    /// The operator's [label](crate::Op::label).
    pub operator: String,
    /// Storage types of the operands.
    pub ins: Vec<Stype>,
    /// Storage type of the result.
    pub out: Stype,
    /// Element type of the result.
    pub dtype: DType,
    /// How often it ran. Calls that failed do not count.
    pub calls: u64,
    /// Time in the kernel, of all calls.
    pub time: Duration,
    /// Bytes of the operands as far as the kernel [reads](crate::Op::reads) them. Of a table in which rows
    /// are looked up that is a row for every id, at most the whole table.
    pub read: usize,
    /// Bytes of the results, but for what they share with an operand.
    pub written: usize,
}

impl ProfileRow {
    /// Time of one call.
    pub fn mean(&self) -> Duration {
        self.time.div_f64(self.calls.max(1) as f64)
    }

    /// Bytes read and written per second; 0 where no time was measured.
    pub fn bytes_per_second(&self) -> f64 {
        match self.time.as_secs_f64() {
            0.0 => 0.0,
            seconds => (self.read + self.written) as f64 / seconds,
        }
    }

    fn is_of(&self, op: &dyn DynOp, plan: &Plan, ins: &[View<'_>]) -> bool {
        (self.dtype, self.out) == (plan.dtype, plan.stype)
            && self.ins.iter().copied().eq(ins.iter().map(View::stype))
            && self.operator == op.label()
    }
}

impl Profile {
    /// The rows, the one that took most time first.
    pub fn rows(&self) -> &[ProfileRow] {
        &self.rows
    }

    /// Calls of all operators.
    pub fn calls(&self) -> u64 {
        self.rows.iter().map(|row| row.calls).sum()
    }

    /// Time in all kernels.
    pub fn time(&self) -> Duration {
        self.rows.iter().map(|row| row.time).sum()
    }

    fn sorted(mut self) -> Profile {
        self.rows.sort_by_key(|row| std::cmp::Reverse(row.time));
        self
    }

    fn row(&mut self, op: &dyn DynOp, plan: &Plan, ins: &[View<'_>]) -> &mut ProfileRow {
        let known = self.rows.iter().position(|row| row.is_of(op, plan, ins));
        let at = known.unwrap_or_else(|| {
            self.rows.push(ProfileRow {
                operator: op.label().into_owned(),
                ins: ins.iter().map(View::stype).collect(),
                out: plan.stype,
                dtype: plan.dtype,
                calls: 0,
                time: Duration::ZERO,
                read: 0,
                written: 0,
            });
            self.rows.len() - 1
        });
        &mut self.rows[at]
    }

    /// Counts a call that began then and has just ended.
    pub(super) fn count(
        &mut self,
        op: &dyn DynOp,
        plan: &Plan,
        ins: &[View<'_>],
        made: &Made,
        began: Instant,
    ) {
        let time = began.elapsed();
        let row = self.row(op, plan, ins);
        row.calls += 1;
        row.time += time;
        row.read += (0..ins.len()).map(|i| bytes_read(op, ins, i)).sum::<usize>();
        row.written += bytes_written(plan, ins, made);
    }
}

/// The memory of a value: row pointers or row ids, column ids, values.
fn parts<'a>(view: &View<'a>) -> [&'a [u8]; 3] {
    let values = view.values().bytes();
    match view {
        View::Dense(_) => [&[], &[], values],
        View::RowSparse(v) => [bytemuck::cast_slice(v.rows), &[], values],
        View::Csr(v) => {
            let (indptr, indices) = v.pattern.parts();
            [bytemuck::cast_slice(indptr), bytemuck::cast_slice(indices), values]
        }
    }
}

/// Number of stored values; also of an operand whose memory became the result's.
fn stored(view: &View<'_>) -> usize {
    match view {
        View::Dense(v) => size_of(v.shape()),
        _ => view.values().len(),
    }
}

fn bytes_read(op: &dyn DynOp, ins: &[View<'_>], i: usize) -> usize {
    let [a, b, _] = parts(&ins[i]).map(<[u8]>::len);
    let values = stored(&ins[i]) * ins[i].dtype().size();
    match op.reads(i) {
        Read::Shape | Read::View => 0,
        Read::Pattern => a + b,
        Read::All => a + b + values,
        Read::RowsOf(j) => {
            let row = row_len(ins[i].shape()).saturating_mul(ins[i].dtype().size());
            a + b + values.min(row.saturating_mul(stored(&ins[j])))
        }
    }
}

fn bytes_written(plan: &Plan, ins: &[View<'_>], made: &Made) -> usize {
    let Made::Value(layout, values) = made else { return 0 };
    let shared = |part: &[u8]| ins.iter().flat_map(parts).any(|own| own.as_ptr() == part.as_ptr());
    let result = parts(&layout.view(&plan.shape, values));
    result.into_iter().filter(|part| !shared(part)).map(<[u8]>::len).sum()
}

impl Workspace {
    pub(crate) fn start_profile(&mut self) {
        self.profile = Some(Profile::default());
    }

    pub(crate) fn profile(&self) -> Profile {
        self.profile.clone().unwrap_or_default().sorted()
    }

    pub(crate) fn stop_profile(&mut self) -> Profile {
        self.profile.take().unwrap_or_default().sorted()
    }
}

impl Tape {
    /// From now on every operator that this tape runs is measured, those that backward rules record
    /// included; what was measured before is forgotten. Costs nothing unless it is on: no clock is read.
    ///
    /// Clearing the tape keeps the measurements. Operators on plain [`Tensor`](crate::Tensor)s and the steps
    /// of optimizers are not seen.
    pub fn start_profile(&self) {
        self.workspace.borrow_mut().start_profile();
    }

    /// What was measured since [`Tape::start_profile`]; nothing if that is off.
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// tape.start_profile();
    /// let x = tape.constant(Tensor::full([2, 2], 1.0f32)?);
    /// x.exp().exp();
    /// let profile = tape.profile();
    /// let exp = &profile.rows()[0];
    /// assert_eq!((&exp.operator[..], exp.calls, exp.read, exp.written), ("exp", 2, 32, 32));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn profile(&self) -> Profile {
        self.workspace.borrow().profile()
    }

    /// Ends measuring, and gives what was measured.
    pub fn stop_profile(&self) -> Profile {
        self.workspace.borrow_mut().stop_profile()
    }
}

const HEAD: [&str; 9] =
    ["operator", "storage types", "calls", "time", "mean", "share", "read", "written", "GB/s"];

/// Columns that are words, before those that are numbers.
const WORDS: usize = 2;

impl Profile {
    fn cells(&self, row: &ProfileRow) -> [String; 9] {
        let ins: Vec<String> = row.ins.iter().map(Stype::to_string).collect();
        let share = row.time.as_secs_f64() / self.time().as_secs_f64().max(f64::MIN_POSITIVE);
        [
            row.operator.clone(),
            format!("{} -> {} {}", ins.join(", "), row.out, row.dtype),
            row.calls.to_string(),
            format!("{:.1?}", row.time),
            format!("{:.1?}", row.mean()),
            format!("{:.1} %", 100.0 * share),
            bytes(row.read),
            bytes(row.written),
            format!("{:.2}", row.bytes_per_second() / 1e9),
        ]
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = HEAD.map(str::to_owned);
        let lines: Vec<[String; 9]> =
            std::iter::once(head).chain(self.rows.iter().map(|row| self.cells(row))).collect();
        let widths: [usize; 9] = std::array::from_fn(|at| {
            lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0)
        });
        for line in &lines {
            for (cell, width) in line.iter().zip(widths).take(WORDS) {
                write!(f, "{cell:<width$}  ")?;
            }
            let numbers = line.iter().zip(widths).skip(WORDS);
            let numbers: Vec<String> = numbers.map(|(cell, w)| format!("{cell:>w$}")).collect();
            writeln!(f, "{}", numbers.join("  "))?;
        }
        write!(f, "{} calls, {:.1?}", self.calls(), self.time())
    }
}
