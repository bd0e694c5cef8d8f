//! Ranges of axes, and where their ticks are.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// Beyond these, differences overflow.
const LARGEST: f64 = 1e300;

/// An axis: what it spans, and what is written where.
#[derive(Clone)]
pub(super) struct Axis {
    range: Range<f64>,
    ticks: Vec<(f64, String)>,
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (low, high): (i32, i32)) -> i32 {
        let part = (value - self.range.start) / (self.range.end - self.range.start);
        low + (part.clamp(0.0, 1.0) * f64::from(high - low)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight().allow_light_points() {
            true => Vec::new(),
            false => self.ticks.iter().map(|tick| tick.0).collect(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks.iter().find(|tick| tick.0 == *value).map_or(String::new(), |t| t.1.clone())
    }
}

impl Axis {
    /// Of numbers, which may be none, with about so many ticks at round numbers.
    pub fn linear(values: impl Iterator<Item = f64>, count: f64) -> Axis {
        let range = padded(values);
        let ticks = round_numbers(&range, count, i32::MIN);
        Axis { range, ticks }
    }

    /// Of whole numbers.
    pub fn whole(values: impl Iterator<Item = f64>, count: f64) -> Axis {
        let (low, high) = ends(values).unwrap_or((0.0, 0.0));
        let pad = if high > low { 0.02 * (high - low) } else { 0.5 };
        let range = low - pad..high + pad;
        let ticks = round_numbers(&range, count, 0);
        let ticks = ticks.into_iter().filter(|tick| tick.0 >= 0.0).collect();
        Axis { range, ticks }
    }

    /// Letters of the longest tick.
    pub fn widest(&self) -> u32 {
        self.ticks.iter().map(|tick| tick.1.len() as u32).max().unwrap_or(0)
    }

    /// Of logarithms: ticks at powers of ten, at 1, 2 and 5 times those, or at any round numbers, so that
    /// there are two or more.
    pub fn logarithmic(logarithms: impl Iterator<Item = f64>, count: f64) -> Axis {
        let range = padded(logarithms);
        if range.end - range.start >= 2.5 {
            let ticks = round_numbers(&range, count, 0);
            let power = |(at, _)| (at, format!("1e{at}"));
            return Axis { range, ticks: ticks.into_iter().map(power).collect() };
        }
        let values = 10f64.powf(range.start)..10f64.powf(range.end);
        let powers = range.start.floor() as i32..=range.end.ceil() as i32;
        let times = powers.flat_map(|power| [1, 2, 5].map(|times| format!("{times}e{power}")));
        let round = times.filter_map(|text| {
            let value: f64 = text.parse().ok()?;
            let plain = (1e-3..1e6).contains(&value);
            Some((value, if plain { value.to_string() } else { text }))
        });
        let mut ticks: Vec<_> = round.filter(|(value, _)| values.contains(value)).collect();
        if ticks.len() < 2 {
            ticks = round_numbers(&values, count, i32::MIN);
        }
        let ticks = ticks.into_iter().map(|(value, text)| (value.log10(), text)).collect();
        Axis { range, ticks }
    }
}

/// Smallest and largest of the finite ones.
fn ends(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let values = values.filter(|value| value.is_finite());
    values.fold(None, |ends, value| match ends {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}

/// A little more than the values span; around a constant, a range about as large as itself.
fn padded(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = ends(values).unwrap_or((0.0, 1.0));
    let (low, high) = (low.clamp(-LARGEST, LARGEST), high.clamp(-LARGEST, LARGEST));
    let size = low.abs().max(high.abs());
    let span = if high - low > 1e-6 * size { high - low } else { size };
    let pad = if span > 1.0 / LARGEST { 0.06 * span } else { 0.5 };
    low - pad..high + pad
}

/// Multiples of 1, 2 or 5 times a power of ten, the least power given, and how they are written.
fn round_numbers(range: &Range<f64>, count: f64, least: i32) -> Vec<(f64, String)> {
    let raw = (range.end - range.start) / count;
    let power = (raw.log10().floor() as i32).max(least);
    let fits = |(times, power): &(f64, i32)| times * 10f64.powi(*power) >= raw;
    let steps = [(1.0, power), (2.0, power), (5.0, power)];
    let (times, power) = steps.into_iter().find(fits).unwrap_or((1.0, power + 1));
    let step = times * 10f64.powi(power);
    let (first, last) = ((range.start / step).ceil() as i64, (range.end / step).floor() as i64);
    let size = range.start.abs().max(range.end.abs());
    let plain = (1e-3..1e6).contains(&size);
    let text = |value: f64| match plain {
        true => format!("{value:.*}", (-power).max(0) as usize),
        false if value == 0.0 => "0".to_owned(),
        false => {
            let digits = value.abs().log10().floor() as i32 - power;
            format!("{value:.*e}", digits.max(0) as usize)
        }
    };
    (first..=last).map(|k| k as f64 * step).map(|value| (value, text(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| &**text).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        let linear = |values: &[f64]| Axis::linear(values.iter().copied(), 5.0);
        assert_eq!(texts(&linear(&[0.1, 0.7])), ["0.2", "0.4", "0.6"]);
        assert_eq!(texts(&linear(&[-1.0, 1.0])), ["-1.0", "-0.5", "0.0", "0.5", "1.0"]);
        assert_eq!(texts(&linear(&[1e7, 3e7])), ["1.0e7", "1.5e7", "2.0e7", "2.5e7", "3.0e7"]);
        assert_eq!(texts(&linear(&[])), ["0.0", "0.5", "1.0"]);
        let whole = |values: &[f64]| Axis::whole(values.iter().copied(), 8.0);
        assert_eq!(texts(&whole(&[0.0, 3.0])), ["0", "1", "2", "3"]);
        assert_eq!(texts(&whole(&[7.0])), ["7"]);
        let log = |values: &[f64]| Axis::logarithmic(values.iter().copied(), 5.0);
        assert_eq!(texts(&log(&[-3.0, 1.0])), ["1e-3", "1e-2", "1e-1", "1e0", "1e1"]);
        assert_eq!(texts(&log(&[-2.0, 0.0])), ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"]);
        assert_eq!(texts(&log(&[-0.2, 0.0])), ["0.7", "0.8", "0.9", "1.0"]);
    }

    #[test]
    fn ranges_are_finite_and_have_few_ticks_for_any_numbers() {
        let odd = [0.0, -0.0, 5e-324, 1e-300, 1e-7, 1.0, 1.0 + f64::EPSILON, 1e300, f64::MAX];
        let odd = odd.iter().flat_map(|&v| [v, -v]).chain([f64::NAN, f64::INFINITY]);
        let odd: Vec<f64> = odd.collect();
        for &a in &odd {
            for &b in &odd {
                let axis = Axis::linear([a, b].into_iter(), 5.0);
                assert!(axis.range.start < axis.range.end, "{a} {b}: {:?}", axis.range);
                assert!((axis.range.end - axis.range.start).is_finite(), "{a} {b}");
                assert!((2..=8).contains(&axis.ticks.len()), "{a} {b}: {:?}", axis.ticks);
                let inside = |at: f64| axis.range.start <= at && at <= axis.range.end;
                let fits = |(at, text): &(f64, String)| inside(*at) && text.len() < 12;
                assert!(axis.ticks.iter().all(fits), "{a} {b}: {:?}", axis.ticks);
            }
        }
    }
}
