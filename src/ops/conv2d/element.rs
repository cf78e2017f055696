//! The types that convolutions compute in.

use std::mem::MaybeUninit;
use std::ops::{Add, AddAssign, Mul};

use crate::simd::Real;

/// A type that convolutions compute in: `f32`, which has more algorithms, or `f64`.
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
    /// Whether this type is `f32`.
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
