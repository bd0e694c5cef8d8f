//! The distinct columns of a pattern, where there are very many columns: spans of them, one after the other, shared
//! among threads.

use std::ops::Range;

use super::memory::Temp;
use super::radix::Place;
use super::ranks::Ranks;
use super::threads::{Scattered, for_each_job, for_each_part};
use super::vectorized::{Task, vectorized};

/// Columns of a span, as a power of 2: its set stays in the nearest caches.
const SPAN: u32 = 18;

fn span(index: u32) -> usize {
    (index >> SPAN) as usize
}

/// The distinct `indices` below `cols`, ascending, and for each index its position among them.
///
/// The indices are distributed among spans; then each span is a small set. Threads take parts of the indices
/// at first, and then groups of spans.
pub(super) fn compact_spans(indices: &[u32], cols: usize) -> (Temp<u32>, Temp<u32>) {
    let threads = rayon::current_num_threads();
    let (places, ends) = distributed(indices, ((cols - 1) >> SPAN) + 1, threads);
    let mut slots = Temp::unspecified(indices.len());
    let to = Scattered::of(&mut slots);
    let mut groups = groups(&ends, threads);
    for_each_job(&mut groups, |group| {
        vectorized(Sets { group, places: &places, ends: &ends, slots: &to });
    });
    (join(groups, indices, ends.len(), &mut slots), slots)
}

/// Consecutive indices.
struct Part<'a> {
    first: u32,
    indices: &'a [u32],
    /// By span: how many, then where the next one goes.
    counts: Temp<u32>,
}

/// The indices of each span, in order; where spans end.
fn distributed(indices: &[u32], spans: usize, parts: usize) -> (Temp<Place>, Temp<u32>) {
    let at_once = indices.len().div_ceil(parts);
    let firsts = (0..).step_by(at_once);
    let chunks = firsts.zip(indices.chunks(at_once));
    let part = |(first, indices)| Part { first, indices, counts: Temp::filled(0, spans) };
    let mut parts: Vec<Part<'_>> = chunks.map(part).collect();
    for_each_job(&mut parts, |part| {
        part.indices.iter().for_each(|&index| part.counts[span(index)] += 1);
    });
    let (mut ends, mut sum) = (Temp::with_capacity(spans), 0);
    for span in 0..spans {
        for part in &mut parts {
            sum += std::mem::replace(&mut part.counts[span], sum);
        }
        ends.push(sum);
    }
    let mut places = Temp::unspecified(indices.len());
    let to = Scattered::of(&mut places);
    for_each_job(&mut parts, |part| {
        for (&index, n) in part.indices.iter().zip(part.first..) {
            let next = &mut part.counts[span(index)];
            // SAFETY: all have been counted, so that each index has a place of its own.
            unsafe { to.set(*next as usize, (index, n)) };
            *next += 1;
        }
    });
    (places, ends)
}

/// Consecutive spans, and the columns of them that occur.
struct Group {
    spans: Range<usize>,
    distinct: Temp<u32>,
}

/// All spans, in so many groups of about equally many indices.
fn groups(ends: &[u32], count: usize) -> Vec<Group> {
    let all = ends.last().copied().unwrap_or(0) as usize;
    let (mut groups, mut first) = (Vec::with_capacity(count), 0);
    for n in 1..=count {
        let end = ends.partition_point(|&end| (end as usize) < n * all / count) + 1;
        let spans = first..end.clamp(first, ends.len());
        first = spans.end;
        let indices = places_of(&spans, ends).len();
        groups.push(Group { spans, distinct: Temp::with_capacity(indices + Ranks::SPARE) });
    }
    groups
}

fn places_of(spans: &Range<usize>, ends: &[u32]) -> Range<usize> {
    let before = |span: usize| span.checked_sub(1).map_or(0, |last| ends[last] as usize);
    before(spans.start)..before(spans.end)
}

/// The sets of a group's spans, one after the other.
struct Sets<'a> {
    group: &'a mut Group,
    places: &'a [Place],
    ends: &'a [u32],
    slots: &'a Scattered<'a, u32>,
}

impl Task for Sets<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Sets { group: Group { spans, distinct }, places, ends, slots } = self;
        let mut ranks = Ranks::new(1 << SPAN);
        for span in spans.clone() {
            let own = &places[places_of(&(span..span + 1), ends)];
            let (first, before) = ((span as u32) << SPAN, distinct.len());
            ranks.insert_each(own.iter().map(|&(index, _)| index - first));
            ranks.list(own.len(), distinct);
            distinct[before..].iter_mut().for_each(|index| *index += first);
            for &(index, n) in own {
                let slot = before as u32 + ranks.rank(index - first);
                // SAFETY: each index is in one span only.
                unsafe { slots.set(n as usize, slot) };
            }
            ranks.clear_all();
        }
    }
}

/// Puts groups together: slots count from the first column of all on.
fn join(groups: Vec<Group>, indices: &[u32], spans: usize, slots: &mut [u32]) -> Temp<u32> {
    let mut groups = groups.into_iter();
    let mut distinct = groups.next().map_or(Temp::with_capacity(0), |first| first.distinct);
    let mut before = Temp::filled(0, spans);
    for group in groups {
        before[group.spans].fill(distinct.len() as u32);
        distinct.extend_from_slice(&group.distinct);
    }
    if before.iter().any(|&columns| columns != 0) {
        for_each_part(slots, 1, 1, |first, slots| {
            let own = slots.iter_mut().zip(&indices[first..]);
            own.for_each(|(slot, &index)| *slot += before[span(index)]);
        });
    }
    distinct
}
