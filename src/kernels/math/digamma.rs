//! The digamma function, ψ = Γ'/Γ.

use std::f64::consts::PI;

/// B(2n) / 2n for n = 1, 2, …: ψ(x) ~ ln x - 1/2x - Σ B(2n) / (2n x^2n).
const BERNOULLI: [f64; 8] = [
    1.0 / 12.0,
    -1.0 / 120.0,
    1.0 / 252.0,
    -1.0 / 240.0,
    1.0 / 132.0,
    -691.0 / 32760.0,
    1.0 / 12.0,
    -3617.0 / 8160.0,
];

/// From here the asymptotic series is good to the last bit.
const ASYMPTOTIC: f64 = 10.0;

/// The root of ψ at 1.46…, in three parts.
const ROOT: [f64; 3] = [1.4616321446374059, 3.309564688275257e-10, 9.016312093258695e-20];

/// ψ(x) / (x - root) on [1, 2] is `OFFSET` and a ratio of polynomials in x - 1, which are those of
/// Boost's digamma.hpp (J. Maddock, 53-bit variant).
const OFFSET: f64 = 0.9955816268920898;
const NUMERATOR: [f64; 6] = [
    0.25479851061131553,
    -0.3255503118680449,
    -0.6503185377089651,
    -0.28919126444774784,
    -0.04525132144873906,
    -0.002071332116774595,
];
const DENOMINATOR: [f64; 7] = [
    1.0,
    2.076711702373047,
    1.4606242909763516,
    0.43593529692665967,
    0.054151797245674226,
    0.0021284987017821146,
    -5.578984132167551e-07,
];

/// ψ(x): minus infinity at 0, plus infinity at -0 (the limits from either side), NaN at the
/// negative integers. Relatively good but for the neighbourhood of the negative
/// roots, where the absolute error is that of the terms that cancel.
pub fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return -1.0 / x;
    }
    if x > 0.0 || x.is_nan() {
        return positive(x);
    }
    reflected(x)
}

/// ψ(x) = ψ(1 - x) - π / tan(πx), the tangent by the distance to the nearest integer.
fn reflected(x: f64) -> f64 {
    let offset = x - libm::round(x);
    if offset == 0.0 || x.is_infinite() {
        return f64::NAN;
    }
    positive(1.0 - x) - PI / libm::tan(PI * offset)
}

/// ψ(x) = ψ(x - 1) + 1/(x - 1), down to [1, 2], unless the series holds.
fn positive(mut x: f64) -> f64 {
    if x >= ASYMPTOTIC || x.is_nan() {
        return asymptotic(x);
    }
    if x < 1.0 {
        return near_root(x + 1.0) - 1.0 / x;
    }
    let mut above = 0.0;
    while x > 2.0 {
        x -= 1.0;
        above += 1.0 / x;
    }
    above + near_root(x)
}

fn asymptotic(x: f64) -> f64 {
    let z = 1.0 / (x * x);
    let series = BERNOULLI.iter().rev().fold(0.0, |sum, &b| (sum + b) * z);
    libm::log(x) - 0.5 / x - series
}

/// ψ on [1, 2]: (x - root) times a rational function, so that it is relatively good at the root.
fn near_root(x: f64) -> f64 {
    let distance = ((x - ROOT[0]) - ROOT[1]) - ROOT[2];
    let z = x - 1.0;
    let ratio = polynomial(&NUMERATOR, z) / polynomial(&DENOMINATOR, z);
    distance * OFFSET + distance * ratio
}

fn polynomial(c: &[f64], x: f64) -> f64 {
    c.iter().rev().fold(0.0, |sum, &c| sum * x + c)
}
