//! NumPy's arrays and scalars in pickles.
//!
//! An array is `numpy.core.multiarray._reconstruct(class, (0,), b'b')` with the state (version,
//! shape, dtype, whether in Fortran's order, bytes), or `numpy.core.numeric._frombuffer(bytes, dtype,
//! shape, order)` in protocol 5. A scalar is `numpy.core.multiarray.scalar(dtype, bytes)`. A dtype is
//! `numpy.dtype(name, align, copy)` with the state (version, byte order, …). NumPy 2 calls its package
//! `numpy._core`.

use std::borrow::Cow;

use super::{PickleError, Value};

/// The type of an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ElementType {
    /// NumPy's letter: `b` boolean, `i` signed, `u` unsigned, `f` floating point, `c` complex; others
    /// are text, records, dates and objects.
    pub kind: char,
    /// Bytes of an element.
    pub size: usize,
}

/// A NumPy array or scalar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Array<'p> {
    pub element: ElementType,
    /// Empty for a scalar.
    pub shape: Vec<usize>,
    /// Little-endian elements, the last dimension fastest.
    pub data: Cow<'p, [u8]>,
}

/// A dtype with its byte order.
struct Dtype {
    element: ElementType,
    big_endian: bool,
}

/// Reads a value as an array or scalar. Returns `None` for other values, and for arrays whose elements
/// are Python objects.
///
/// # Errors
/// The array's bytes do not match its shape and dtype.
pub(crate) fn array(value: Value<'_>) -> Result<Option<Array<'_>>, PickleError> {
    let Some(parts) = Parts::of(value) else {
        return Ok(None);
    };
    parts.array().map(Some)
}

/// The type of the elements of an array or scalar, whose bytes are not checked.
pub(crate) fn element(value: Value<'_>) -> Option<ElementType> {
    Some(Parts::of(value)?.dtype.element)
}

/// The parts of an array, not checked.
struct Parts<'p> {
    dtype: Dtype,
    shape: Vec<usize>,
    fortran: bool,
    data: Cow<'p, [u8]>,
}

impl<'p> Parts<'p> {
    fn of(value: Value<'p>) -> Option<Self> {
        let (function, args) = value.call()?;
        let core = function
            .module
            .strip_prefix("numpy.core.")
            .or(function.module.strip_prefix("numpy._core."))?;
        match (core, function.name) {
            ("multiarray", "_reconstruct") => {
                let state: Vec<_> = value.state()?.items()?.collect();
                // The first version of the state had no number.
                let state = match state[..] {
                    [_, shape, dtype, fortran, data] => [shape, dtype, fortran, data],
                    [shape, dtype, fortran, data] => [shape, dtype, fortran, data],
                    _ => return None,
                };
                let [shape, dtype, fortran, data] = state;
                Some(Self {
                    dtype: Dtype::of(dtype)?,
                    shape: shape.indices()?,
                    fortran: fortran.bool()?,
                    data: data.bytes()?,
                })
            }
            ("numeric", "_frombuffer") => {
                let [data, dtype, shape, order, ..] = args[..] else {
                    return None;
                };
                Some(Self {
                    dtype: Dtype::of(dtype)?,
                    shape: shape.indices()?,
                    fortran: order.text()? == "F",
                    data: data.bytes()?,
                })
            }
            ("multiarray", "scalar") => {
                let [dtype, data, ..] = args[..] else {
                    return None;
                };
                Some(Self {
                    dtype: Dtype::of(dtype)?,
                    shape: Vec::new(),
                    fortran: false,
                    data: data.bytes()?,
                })
            }
            _ => None,
        }
    }

    fn array(self) -> Result<Array<'p>, PickleError> {
        let Dtype {
            element,
            big_endian,
        } = self.dtype;
        let bytes = self
            .shape
            .iter()
            .try_fold(element.size, |n, size| n.checked_mul(*size));
        if bytes != Some(self.data.len()) {
            return Err(PickleError::Array {
                reason: format!(
                    "its shape {:?} of {} bytes each does not match its {} bytes",
                    self.shape,
                    element.size,
                    self.data.len()
                ),
            });
        }
        let mut data = self.data;
        if big_endian && element.size > 1 {
            // The two numbers of a complex number are in order.
            let part = element.size / if element.kind == 'c' { 2 } else { 1 };
            for number in data.to_mut().chunks_exact_mut(part) {
                number.reverse();
            }
        }
        // Of no elements, or with one long dimension, both orders are the same.
        let dimensions = self.shape.iter().filter(|size| **size > 1).count();
        if self.fortran && dimensions > 1 && !data.is_empty() {
            data = Cow::Owned(transposed(&data, &self.shape, element.size));
        }
        Ok(Array {
            element,
            shape: self.shape,
            data,
        })
    }
}

/// Elements in Fortran's order, the first dimension fastest, with the last dimension fastest.
fn transposed(data: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = size;
    for length in shape {
        strides.push(stride);
        stride *= length;
    }
    let mut ordered = Vec::with_capacity(data.len());
    let mut position = vec![0; shape.len()];
    let mut at = 0;
    while ordered.len() < data.len() {
        ordered.extend_from_slice(&data[at..at + size]);
        for ((i, length), stride) in position.iter_mut().zip(shape).zip(&strides).rev() {
            *i += 1;
            at += stride;
            if *i < *length {
                break;
            }
            at -= *length * stride;
            *i = 0;
        }
    }
    ordered
}

impl Dtype {
    fn of(value: Value<'_>) -> Option<Self> {
        let (function, args) = value.call()?;
        if function.module != "numpy" || function.name != "dtype" {
            return None;
        }
        let name = args.first()?.text()?;
        // The name may start with a byte order; the state has the one that counts.
        let (order, name) = match name.strip_prefix(['<', '>', '|', '=']) {
            Some(rest) => (name.chars().next(), rest),
            None => (None, name),
        };
        let kind = name.chars().next()?;
        let size = match (kind, name) {
            (_, "bool" | "?") => 1,
            // Text counts its characters, of four bytes.
            ('U', _) => name
                .strip_prefix(kind)?
                .parse::<usize>()
                .ok()?
                .checked_mul(4)?,
            _ => name.strip_prefix(kind)?.parse().ok()?,
        };
        let state = value.state().and_then(|state| state.items()?.nth(1));
        let order = state
            .and_then(|order| order.text()?.chars().next())
            .or(order);
        Some(Self {
            element: ElementType {
                kind: if kind == '?' { 'b' } else { kind },
                size,
            },
            big_endian: order == Some('>'),
        })
    }
}
