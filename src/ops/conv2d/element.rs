//! What the kernels compute in.

use std::mem::MaybeUninit;
use std::ops::{Add, AddAssign, Mul};

use crate::simd::Real;

/// A float that convolutions compute in: `f32`, for which there are more kernels, and `f64`.
pub trait Element:
    Real
    + Copy
    + Default
    + Send
    + Sync
    + PartialEq
    + Add<Output = Self>
    + Mul<Output = Self>
    + AddAssign
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The slice as it is, where this type is `f32`.
    fn as_f32(values: &[Self]) -> Option<&[f32]>;
    /// The slice as it is, where this type is `f32`.
    fn as_f32_mut(values: &mut [Self]) -> Option<&mut [f32]>;
    /// The slice as it is, where this type is `f32`.
    fn as_f32_uninit(values: &mut [MaybeUninit<Self>]) -> Option<&mut [MaybeUninit<f32>]>;
}

impl Element for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
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
