//! The numbers that the update rules compute in: one element of a tensor, or a whole tensor.
//!
//! A rule is one generic function. On the CPU it runs on elements, in one pass over memory; on other
//! devices it is a composition of Candle's ops. Both have the same order of operations.

use std::ops::{Add, Div, Mul, Sub};
use std::rc::Rc;

use candle_core::{CpuStorage, Error, Result, Tensor};

/// A number with constants in f64.
pub(super) trait Number:
    Clone
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Add<f64, Output = Self>
    + Mul<f64, Output = Self>
    + Div<f64, Output = Self>
{
    fn sqrt(self) -> Self;
    fn abs(self) -> Self;
    /// 1, -1, or 0 for zero.
    fn sign(self) -> Self;
    fn maximum(self, other: Self) -> Self;
    /// Bounds to `[-limit, limit]`; NaN stays.
    fn clamp(self, limit: f64) -> Self;
    /// `self * self * weight`.
    fn weighted_square(self, weight: f64) -> Self;
    /// `self + other * weight`.
    fn add_scaled(self, other: &Self, weight: f64) -> Self;

    /// The point at `weight` between `self` and `end`, as `torch.lerp` computes it.
    #[inline(always)]
    fn lerp(self, end: Self, weight: f64) -> Self {
        self.clone() + (end - self) * weight
    }
}

/// A floating-point type that parameters have.
pub(super) trait Scalar:
    Copy
    + Send
    + Sync
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
    fn of(value: f64) -> Self;
    fn sqrt(self) -> Self;
    fn abs(self) -> Self;
    fn slice(storage: &CpuStorage) -> Option<&[Self]>;
    fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;
}

macro_rules! scalar {
    ($type:ident, $variant:ident) => {
        impl Scalar for $type {
            #[inline(always)]
            fn of(value: f64) -> Self {
                value as $type
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $type::sqrt(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $type::abs(self)
            }
            fn slice(storage: &CpuStorage) -> Option<&[Self]> {
                match storage {
                    CpuStorage::$variant(values) => Some(values),
                    _ => None,
                }
            }
            fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
                match storage {
                    CpuStorage::$variant(values) => Some(values),
                    _ => None,
                }
            }
        }
    };
}

scalar!(f32, F32);
scalar!(f64, F64);

/// One element. Constants are rounded to its type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<T>(pub T);

macro_rules! element_op {
    ($op:ident, $method:ident) => {
        impl<T: Scalar> $op for Element<T> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self(self.0.$method(other.0))
            }
        }
        impl<T: Scalar> $op<f64> for Element<T> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, constant: f64) -> Self {
                Self(self.0.$method(T::of(constant)))
            }
        }
    };
}

element_op!(Add, add);
element_op!(Sub, sub);
element_op!(Mul, mul);
element_op!(Div, div);

impl<T: Scalar> Number for Element<T> {
    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(self.0.sqrt())
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(self.0.abs())
    }
    #[inline(always)]
    fn sign(self) -> Self {
        let zero = T::of(0.0);
        let one = |is: bool| if is { T::of(1.0) } else { zero };
        Self(one(self.0 > zero) - one(self.0 < zero))
    }
    #[inline(always)]
    fn maximum(self, other: Self) -> Self {
        if self.0 < other.0 { other } else { self }
    }
    #[inline(always)]
    fn clamp(self, limit: f64) -> Self {
        let (low, high) = (T::of(-limit), T::of(limit));
        let raised = if self.0 < low { low } else { self.0 };
        Self(if raised > high { high } else { raised })
    }
    #[inline(always)]
    fn weighted_square(self, weight: f64) -> Self {
        Self(T::of(weight) * self.0 * self.0)
    }
    #[inline(always)]
    fn add_scaled(self, other: &Self, weight: f64) -> Self {
        Self(self.0 + T::of(weight) * other.0)
    }
}

/// A whole tensor, or the first error of the computation that makes it.
#[derive(Debug, Clone)]
pub(super) struct Whole(std::result::Result<Tensor, Rc<Error>>);

impl Whole {
    pub fn new(tensor: &Tensor) -> Self {
        Self(Ok(tensor.clone()))
    }

    /// The tensor.
    ///
    /// # Errors
    /// The first error of the computation.
    pub fn tensor(self) -> Result<Tensor> {
        self.0
            .map_err(|error| Rc::try_unwrap(error).unwrap_or_else(|e| Error::Msg(e.to_string())))
    }

    fn map(self, op: impl FnOnce(Tensor) -> Result<Tensor>) -> Self {
        Self(self.0.and_then(|tensor| op(tensor).map_err(Rc::new)))
    }

    fn zip(self, other: Self, op: impl FnOnce(Tensor, Tensor) -> Result<Tensor>) -> Self {
        Self(
            self.0
                .and_then(|a| other.0.and_then(|b| op(a, b).map_err(Rc::new))),
        )
    }
}

macro_rules! whole_op {
    ($op:ident, $method:ident $(, $identity:literal)?) => {
        impl $op for Whole {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                self.zip(other, |a, b| a.$method(b))
            }
        }
        impl $op<f64> for Whole {
            type Output = Self;
            fn $method(self, constant: f64) -> Self {
                $(if constant == $identity {
                    return self;
                })?
                self.map(|a| a.$method(constant))
            }
        }
    };
}

whole_op!(Add, add);
whole_op!(Sub, sub);
whole_op!(Mul, mul, 1.0);
whole_op!(Div, div, 1.0);

impl Number for Whole {
    fn sqrt(self) -> Self {
        self.map(|a| a.sqrt())
    }
    fn abs(self) -> Self {
        self.map(|a| a.abs())
    }
    fn sign(self) -> Self {
        self.map(|a| a.sign())
    }
    fn maximum(self, other: Self) -> Self {
        self.zip(other, |a, b| a.maximum(&b))
    }
    fn clamp(self, limit: f64) -> Self {
        if limit == f64::INFINITY {
            return self;
        }
        self.map(|a| a.clamp(-limit, limit))
    }
    fn weighted_square(self, weight: f64) -> Self {
        self.map(|a| a.sqr()? * weight)
    }
    fn add_scaled(self, other: &Self, weight: f64) -> Self {
        if weight == 0.0 {
            return self;
        }
        self + other.clone() * weight
    }
}
