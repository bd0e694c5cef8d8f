//! [`Lanes`] on AVX2 and AVX-512 registers.
//!
//! The methods carry no `target_feature` of their own: they are inlined into the loop drivers,
//! which do, and there the intrinsics become single instructions.

use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

use super::lanes::{Lanes, Mem};

macro_rules! operator {
    ($name:ident, $trait:ident, $method:ident, $intrinsic:ident) => {
        impl $trait for $name {
            type Output = Self;
            #[inline(always)]
            fn $method(self, o: Self) -> Self {
                // SAFETY: a value exists, so the CPU has the instruction set (see `Lanes`).
                Self(unsafe { $intrinsic(self.0, o.0) })
            }
        }
    };
}

macro_rules! methods {
    ($($method:ident($a:ident $(, $b:ident)?) $body:expr;)*) => {$(
        #[inline(always)]
        fn $method(self $(, $b: Self)?) -> Self {
            let $a = self.0;
            $(let $b = $b.0;)?
            // SAFETY: a value exists, so the CPU has the instruction set (see `Lanes`).
            Self(unsafe { $body })
        }
    )*};
}

macro_rules! comparisons {
    ($($method:ident($a:ident $(, $b:ident)?) $body:expr;)*) => {$(
        #[inline(always)]
        fn $method(self $(, $b: Self)?) -> Self::Mask {
            let $a = self.0;
            $(let $b = $b.0;)?
            // SAFETY: a value exists, so the CPU has the instruction set (see `Lanes`).
            unsafe { $body }
        }
    )*};
}

macro_rules! vector {
    (
        $(#[$doc:meta])* $name:ident: [$elem:ident; $n:literal] in $reg:ident, mask $mask:ident,
        add $add:ident, sub $sub:ident, mul $mul:ident, div $div:ident,
        set1 $set1:ident, load $load:ident, store $store:ident,
        as_int $as_int:ident, of_int $of_int:ident,
        and $and:ident, andnot $andnot:ident, or $or:ident, xor $xor:ident,
        add_int $add_int:ident, set_int $set_int:ident as $int:ident,
        shl $shl:ident, shr $shr:ident,
        methods { $($methods:tt)* }
        comparisons { $($comparisons:tt)* }
        select($m:ident, $yes:ident, $no:ident) $select:expr;
        any($any:ident) $any_body:expr;
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name($reg);

        operator!($name, Add, add, $add);
        operator!($name, Sub, sub, $sub);
        operator!($name, Mul, mul, $mul);
        operator!($name, Div, div, $div);

        impl Neg for $name {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                self.xor(self.splat(-0.0))
            }
        }

        impl Lanes for $name {
            type Elem = $elem;
            type Mask = $mask;
            const N: usize = $n;

            #[inline(always)]
            fn splat(self, v: $elem) -> Self {
                // SAFETY: a value exists, so the CPU has the instruction set (see `Lanes`).
                Self(unsafe { $set1(v) })
            }

            #[inline(always)]
            fn shl(self, count: u32) -> Self {
                // SAFETY: as for `splat`.
                Self(unsafe { $of_int($shl($as_int(self.0), $set_int(count as $int))) })
            }

            #[inline(always)]
            fn shr(self, count: u32) -> Self {
                // SAFETY: as for `splat`.
                Self(unsafe { $of_int($shr($as_int(self.0), $set_int(count as $int))) })
            }

            methods! {
                and(a, b) $of_int($and($as_int(a), $as_int(b)));
                and_not(a, b) $of_int($andnot($as_int(b), $as_int(a)));
                or(a, b) $of_int($or($as_int(a), $as_int(b)));
                xor(a, b) $of_int($xor($as_int(a), $as_int(b)));
                add_bits(a, b) $of_int($add_int($as_int(a), $as_int(b)));
                $($methods)*
            }

            comparisons! { $($comparisons)* }

            #[inline(always)]
            fn select($m: $mask, yes: Self, no: Self) -> Self {
                let ($yes, $no) = (yes.0, no.0);
                // SAFETY: as for `splat`.
                Self(unsafe { $select })
            }

            #[inline(always)]
            fn any($any: $mask) -> bool {
                $any_body
            }

            #[inline(always)]
            fn map(self, f: fn($elem) -> $elem) -> Self {
                let mut lanes = [0.0; $n];
                // SAFETY: the array holds exactly the lanes; as for `splat`.
                unsafe { $store(lanes.as_mut_ptr(), self.0) };
                for v in &mut lanes {
                    *v = f(*v);
                }
                // SAFETY: as for the store above.
                Self(unsafe { $load(lanes.as_ptr()) })
            }
        }

        impl Mem<$elem> for $name {
            #[inline(always)]
            unsafe fn load(p: *const $elem) -> Self {
                // SAFETY: the caller vouches for the reads and the instruction set.
                Self(unsafe { $load(p) })
            }

            #[inline(always)]
            unsafe fn fill(v: $elem) -> Self {
                // SAFETY: the caller vouches for the instruction set.
                Self(unsafe { $set1(v) })
            }

            #[inline(always)]
            unsafe fn store(self, p: *mut $elem) {
                // SAFETY: the caller vouches for the writes.
                unsafe { $store(p, self.0) }
            }
        }
    };
}

macro_rules! widening {
    (
        $name:ident, load $load:ident $widen:ident,
        fill $set1:ident, store $store:ident $narrow:ident
    ) => {
        impl Mem<f32> for $name {
            #[inline(always)]
            unsafe fn load(p: *const f32) -> Self {
                // SAFETY: the caller vouches for the reads and the instruction set.
                Self(unsafe { $widen($load(p)) })
            }

            #[inline(always)]
            unsafe fn fill(v: f32) -> Self {
                // SAFETY: the caller vouches for the instruction set.
                Self(unsafe { $set1(v.into()) })
            }

            #[inline(always)]
            unsafe fn store(self, p: *mut f32) {
                // SAFETY: the caller vouches for the writes.
                unsafe { $store(p, $narrow(self.0)) }
            }
        }
    };
}

vector! {
    /// Eight `f32` on AVX2.
    F32x8: [f32; 8] in __m256, mask __m256,
    add _mm256_add_ps, sub _mm256_sub_ps, mul _mm256_mul_ps, div _mm256_div_ps,
    set1 _mm256_set1_ps, load _mm256_loadu_ps, store _mm256_storeu_ps,
    as_int _mm256_castps_si256, of_int _mm256_castsi256_ps,
    and _mm256_and_si256, andnot _mm256_andnot_si256, or _mm256_or_si256, xor _mm256_xor_si256,
    add_int _mm256_add_epi32, set_int _mm256_set1_epi32 as i32,
    shl _mm256_sllv_epi32, shr _mm256_srlv_epi32,
    methods {
        sqrt(a) _mm256_sqrt_ps(a);
        floor(a) _mm256_floor_ps(a);
        ceil(a) _mm256_ceil_ps(a);
        trunc(a) _mm256_round_ps::<{ _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC }>(a);
        min(a, b) _mm256_min_ps(a, b);
        max(a, b) _mm256_max_ps(a, b);
    }
    comparisons {
        lt(a, b) _mm256_cmp_ps::<_CMP_LT_OQ>(a, b);
        le(a, b) _mm256_cmp_ps::<_CMP_LE_OQ>(a, b);
        eq(a, b) _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b);
        ne(a, b) _mm256_cmp_ps::<_CMP_NEQ_UQ>(a, b);
        gt_bits(a, b) _mm256_castsi256_ps(_mm256_cmpgt_epi32(
            _mm256_castps_si256(a),
            _mm256_castps_si256(b),
        ));
    }
    select(m, yes, no) _mm256_blendv_ps(no, yes, m);
    any(m) {
        // SAFETY: a mask comes from comparing values; as for `splat`.
        unsafe { _mm256_movemask_ps(m) != 0 }
    };
}

vector! {
    /// Four `f64` on AVX2.
    F64x4: [f64; 4] in __m256d, mask __m256d,
    add _mm256_add_pd, sub _mm256_sub_pd, mul _mm256_mul_pd, div _mm256_div_pd,
    set1 _mm256_set1_pd, load _mm256_loadu_pd, store _mm256_storeu_pd,
    as_int _mm256_castpd_si256, of_int _mm256_castsi256_pd,
    and _mm256_and_si256, andnot _mm256_andnot_si256, or _mm256_or_si256, xor _mm256_xor_si256,
    add_int _mm256_add_epi64, set_int _mm256_set1_epi64x as i64,
    shl _mm256_sllv_epi64, shr _mm256_srlv_epi64,
    methods {
        sqrt(a) _mm256_sqrt_pd(a);
        floor(a) _mm256_floor_pd(a);
        ceil(a) _mm256_ceil_pd(a);
        trunc(a) _mm256_round_pd::<{ _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC }>(a);
        min(a, b) _mm256_min_pd(a, b);
        max(a, b) _mm256_max_pd(a, b);
    }
    comparisons {
        lt(a, b) _mm256_cmp_pd::<_CMP_LT_OQ>(a, b);
        le(a, b) _mm256_cmp_pd::<_CMP_LE_OQ>(a, b);
        eq(a, b) _mm256_cmp_pd::<_CMP_EQ_OQ>(a, b);
        ne(a, b) _mm256_cmp_pd::<_CMP_NEQ_UQ>(a, b);
        gt_bits(a, b) _mm256_castsi256_pd(_mm256_cmpgt_epi64(
            _mm256_castpd_si256(a),
            _mm256_castpd_si256(b),
        ));
    }
    select(m, yes, no) _mm256_blendv_pd(no, yes, m);
    any(m) {
        // SAFETY: a mask comes from comparing values; as for `splat`.
        unsafe { _mm256_movemask_pd(m) != 0 }
    };
}

vector! {
    /// Sixteen `f32` on AVX-512.
    F32x16: [f32; 16] in __m512, mask __mmask16,
    add _mm512_add_ps, sub _mm512_sub_ps, mul _mm512_mul_ps, div _mm512_div_ps,
    set1 _mm512_set1_ps, load _mm512_loadu_ps, store _mm512_storeu_ps,
    as_int _mm512_castps_si512, of_int _mm512_castsi512_ps,
    and _mm512_and_si512, andnot _mm512_andnot_si512, or _mm512_or_si512, xor _mm512_xor_si512,
    add_int _mm512_add_epi32, set_int _mm512_set1_epi32 as i32,
    shl _mm512_sllv_epi32, shr _mm512_srlv_epi32,
    methods {
        sqrt(a) _mm512_sqrt_ps(a);
        floor(a) _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(a);
        ceil(a) _mm512_roundscale_ps::<{ _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC }>(a);
        trunc(a) _mm512_roundscale_ps::<{ _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC }>(a);
        min(a, b) _mm512_min_ps(a, b);
        max(a, b) _mm512_max_ps(a, b);
    }
    comparisons {
        lt(a, b) _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
        le(a, b) _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b);
        eq(a, b) _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b);
        ne(a, b) _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(a, b);
        gt_bits(a, b) _mm512_cmpgt_epi32_mask(_mm512_castps_si512(a), _mm512_castps_si512(b));
    }
    select(m, yes, no) _mm512_mask_blend_ps(m, no, yes);
    any(m) m != 0;
}

vector! {
    /// Eight `f64` on AVX-512.
    F64x8: [f64; 8] in __m512d, mask __mmask8,
    add _mm512_add_pd, sub _mm512_sub_pd, mul _mm512_mul_pd, div _mm512_div_pd,
    set1 _mm512_set1_pd, load _mm512_loadu_pd, store _mm512_storeu_pd,
    as_int _mm512_castpd_si512, of_int _mm512_castsi512_pd,
    and _mm512_and_si512, andnot _mm512_andnot_si512, or _mm512_or_si512, xor _mm512_xor_si512,
    add_int _mm512_add_epi64, set_int _mm512_set1_epi64 as i64,
    shl _mm512_sllv_epi64, shr _mm512_srlv_epi64,
    methods {
        sqrt(a) _mm512_sqrt_pd(a);
        floor(a) _mm512_roundscale_pd::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(a);
        ceil(a) _mm512_roundscale_pd::<{ _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC }>(a);
        trunc(a) _mm512_roundscale_pd::<{ _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC }>(a);
        min(a, b) _mm512_min_pd(a, b);
        max(a, b) _mm512_max_pd(a, b);
    }
    comparisons {
        lt(a, b) _mm512_cmp_pd_mask::<_CMP_LT_OQ>(a, b);
        le(a, b) _mm512_cmp_pd_mask::<_CMP_LE_OQ>(a, b);
        eq(a, b) _mm512_cmp_pd_mask::<_CMP_EQ_OQ>(a, b);
        ne(a, b) _mm512_cmp_pd_mask::<_CMP_NEQ_UQ>(a, b);
        gt_bits(a, b) _mm512_cmpgt_epi64_mask(_mm512_castpd_si512(a), _mm512_castpd_si512(b));
    }
    select(m, yes, no) _mm512_mask_blend_pd(m, no, yes);
    any(m) m != 0;
}

widening! {
    F64x4, load _mm_loadu_ps _mm256_cvtps_pd,
    fill _mm256_set1_pd, store _mm_storeu_ps _mm256_cvtpd_ps
}
widening! {
    F64x8, load _mm256_loadu_ps _mm512_cvtps_pd,
    fill _mm512_set1_pd, store _mm256_storeu_ps _mm512_cvtpd_ps
}
