//! Figures as people read them.

/// Four significant digits.
pub(in crate::train) fn brief(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || !size.is_finite() {
        return format!("{value}");
    }
    match (1e-3..1e5).contains(&size) {
        true => format!("{value:.*}", (3.0 - size.log10().floor()).max(0.0) as usize),
        false => format!("{value:.3e}"),
    }
}

/// A count or a rate, to two digits or three, as `1.2M`.
pub(in crate::train) fn count(value: f64) -> String {
    let mut rest = value;
    for unit in ["", "k", "M", "G"] {
        if rest < 999.5 {
            let decimals = usize::from(rest < 9.95 && !(unit.is_empty() && rest.fract() == 0.0));
            return format!("{rest:.decimals$}{unit}");
        }
        rest /= 1000.0;
    }
    format!("{rest:.0}T")
}

/// How long something took: `0.8 s`, `2:05`.
pub(in crate::train) fn time(seconds: f64) -> String {
    match seconds {
        0.0..0.01 => format!("{:.1} ms", 1e3 * seconds),
        0.01..0.1 => format!("{:.0} ms", 1e3 * seconds),
        0.1..59.95 => format!("{seconds:.1} s"),
        _ if seconds >= 59.95 && seconds.is_finite() => clock(seconds),
        _ => String::new(),
    }
}

/// Minutes and seconds, with hours if there are any.
pub(super) fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let of =
            |all: &[f64], how: fn(f64) -> String| all.iter().map(|&v| how(v)).collect::<Vec<_>>();
        let values = [0.0, 0.43121, 1.0, -12.345, 99_999.4, 123_456.0, 0.00123456, 1e-4, f64::NAN];
        let expected =
            ["0", "0.4312", "1.000", "-12.35", "99999", "1.235e5", "0.001235", "1.000e-4", "NaN"];
        assert_eq!(of(&values, brief), expected);
        let values = [0.0, 0.25, 7.0, 999.4, 999.5, 9949.0, 9950.0, 1.25e6, 999_999.0, 2e9, 5e15];
        let expected =
            ["0", "0.2", "7", "999", "1.0k", "9.9k", "10k", "1.2M", "1.0M", "2.0G", "5000T"];
        assert_eq!(of(&values, count), expected);
        let values =
            [0.0, 0.0042, 0.0999, 0.84, 59.94, 59.96, 3725.0, f64::NAN, f64::INFINITY, -1.0];
        let expected =
            ["0.0 ms", "4.2 ms", "100 ms", "0.8 s", "59.9 s", "1:00", "1:02:05", "", "", ""];
        assert_eq!(of(&values, time), expected);
    }
}
