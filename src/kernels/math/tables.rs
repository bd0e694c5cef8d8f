//! The coefficients and format constants of the functions, per element type.

/// What the functions need to know about an element type.
pub trait Tables: Sized + Copy + 'static {
    /// The canonical quiet NaN.
    const NAN: Self;
    /// Minus zero: the sign bit alone.
    const NEG_ZERO: Self;
    /// Plus zero.
    const ZERO: Self;
    /// Plus infinity.
    const INF: Self;
    /// One half.
    const HALF: Self;
    /// One.
    const ONE: Self;
    /// Two.
    const TWO: Self;
    /// The greatest number below one half.
    const BELOW_HALF: Self;

    /// How many bits the stored mantissa has.
    const MANTISSA: u32;
    /// Those bits, all set.
    const MANTISSA_BITS: Self;
    /// 1.5 × 2^MANTISSA: adding it rounds to an integer that stands in the low mantissa bits.
    const ROUNDER: Self;
    /// `ROUNDER` plus the exponent bias.
    const BIASED_ROUNDER: Self;
    /// 2^MANTISSA: its mantissa bits are a small non-negative integer after an or.
    const INTEGER: Self;
    /// `INTEGER` plus the exponent bias.
    const BIASED_INTEGER: Self;

    /// log2(e).
    const LOG2_E: Self;
    /// ln 2, so short that its product with any exponent is exact.
    const EXP_LN2_HIGH: Self;
    /// The rest of ln 2.
    const EXP_LN2_LOW: Self;
    /// Where the exponential has certainly overflowed.
    const EXP_MAX: Self;
    /// Where the exponential has certainly rounded to zero.
    const EXP_MIN: Self;
    /// Where exp(x) - 1 has certainly rounded to -1.
    const EXPM1_MIN: Self;
    /// The largest power of two whose inverse is normal.
    const MAX_INVERTIBLE: Self;
    /// (exp(r) - 1 - r) / r² on |r| ≤ ln(2)/2: interpolated at Chebyshev nodes in 60 digits.
    const EXP: &'static [Self];

    /// The smallest normal number.
    const MIN_NORMAL: Self;
    /// A power of two that makes every subnormal normal.
    const NORMALIZER: Self;
    /// Its exponent.
    const NORMALIZER_LOG2: Self;
    /// The bits of √½, rounded to the upper half of the mantissa as in fdlibm.
    const SQRT_HALF: Self;
    /// The bits of 1 less those of `SQRT_HALF`.
    const ONE_LESS_SQRT_HALF: Self;
    /// ln 2, shortened as in fdlibm's logarithm.
    const LN2_HIGH: Self;
    /// The rest of ln 2.
    const LN2_LOW: Self;
    /// Below this magnitude, ln(1 + x) rounds to x.
    const LOG1P_TINY: Self;
    /// (ln((1+s)/(1-s)) - 2s) / s in powers of s², from s²: fdlibm's e_log.c and e_logf.c.
    const LOG: &'static [Self];

    /// Below this, the hyperbolic tangent is a polynomial.
    const TANH_SMALL: Self;
    /// Where the hyperbolic tangent has certainly rounded to 1.
    const TANH_MAX: Self;
    /// (tanh(x)/x - 1) / x² in powers of x²: interpolated at Chebyshev nodes in 60 digits.
    const TANH: &'static [Self];

    /// Where the error function has certainly rounded to 1.
    const ERF_MAX: Self;
    /// erf(x)/x - 1 in powers of x², on |x| ≤ 1: interpolated at Chebyshev nodes in 60 digits.
    const ERF_SMALL: &'static [Self];
    /// The `c` of the variable t = (x - c)/(x + c).
    const ERF_CENTRE: Self;
    /// exp(x²) erfc(x) in powers of t, on 1 ≤ x ≤ `ERF_MAX`: likewise.
    const ERF_LARGE: &'static [Self];
}

impl Tables for f32 {
    const NAN: Self = f32::from_bits(0x7fc0_0000);
    const NEG_ZERO: Self = -0.0;
    const ZERO: Self = 0.0;
    const INF: Self = f32::INFINITY;
    const HALF: Self = 0.5;
    const ONE: Self = 1.0;
    const TWO: Self = 2.0;
    const BELOW_HALF: Self = 0.5 - f32::EPSILON / 4.0;
    const MANTISSA: u32 = 23;
    const MANTISSA_BITS: Self = f32::from_bits(0x007f_ffff);
    const ROUNDER: Self = 12_582_912.0;
    const BIASED_ROUNDER: Self = 12_582_912.0 + 127.0;
    const INTEGER: Self = 8_388_608.0;
    const BIASED_INTEGER: Self = 8_388_608.0 + 127.0;
    const LOG2_E: Self = std::f32::consts::LOG2_E;
    const EXP_LN2_HIGH: Self = f32::from_bits(0x3f31_7200);
    const EXP_LN2_LOW: Self = 1.4286068e-06;
    const EXP_MAX: Self = 89.0;
    const EXP_MIN: Self = -104.5;
    const EXPM1_MIN: Self = -18.0;
    const MAX_INVERTIBLE: Self = 126.0;
    const EXP: &'static [Self] =
        &[5e-01, 1.6666667e-01, 4.1666463e-02, 8.3333105e-03, 1.3933821e-03, 1.989118e-04];
    const MIN_NORMAL: Self = f32::MIN_POSITIVE;
    const NORMALIZER: Self = 33_554_432.0;
    const NORMALIZER_LOG2: Self = 25.0;
    const SQRT_HALF: Self = f32::from_bits(0x3f35_04f3);
    const ONE_LESS_SQRT_HALF: Self = f32::from_bits(0x3f80_0000 - 0x3f35_04f3);
    const LN2_HIGH: Self = f32::from_bits(0x3f31_7180);
    const LN2_LOW: Self = f32::from_bits(0x3717_f7d1);
    const LOG1P_TINY: Self = f32::EPSILON / 4.0;
    const LOG: &'static [Self] = &[6.666666e-01, 4.0000972e-01, 2.8498787e-01, 2.4279079e-01];
    const TANH_SMALL: Self = 0.625;
    const TANH_MAX: Self = 10.0;
    const TANH: &'static [Self] = &[
        -3.3333334e-01,
        1.3333304e-01,
        -5.3959254e-02,
        2.1768868e-02,
        -8.34378e-03,
        2.2925576e-03,
    ];
    const ERF_MAX: Self = 4.0;
    const ERF_SMALL: &'static [Self] = &[
        1.2837917e-01,
        -3.7612626e-01,
        1.1283594e-01,
        -2.6854211e-02,
        5.1890872e-03,
        -8.0168643e-04,
        7.875875e-05,
    ];
    const ERF_CENTRE: Self = 2.0;
    const ERF_LARGE: &'static [Self] = &[
        2.5539568e-01,
        -4.2718598e-01,
        2.416582e-01,
        -7.896831e-02,
        3.7323718e-03,
        6.81114e-03,
        -8.379754e-04,
    ];
}

impl Tables for f64 {
    const NAN: Self = f64::from_bits(0x7ff8_0000_0000_0000);
    const NEG_ZERO: Self = -0.0;
    const ZERO: Self = 0.0;
    const INF: Self = f64::INFINITY;
    const HALF: Self = 0.5;
    const ONE: Self = 1.0;
    const TWO: Self = 2.0;
    const BELOW_HALF: Self = 0.5 - f64::EPSILON / 4.0;
    const MANTISSA: u32 = 52;
    const MANTISSA_BITS: Self = f64::from_bits(0x000f_ffff_ffff_ffff);
    const ROUNDER: Self = 6_755_399_441_055_744.0;
    const BIASED_ROUNDER: Self = 6_755_399_441_055_744.0 + 1023.0;
    const INTEGER: Self = 4_503_599_627_370_496.0;
    const BIASED_INTEGER: Self = 4_503_599_627_370_496.0 + 1023.0;
    const LOG2_E: Self = std::f64::consts::LOG2_E;
    const EXP_LN2_HIGH: Self = f64::from_bits(0x3fe6_2e42_fee0_0000);
    const EXP_LN2_LOW: Self = f64::from_bits(0x3dea_39ef_3579_3c76);
    const EXP_MAX: Self = 710.0;
    const EXP_MIN: Self = -746.0;
    const EXPM1_MIN: Self = -38.0;
    const MAX_INVERTIBLE: Self = 1022.0;
    const EXP: &'static [Self] = &[
        0.5,
        0.1666666666666667,
        0.04166666666666667,
        0.008333333333326025,
        0.001388888888888367,
        0.00019841269875205077,
        2.4801587325822283e-05,
        2.75572549134867e-06,
        2.7557273295539724e-07,
        2.5105419192016337e-08,
        2.091483135138041e-09,
    ];
    const MIN_NORMAL: Self = f64::MIN_POSITIVE;
    const NORMALIZER: Self = 18_014_398_509_481_984.0;
    const NORMALIZER_LOG2: Self = 54.0;
    const SQRT_HALF: Self = f64::from_bits(0x3fe6_a09e_0000_0000);
    const ONE_LESS_SQRT_HALF: Self = f64::from_bits(0x3ff0_0000_0000_0000 - 0x3fe6_a09e_0000_0000);
    const LN2_HIGH: Self = f64::from_bits(0x3fe6_2e42_fee0_0000);
    const LN2_LOW: Self = f64::from_bits(0x3dea_39ef_3579_3c76);
    const LOG1P_TINY: Self = f64::EPSILON / 4.0;
    const LOG: &'static [Self] = &[
        0.6666666666666735,
        0.3999999999940942,
        0.2857142874366239,
        0.22222198432149784,
        0.1818357216161805,
        0.15313837699209373,
        0.14798198605116586,
    ];
    const TANH_SMALL: Self = 0.625;
    const TANH_MAX: Self = 20.0;
    const TANH: &'static [Self] = &[
        -0.3333333333333333,
        0.13333333333333042,
        -0.05396825396789636,
        0.02186948851898143,
        -0.008863235102653483,
        0.0035921217436959856,
        -0.0014557753532096296,
        0.0005896603606552671,
        -0.0002375896885211701,
        9.256923588512033e-05,
        -3.119892666773487e-05,
        6.484104982405479e-06,
    ];
    const ERF_MAX: Self = 6.0;
    const ERF_SMALL: &'static [Self] = &[
        0.1283791670955126,
        -0.3761263890318375,
        0.11283791670954879,
        -0.026866170645076792,
        0.0052239776248180145,
        -0.000854832698083379,
        0.0001205533111164271,
        -1.4925595266831182e-05,
        1.6461000484121368e-06,
        -1.6350312701054695e-07,
        1.4659775274047436e-08,
        -1.1372848856791674e-09,
        5.957176147748911e-11,
    ];
    const ERF_CENTRE: Self = 3.0;
    const ERF_LARGE: &'static [Self] = &[
        0.17900115118138996,
        -0.32623356004303716,
        0.24560380171233195,
        -0.15011593650078744,
        0.07166583719774874,
        -0.024392499318273194,
        0.004269136347508256,
        0.0007077464443901538,
        -0.0005970623517093284,
        4.525472635483354e-05,
        6.406182073530546e-05,
        -1.284889451252353e-05,
        -8.008021319412685e-06,
        2.023603179641757e-06,
        1.2801900862962662e-06,
    ];
}
