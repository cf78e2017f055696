//! The types that convolutions compute in.

use std::mem::MaybeUninit;
use std::ops::AddAssign;

use crate::simd::Real;

/// A type that convolutions compute in: `f32` or `f64`.
///
/// The direct algorithms are written for `f32` only. This trait lets code for both types find out
/// whether it can use them.
pub trait Element: Real + AddAssign {
    const ZERO: Self;
    const ONE: Self;
    /// Whether the direct algorithms support this type.
    const IS_F32: bool;
    /// The same slice, if this type is `f32`.
    fn as_f32(values: &[Self]) -> Option<&[f32]>;
    /// The same slice, if this type is `f32`.
    fn as_f32_mut(values: &mut [Self]) -> Option<&mut [f32]>;
    /// The same slice, if this type is `f32`.
    fn as_f32_uninit(values: &mut [MaybeUninit<Self>]) -> Option<&mut [MaybeUninit<f32>]>;
}

impl Element for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const IS_F32: bool = true;
    fn as_f32(values: &[Self]) -> Option<&[f32]> {
        Some(values)
    }
    fn as_f32_mut(values: &mut [Self]) -> Option<&mut [f32]> {
        Some(values)
    }
    fn as_f32_uninit(values: &mut [MaybeUninit<Self>]) -> Option<&mut [MaybeUninit<f32>]> {
        Some(values)
    }
}

impl Element for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const IS_F32: bool = false;
    fn as_f32(_: &[Self]) -> Option<&[f32]> {
        None
    }
    fn as_f32_mut(_: &mut [Self]) -> Option<&mut [f32]> {
        None
    }
    fn as_f32_uninit(_: &mut [MaybeUninit<Self>]) -> Option<&mut [MaybeUninit<f32>]> {
        None
    }
}
