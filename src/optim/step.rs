//! How a step runs, whatever the optimizer: all parameters are locked, then moved one after the other.

use std::borrow::Cow;
use std::sync::RwLockWriteGuard;

use smallvec::SmallVec;

use super::Update;
use super::settings::{Now, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::memory::Temp;
use crate::kernels::spmm::ABSENT;
use crate::kernels::update::missed::Missed;
use crate::kernels::update::{Rule, update_all_but, update_rows};
use crate::tape::{GradReq, Gradients, Parameter, Params, Table};
use crate::tensor::{DType, Real, Stype, Tensor};

/// An optimizer's mathematics.
pub(super) trait Method {
    /// The name in errors.
    const NAME: &'static str;

    /// The arithmetic of one step.
    type Rule<T: Real>;

    fn rule<T: Real>(&self, now: &Now) -> Self::Rule<T>;

    /// Refuses numbers that no step can be made with.
    #[track_caller]
    fn check(&self, _: &Now) -> Result<()> {
        Ok(())
    }

    /// Keeps what rows without a gradient miss; none where a gradient of zeros moves nothing.
    fn missed(&self, settings: &Settings) -> Option<fn() -> Missed>;

    /// Adds the step of [`Method::rule`] to what is missed: one step, whatever its numbers.
    fn miss<T: Real>(&self, now: &Now, missed: &mut Missed);

    /// The greatest size of the first state that makes weights of zeros, which stay so until there is a
    /// gradient: rows of such are dropped where absent rows are zero.
    fn zero_within(&self) -> Option<f64> {
        None
    }

    /// Whether a row that comes into being after this step needs no memory of it but [`Missed::begin`]'s.
    fn forgets(&self, _: &Now) -> bool {
        true
    }
}

type Locked<'a> = (&'a Parameter, RwLockWriteGuard<'a, Table>);

/// Moves the parameters, with `N` states beside each; nothing moves if there is an error.
#[track_caller]
pub(super) fn step<M: Method, const N: usize>(
    method: &M,
    settings: &mut Settings,
    params: &Params,
    gradients: &Gradients,
) -> Result<()>
where
    M::Rule<f32>: Rule<f32, N>,
    M::Rule<f64>: Rule<f64, N>,
{
    // In the modes in which every row moves, no gradient is one of zeros.
    let all_move = settings.update != Update::Lazy;
    let moves =
        |p: &&Parameter| gradients.of(p).is_some() || (all_move && p.grad_req() != GradReq::Null);
    let mut locked: SmallVec<[Locked<'_>; 16]> = SmallVec::new();
    for parameter in params.iter().filter(moves) {
        if let Some(gradient) = gradients.of(parameter) {
            check_fits(M::NAME, parameter, gradient)?;
        }
        method.check(&settings.next(parameter.multipliers()))?;
        let table = parameter.exclusive()?;
        if table.has_drawn_absent_rows() {
            check_drawn(method, settings, parameter)?;
        }
        if settings.update == Update::Exact && table.absent_rows_follow_another(&settings.owner) {
            let message = format!(
                "another optimizer moves the absent rows of {:?} by steps that they will make when \
                 they are first needed, in exact mode, too; drop it first",
                parameter.name()
            );
            return Err(Error::new(ErrorKind::State, message).operator(M::NAME));
        }
        locked.push((parameter, table));
    }
    for (parameter, table) in &mut locked {
        let now = settings.next(parameter.multipliers());
        let gradient = gradients.of(parameter);
        let update = parameter.count_update();
        match parameter.dtype() {
            DType::F32 => move_one::<f32, M, N>(method, settings, &now, table, gradient, update)?,
            _ => move_one::<f64, M, N>(method, settings, &now, table, gradient, update)?,
        }
    }
    settings.steps += 1;
    Ok(())
}

/// Rows that are drawn when they are first needed must make all steps before that at once.
#[track_caller]
fn check_drawn<M: Method>(method: &M, settings: &Settings, parameter: &Parameter) -> Result<()> {
    let name = parameter.name();
    let message = match settings.update {
        Update::Dense => format!(
            "in dense mode every row of {name:?} moves in every step, but it has absent rows that are \
             drawn when they are first needed; `Update::Exact` gives the same result"
        ),
        Update::Exact if !method.forgets(&settings.next(parameter.multipliers())) => format!(
            "in exact mode with weight decay in the gradient, what the absent rows of {name:?} would \
             be when they are first needed has no closed form; decoupled decay has"
        ),
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::State, message).operator(M::NAME))
}

#[track_caller]
fn check_fits(optimizer: &str, parameter: &Parameter, gradient: &Tensor) -> Result<()> {
    let (own, ty) = (parameter.ty(), gradient.ty());
    let kind = match () {
        _ if own.shape != ty.shape => ErrorKind::Shape,
        _ if own.dtype != ty.dtype => ErrorKind::DType,
        _ => return Ok(()),
    };
    let message = format!("parameter {:?} is {own}, its gradient {ty}", parameter.name());
    Err(Error::new(kind, message).operator(optimizer))
}

/// What of a table a step moved.
enum Moved {
    /// The rows at these slots.
    Rows(Temp<u32>),
    All,
}

fn move_one<T: Real, M: Method, const N: usize>(
    method: &M,
    settings: &Settings,
    now: &Now,
    table: &mut Table,
    gradient: Option<&Tensor>,
    update: u64,
) -> Result<()>
where
    M::Rule<T>: Rule<T, N>,
{
    let rule = method.rule::<T>(now);
    let widths = rule.widths(table.row_len());
    let missed = match settings.update {
        Update::Exact => method.missed(settings),
        Update::Lazy | Update::Dense => None,
    };
    let state = table.state_of::<T>(&settings.owner, &widths, missed);
    let gradient = gradient.map(by_rows).transpose()?;
    let moved = match gradient.as_deref().map(|g| (g.rows(), g)) {
        None => Moved::Rows(Temp::with_capacity(0)),
        Some((Some(rows), g)) => {
            let counts = settings.update == Update::Exact;
            Moved::Rows(move_rows(&rule, table, (state, counts), rows, g.values::<T>()?))
        }
        Some((None, g)) => {
            table.insert_all::<T>();
            move_all(&rule, table, state, Some(g.values::<T>()?), &[]);
            Moved::All
        }
    };
    let moved = match moved {
        Moved::Rows(slots) if settings.update == Update::Dense => {
            move_all(&rule, table, state, None, &slots);
            Moved::All
        }
        moved => moved,
    };
    let touched = match &moved {
        Moved::Rows(slots) => Some(&slots[..]),
        Moved::All => None,
    };
    table.note_changed(touched, update);
    if settings.update != Update::Lazy {
        let all = touched.is_none();
        table.note_step::<T>(state, all, |missed| method.miss::<T>(now, missed));
    }
    if let Some(bound) = method.zero_within() {
        table.drop_zero_rows(state, T::from_f64(bound), touched, update);
    }
    Ok(())
}

/// Moves these rows, by a step that counts as one that others miss, or not; their slots, without those of
/// frozen rows.
fn move_rows<T: Real, R: Rule<T, N>, const N: usize>(
    rule: &R,
    table: &mut Table,
    (state, counts): (usize, bool),
    ids: &[u32],
    g: &[T],
) -> Temp<u32> {
    let mut slots = table.insert::<T>(ids);
    table.catch_up::<T>(&slots, counts.then_some(state));
    let frozen = table.drop_frozen(ids, &mut slots);
    let ascending = table.is_ascending() && !frozen;
    update_rows(rule, table.rows_mut(state), &slots, g, ascending);
    slots
}

/// Moves all rows, without gradient as by zeros, but for those at `others` and the frozen ones.
fn move_all<T: Real, R: Rule<T, N>, const N: usize>(
    rule: &R,
    table: &mut Table,
    state: usize,
    g: Option<&[T]>,
    others: &[u32],
) {
    table.catch_up_all::<T>();
    let mut stay = table.frozen_slots();
    stay.extend(others.iter().copied().filter(|&slot| slot != ABSENT));
    update_all_but(rule, table.rows_mut(state), g, &stay);
}

/// A gradient that is dense or row-sparse: a csr gradient touches the rows that hold an entry.
fn by_rows(gradient: &Tensor) -> Result<Cow<'_, Tensor>> {
    Ok(match gradient.stype() {
        Stype::Csr => Cow::Owned(gradient.cast_storage(Stype::RowSparse)?),
        _ => Cow::Borrowed(gradient),
    })
}
