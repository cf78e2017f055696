//! The calls that rebuild a tensor.

use candle_core::Tensor;

use super::limits::Budget;
use super::storage::{Storage, key, no_element};
use crate::checkpoint::element::Element;
use crate::pickle::{Value, numpy};

/// Wrappers of a tensor's call: a parameter of a subclass of a tensor.
const MOST_WRAPPERS: usize = 8;

/// A value that is a tensor in PyTorch or NumPy.
#[derive(Debug)]
pub(super) enum Weight<'p> {
    /// A view of a storage.
    Strided(Strided<'p>),
    /// An array, or a PyTorch tensor that was stored as one.
    Array(Value<'p>),
    /// A tensor that the file stores outside its pickle, by its key.
    Reference(String),
    /// A tensor that this module does not read, and what it is.
    Unsupported(String),
    /// Quantised weights: integers with scales.
    Quantised(String),
}

/// A view of a storage.
#[derive(Debug, Clone)]
pub(super) struct Strided<'p> {
    pub storage: Storage<'p>,
    /// The type of the elements, if it differs from the storage's.
    pub element: Option<Element>,
    /// The first element, in elements.
    pub offset: usize,
    pub shape: Vec<usize>,
    /// Elements between neighbours along each dimension.
    pub stride: Vec<usize>,
}

impl<'p> Weight<'p> {
    /// Interprets a value as a tensor or an array, if it is one.
    pub(super) fn of(value: Value<'p>) -> Option<Self> {
        if let Some(array) = Self::array(value) {
            return Some(array);
        }
        // A storage is no tensor: its identifier is a tuple.
        if let Some(id) = value.persistent_id() {
            return key(id).map(Self::Reference);
        }
        let (mut function, mut args) = value.call()?;
        for _ in 0..MOST_WRAPPERS {
            let wrapped = match function.name {
                "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3" => {
                    return Some(Self::strided(function.name, &args));
                }
                "_rebuild_device_tensor_from_numpy" | "_rebuild_xla_tensor" => {
                    return Self::array(*args.first()?);
                }
                "_rebuild_qtensor" => {
                    return Some(Self::Quantised("a quantised tensor".to_owned()));
                }
                // The function, the class and the function's arguments.
                "_rebuild_from_type_v2" => match args[..] {
                    [inner, _, inner_args, ..] => {
                        function = inner.global()?;
                        args = inner_args.items()?.take(16).collect();
                        continue;
                    }
                    _ => return None,
                },
                "_rebuild_parameter"
                | "_rebuild_parameter_with_state"
                | "_rebuild_device_tensor_from_cpu_tensor" => *args.first()?,
                // Before PyTorch 0.4.
                "Parameter" | "Variable" if function.module.starts_with("torch") => {
                    *args.first()?
                }
                name if name.starts_with("_rebuild_") && function.module.starts_with("torch") => {
                    let short: String = name.chars().take(60).collect();
                    return Some(Self::Unsupported(format!("a tensor of torch's {short}")));
                }
                _ => return None,
            };
            if let Some(array) = Self::array(wrapped) {
                return Some(array);
            }
            if let Some(id) = wrapped.persistent_id() {
                return key(id).map(Self::Reference);
            }
            (function, args) = wrapped.call()?;
        }
        None
    }

    fn array(value: Value<'p>) -> Option<Self> {
        let numpy::ElementType { kind, size } = numpy::element(value)?;
        Some(match Element::of_numpy(numpy::ElementType { kind, size }) {
            Some(_) => Self::Array(value),
            None => Self::Unsupported(format!("a NumPy array of type {kind}{size}")),
        })
    }

    /// A tensor from the arguments of `_rebuild_tensor`, `_v2` or `_v3`.
    fn strided(function: &str, args: &[Value<'p>]) -> Self {
        // Storage, offset, shape, stride, requires_grad, hooks, [dtype,] metadata.
        let typed = function == "_rebuild_tensor_v3";
        let metadata = args.get(if typed { 7 } else { 6 });
        let flags = metadata.and_then(|metadata| metadata.entries());
        let is_set = |(_, flag): &(Value<'p>, Value<'p>)| flag.bool() == Some(true);
        if flags.is_some_and(|flags| flags.iter().any(is_set)) {
            return Self::Unsupported("a conjugated or negated view".to_owned());
        }
        let dtype = typed.then(|| args.get(6).and_then(|dtype| dtype.global()));
        let dtype = dtype.map(|dtype| dtype.map_or("no dtype", |dtype| dtype.name));
        match Strided::of(args, dtype) {
            Ok(strided) => Self::Strided(strided),
            Err(what) => Self::Unsupported(what),
        }
    }
}

impl<'p> Strided<'p> {
    fn of(args: &[Value<'p>], dtype: Option<&str>) -> Result<Self, String> {
        let [storage, offset, shape, stride, ..] = args[..] else {
            return Err("a tensor without a storage".to_owned());
        };
        let storage = Storage::of(storage)?;
        let element = dtype.map(|name| Element::of_dtype(name).ok_or_else(|| no_element(name)));
        let damaged = || "a tensor without a valid shape and stride".to_owned();
        Ok(Self {
            storage,
            element: element.transpose()?,
            offset: offset.index().ok_or_else(damaged)?,
            shape: shape.indices().ok_or_else(damaged)?,
            stride: stride.indices().ok_or_else(damaged)?,
        })
    }

    /// The bytes of the tensor's elements.
    fn length(&self, element: Element) -> Option<usize> {
        // An empty tensor can have other dimensions whose product overflows.
        let mut sizes = self.shape.iter().map(|size| (*size).max(1));
        let size = element.size();
        sizes.try_fold(size, |length, size| length.checked_mul(size))?;
        Some(self.shape.iter().product::<usize>() * size)
    }

    /// Gathers the tensor from the bytes of its storage, which has elements of the type `stored`.
    ///
    /// # Errors
    /// The tensor reaches beyond its storage or exceeds the budget.
    pub(super) fn gather(
        &self,
        bytes: &[u8],
        stored: Element,
        big_endian: bool,
        budget: &mut Budget,
    ) -> Result<Tensor, String> {
        let element = self.element.unwrap_or(stored);
        let size = element.size();
        let outside = || "the tensor reaches beyond its storage".to_owned();
        if self.shape.len() != self.stride.len() {
            return Err("the tensor does not have a stride for each dimension".to_owned());
        }
        let length = self.length(element).ok_or_else(outside)?;
        budget.spend(length)?;
        let last = self
            .shape
            .iter()
            .zip(&self.stride)
            .try_fold(self.offset, |at, (count, stride)| {
                at.checked_add(count.saturating_sub(1).checked_mul(*stride)?)
            })
            .ok_or_else(outside)?;
        if length > 0 && last >= bytes.len() / size {
            return Err(outside());
        }
        let mut gathered = Vec::with_capacity(length);
        if length > 0 && self.is_contiguous() {
            let start = self.offset * size;
            gathered.extend_from_slice(&bytes[start..start + length]);
        }
        let mut position = vec![0; self.shape.len()];
        while gathered.len() < length {
            let steps = position.iter().zip(&self.stride);
            let at = self.offset + steps.map(|(i, stride)| i * stride).sum::<usize>();
            gathered.extend_from_slice(&bytes[at * size..(at + 1) * size]);
            for (i, count) in position.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < *count {
                    break;
                }
                *i = 0;
            }
        }
        if big_endian {
            for number in gathered.chunks_exact_mut(size) {
                number.reverse();
            }
        }
        element.tensor(&gathered, &self.shape)
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape
            .iter()
            .zip(&self.stride)
            .rev()
            .all(|(count, stride)| {
                let matches = *count == 1 || *stride == expected;
                expected *= count;
                matches
            })
    }
}
