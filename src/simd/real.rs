//! Element types that have vectors.

use std::mem::MaybeUninit;
use std::ops::{Add, Div, Mul, Neg, Sub};

use pulp::Simd;

/// An element type that has vectors: `f32` or `f64`.
///
/// Kernels use these functions through [`Lanes`](super::Lanes).
pub trait Real:
    Copy
    + Send
    + Sync
    + Default
    + PartialOrd
    + std::fmt::Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + 'static
{
    /// A register of elements.
    type Vector<S: Simd>: Copy + Send + Sync + 'static;
    /// A truth value for each element of a register.
    type Mask<S: Simd>: Copy;

    /// The element nearest to `value`.
    fn from_f64(value: f64) -> Self;
    /// The element in double precision, exactly.
    fn to_f64(self) -> f64;
    /// Elements in a register.
    fn lanes<S: Simd>() -> usize;
    /// The whole registers of a slice, and the remaining elements.
    fn split<S: Simd>(slice: &[Self]) -> (&[Self::Vector<S>], &[Self]);
    /// The whole registers of a slice, and the remaining elements.
    fn split_mut<S: Simd>(slice: &mut [Self]) -> (&mut [Self::Vector<S>], &mut [Self]);
    /// The whole registers of an uninitialised slice, and the remaining elements.
    #[allow(clippy::type_complexity)]
    fn split_uninit<S: Simd>(
        slice: &mut [MaybeUninit<Self>],
    ) -> (
        &mut [MaybeUninit<Self::Vector<S>>],
        &mut [MaybeUninit<Self>],
    );
    /// Loads a slice that is shorter than a register, followed by zeros.
    fn partial_load<S: Simd>(simd: S, slice: &[Self]) -> Self::Vector<S>;
    /// Stores the first elements into a slice that is shorter than a register.
    fn partial_store<S: Simd>(simd: S, slice: &mut [Self], v: Self::Vector<S>);
    /// `value` in every element.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;
    /// a + b
    fn add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a - b
    fn sub<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a b
    fn mul<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a / b
    fn div<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a b + c, rounded once if the instruction set has fused operations, else twice.
    fn mul_add<S: Simd>(
        simd: S,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
        c: Self::Vector<S>,
    ) -> Self::Vector<S>;
    /// The smaller element; either of them if one is NaN.
    fn min<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// The larger element; either of them if one is NaN.
    fn max<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// |a|
    fn abs<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    /// -a
    fn neg<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    /// |a| with the sign of b.
    fn copysign<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a < b; false if one is NaN.
    fn less_than<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Mask<S>;
    /// a for elements where the mask is true, b for the others.
    fn select<S: Simd>(
        simd: S,
        mask: Self::Mask<S>,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
    ) -> Self::Vector<S>;
    /// The sum of all elements.
    fn reduce_sum<S: Simd>(simd: S, a: Self::Vector<S>) -> Self;
    /// 2^k of an element that holds k + [`Real::SHIFTER`]: moves the lowest bits of its
    /// significand, which hold k + bias, to the exponent. k must be the exponent of a normal
    /// number.
    fn exponent_from_shifted<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;

    /// 1.5 times the power of two above which all numbers are integers, plus the exponent's bias.
    /// Adding it rounds to an integer and leaves the integer plus the bias in the lowest bits.
    const SHIFTER: f64;
    /// ln 2 in two parts. The first is so short that its product with an exponent is exact.
    const LN_2: (f64, f64);
    /// The smallest exponent of a normal number.
    const MIN_EXPONENT: f64;
    /// Below this x e^x is 0, even as a subnormal number; it is within the range of
    /// [`Lanes::exp_scaled`](super::Lanes::exp_scaled).
    const TAIL: f64;
    /// The coefficients of (e^r - 1 - r) / r^2 for |r| <= ln(2)/2, highest power first: a
    /// minimax polynomial (Remez exchange) with a relative error of e^r of 2^-28 for `f32` and
    /// 2^-57 for `f64`.
    const EXP: &'static [f64];
    /// The coefficients of artanh(s) / s in s^2 for |s| <= 1/3, highest power first: interpolated
    /// at Chebyshev's nodes with a relative error of 2^-33 for `f32` and 2^-64 for `f64`.
    const ARTANH: &'static [f64];
    /// Above this e^(-z^2) is 0, even as a subnormal number.
    const ERFCX_END: f64;
    /// The coefficients of (1 + 2 z) e^(z^2) erfc(z) in (z - 3) / (z + 3) for z from 0 to
    /// [`Real::ERFCX_END`], highest power first: interpolated at Chebyshev's nodes with a relative
    /// error of 2^-28 for `f32` and 2^-59 for `f64`.
    const ERFCX: &'static [f64];
}

macro_rules! impl_real {
    (
        $f:ident, $vector:ident, $mask:ident,
        $lanes:ident, $as_simd:ident, $as_mut_simd:ident, $as_uninit_mut_simd:ident,
        $partial_load:ident, $partial_store:ident, $splat:ident,
        $add:ident, $sub:ident, $mul:ident, $div:ident, $mul_add:ident, $min:ident, $max:ident,
        $abs:ident, $neg:ident, $and:ident, $or:ident, $less_than:ident,
        $select:ident, $reduce_sum:ident, $to_bits:ident, $from_bits:ident,
        shift: |$simd:ident, $a:ident| $shift:expr,
        $($constants:tt)*
    ) => {
        impl Real for $f {
            type Vector<S: Simd> = S::$vector;
            type Mask<S: Simd> = S::$mask;

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as Self
            }

            #[inline(always)]
            fn to_f64(self) -> f64 {
                self.into()
            }

            #[inline(always)]
            fn lanes<S: Simd>() -> usize {
                S::$lanes
            }

            #[inline(always)]
            fn split<S: Simd>(slice: &[Self]) -> (&[Self::Vector<S>], &[Self]) {
                S::$as_simd(slice)
            }

            #[inline(always)]
            fn split_mut<S: Simd>(
                slice: &mut [Self],
            ) -> (&mut [Self::Vector<S>], &mut [Self]) {
                S::$as_mut_simd(slice)
            }

            #[inline(always)]
            fn split_uninit<S: Simd>(
                slice: &mut [MaybeUninit<Self>],
            ) -> (
                &mut [MaybeUninit<Self::Vector<S>>],
                &mut [MaybeUninit<Self>],
            ) {
                S::$as_uninit_mut_simd(slice)
            }

            #[inline(always)]
            fn partial_load<S: Simd>(simd: S, slice: &[Self]) -> Self::Vector<S> {
                simd.$partial_load(slice)
            }

            #[inline(always)]
            fn partial_store<S: Simd>(simd: S, slice: &mut [Self], v: Self::Vector<S>) {
                simd.$partial_store(slice, v)
            }

            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S> {
                simd.$splat(value)
            }

            #[inline(always)]
            fn add<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$add(a, b)
            }

            #[inline(always)]
            fn sub<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$sub(a, b)
            }

            #[inline(always)]
            fn mul<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$mul(a, b)
            }

            #[inline(always)]
            fn div<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$div(a, b)
            }

            #[inline(always)]
            fn mul_add<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
                c: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$mul_add(a, b, c)
            }

            #[inline(always)]
            fn min<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$min(a, b)
            }

            #[inline(always)]
            fn max<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$max(a, b)
            }

            #[inline(always)]
            fn abs<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S> {
                simd.$abs(a)
            }

            #[inline(always)]
            fn neg<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S> {
                simd.$neg(a)
            }

            #[inline(always)]
            fn copysign<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$or(simd.$abs(a), simd.$and(b, simd.$splat(-0.0)))
            }

            #[inline(always)]
            fn less_than<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
            ) -> Self::Mask<S> {
                simd.$less_than(a, b)
            }

            #[inline(always)]
            fn select<S: Simd>(
                simd: S,
                mask: Self::Mask<S>,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$select(mask, a, b)
            }

            #[inline(always)]
            fn reduce_sum<S: Simd>(simd: S, a: Self::Vector<S>) -> Self {
                simd.$reduce_sum(a)
            }

            #[inline(always)]
            fn exponent_from_shifted<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S> {
                let $simd = simd;
                let $a = simd.$to_bits(a);
                simd.$from_bits($shift)
            }

            $($constants)*
        }
    };
}

impl_real! {
    f32, f32s, m32s,
    F32_LANES, as_simd_f32s, as_mut_simd_f32s, as_uninit_mut_simd_f32s,
    partial_load_f32s, partial_store_f32s, splat_f32s,
    add_f32s, sub_f32s, mul_f32s, div_f32s, mul_add_e_f32s, min_f32s, max_f32s,
    abs_f32s, neg_f32s, and_f32s, or_f32s, less_than_f32s,
    select_f32s, reduce_sum_f32s, transmute_u32s_f32s, transmute_f32s_u32s,
    shift: |simd, a| simd.wrapping_dyn_shl_u32s(a, simd.splat_u32s(23)),
    const SHIFTER: f64 = 12_582_912.0 + 127.0;
    const LN_2: (f64, f64) = (0.693_359_375, -2.121_944_400_546_905_8e-4);
    const MIN_EXPONENT: f64 = -126.0;
    const TAIL: f64 = -150.0;
    const EXP: &'static [f64] = &[
        0.001_381_446_731_8,
        0.008_368_780_416_33,
        0.041_668_394_206,
        0.166_665_201_078,
        0.499_999_934_125,
    ];
    const ARTANH: &'static [f64] = &[
        0.121_969_540_42,
        0.106_992_802_53,
        0.143_101_037_04,
        0.199_993_556_23,
        0.333_333_395_13,
        0.999_999_999_9,
    ];
    const ERFCX_END: f64 = 10.3;
    const ERFCX: &'static [f64] = &[
        -0.000_275_456_018_73,
        -0.000_793_182_577_91,
        0.001_998_225_099_1,
        0.002_578_218_072_4,
        -0.023_792_458_331,
        0.068_293_239_989,
        -0.119_272_292_39,
        0.129_646_647_92,
        -0.047_562_298_596,
        -0.135_621_146_26,
        1.253_008_058,
    ];
}

impl_real! {
    f64, f64s, m64s,
    F64_LANES, as_simd_f64s, as_mut_simd_f64s, as_uninit_mut_simd_f64s,
    partial_load_f64s, partial_store_f64s, splat_f64s,
    add_f64s, sub_f64s, mul_f64s, div_f64s, mul_add_e_f64s, min_f64s, max_f64s,
    abs_f64s, neg_f64s, and_f64s, or_f64s, less_than_f64s,
    select_f64s, reduce_sum_f64s, transmute_u64s_f64s, transmute_f64s_u64s,
    shift: |simd, a| simd.mul_u64s(a, simd.splat_u64s(1 << 52)),
    const SHIFTER: f64 = 6_755_399_441_055_744.0 + 1023.0;
    const LN_2: (f64, f64) = (0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10);
    const MIN_EXPONENT: f64 = -1022.0;
    const TAIL: f64 = -1200.0;
    const EXP: &'static [f64] = &[
        2.499_996_475_101_925e-8,
        2.763_037_862_793_297e-7,
        2.755_758_734_408_232_7e-6,
        2.480_149_276_278_351e-5,
        1.984_126_950_376_324_2e-4,
        1.388_888_894_392_263_9e-3,
        8.333_333_333_495_625e-3,
        4.166_666_666_652_919e-2,
        0.166_666_666_666_664_1,
        0.500_000_000_000_001_1,
    ];
    const ARTANH: &'static [f64] = &[
        0.082_441_429_656_947_84,
        0.034_901_952_491_662_16,
        0.054_883_083_189_737_47,
        0.058_576_373_340_552_13,
        0.066_684_384_078_719_18,
        0.076_922_235_302_299_84,
        0.090_909_117_112_476_26,
        0.111_111_110_595_518_37,
        0.142_857_142_863_114_63,
        0.199_999_999_999_964_32,
        0.333_333_333_333_333_4,
        1.0,
    ];
    const ERFCX_END: f64 = 27.4;
    const ERFCX: &'static [f64] = &[
        5.611_792_024_032_073e-10,
        3.034_211_200_372_101e-10,
        -7.618_439_931_644_389e-9,
        -1.074_233_688_934_942_9e-8,
        4.106_828_188_072_045_5e-8,
        9.763_677_173_877_836e-8,
        -1.417_403_630_947_74e-7,
        -6.127_042_493_137_314e-7,
        3.575_359_582_194_419_5e-7,
        3.470_113_475_699_107_4e-6,
        -7.320_745_529_010_706e-7,
        -2.009_969_748_536_377_2e-5,
        4.949_719_866_841_455e-6,
        1.250_991_382_265_593e-4,
        -1.051_598_561_926_215_5e-4,
        -7.798_322_386_663_4e-4,
        1.888_690_366_866_465_5e-3,
        2.529_391_812_927_050_5e-3,
        -0.023_770_514_919_192_98,
        0.068_308_027_344_138_49,
        -0.119_273_663_415_291_22,
        0.129_645_158_702_756_97,
        -0.047_562_294_353_450_93,
        -0.135_621_106_124_581_14,
        1.253_008_058_269_729_6,
    ];
}
