//! The calls that rebuild a tensor.

use std::borrow::Cow;

use candle_core::Tensor;

use super::{Budget, Storages};
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
    pub element: Element,
    /// The first element, in elements.
    pub offset: usize,
    pub shape: Vec<usize>,
    /// Elements between neighbours along each dimension.
    pub stride: Vec<usize>,
}

/// Where the elements are.
#[derive(Debug, Clone)]
pub(super) enum Storage<'p> {
    /// In the file, under a key.
    Stored {
        key: String,
        /// Its length in bytes, as the pickle records it.
        length: u64,
        /// The part that belongs to the tensor, in bytes: PyTorch before 1.6 has views of storages.
        start: usize,
    },
    /// A file of PyTorch before 1.6 within the pickle, as the pickle module of Python writes tensors.
    Embedded(Cow<'p, [u8]>),
}

impl<'p> Weight<'p> {
    /// Interprets a value as a tensor or an array, if it is one.
    pub(super) fn of(value: Value<'p>) -> Option<Self> {
        if numpy::is_array(value) {
            return Some(Self::Array(value));
        }
        // A storage is no tensor: its identifier is a tuple.
        if let Some(id) = value.persistent_id() {
            return super::key(id).map(Self::Reference);
        }
        let (mut function, mut args) = value.call()?;
        for _ in 0..MOST_WRAPPERS {
            let wrapped = match function.name {
                "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3" => {
                    return Some(Self::strided(function.name, &args));
                }
                "_rebuild_device_tensor_from_numpy" | "_rebuild_xla_tensor" => {
                    return args.first().copied().map(Self::Array);
                }
                "_rebuild_qtensor" => {
                    return Some(Self::Quantised("a quantised tensor".to_owned()));
                }
                name if name.starts_with("_rebuild_") && function.module.starts_with("torch") => {
                    let short: String = name.chars().take(60).collect();
                    return Some(Self::Unsupported(format!("a tensor of torch's {short}")));
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
                "Parameter" | "Variable" if function.module.starts_with("torch") => *args.first()?,
                _ => return None,
            };
            if numpy::is_array(wrapped) {
                return Some(Self::Array(wrapped));
            }
            if let Some(id) = wrapped.persistent_id() {
                return super::key(id).map(Self::Reference);
            }
            (function, args) = wrapped.call()?;
        }
        None
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
        let (storage, stored) = Storage::of(storage)?;
        let element = match dtype {
            Some(name) => Element::of_dtype(name).ok_or_else(|| no_element(name))?,
            None => stored,
        };
        let damaged = || "a tensor without a valid shape and stride".to_owned();
        Ok(Self {
            storage,
            element,
            offset: offset.index().ok_or_else(damaged)?,
            shape: shape.indices().ok_or_else(damaged)?,
            stride: stride.indices().ok_or_else(damaged)?,
        })
    }

    /// The bytes of the tensor's elements.
    fn length(&self) -> Option<usize> {
        // An empty tensor can have other dimensions whose product overflows.
        let mut sizes = self.shape.iter().map(|size| (*size).max(1));
        let size = self.element.size();
        sizes.try_fold(size, |length, size| length.checked_mul(size))?;
        Some(self.shape.iter().product::<usize>() * size)
    }

    /// Gathers the tensor from the bytes of its storage.
    ///
    /// # Errors
    /// The tensor reaches beyond its storage or exceeds the budget.
    pub(super) fn gather(
        &self,
        bytes: &[u8],
        big_endian: bool,
        budget: &mut Budget,
    ) -> Result<Tensor, String> {
        let size = self.element.size();
        let outside = || "the tensor reaches beyond its storage".to_owned();
        if self.shape.len() != self.stride.len() {
            return Err("the tensor does not have a stride for each dimension".to_owned());
        }
        let length = self.length().ok_or_else(outside)?;
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
            for element in gathered.chunks_exact_mut(size) {
                element.reverse();
            }
        }
        self.element.tensor(&gathered, &self.shape)
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.stride).rev().all(|(count, stride)| {
            let matches = *count == 1 || *stride == expected;
            expected *= count;
            matches
        })
    }
}

impl<'p> Storage<'p> {
    /// Interprets a value as a storage with its type.
    fn of(value: Value<'p>) -> Result<(Self, Element), String> {
        let none = || "a tensor without a storage".to_owned();
        if let Some((function, args)) = value.call() {
            if function.module != "torch.storage" || function.name != "_load_from_bytes" {
                return Err(none());
            }
            let bytes = args.first().and_then(|bytes| bytes.bytes());
            let bytes = bytes.ok_or_else(none)?;
            let element = super::legacy::element(&bytes)?;
            return Ok((Self::Embedded(bytes), element));
        }
        let id = value.persistent_id().ok_or_else(none)?;
        Self::of_id(id)
    }

    /// Interprets a persistent identifier as a storage: "storage", its class, its key, the device,
    /// its length in elements and, before PyTorch 1.6, the part that a view of it covers.
    pub(super) fn of_id(id: Value<'p>) -> Result<(Self, Element), String> {
        let none = || "a tensor without a storage".to_owned();
        let parts: Vec<_> = id.items().ok_or_else(none)?.take(8).collect();
        let [kind, class, key, _, length, ref rest @ ..] = parts[..] else {
            return Err(none());
        };
        if kind.text() != Some("storage") {
            return Err(none());
        }
        let class = class.global().ok_or_else(none)?;
        let element = Element::of_storage(class.name).ok_or_else(|| no_element(class.name))?;
        let view = rest.first().and_then(|view| view.items());
        let start = match view {
            Some(mut view) => view.nth(1).and_then(Value::index).ok_or_else(none)?,
            None => 0,
        };
        let length = length.index().ok_or_else(none)? as u64;
        let storage = Self::Stored {
            key: super::key(key).ok_or_else(none)?,
            length: length.saturating_mul(element.size() as u64),
            start: start.checked_mul(element.size()).ok_or_else(none)?,
        };
        Ok((storage, element))
    }

    /// Calls `with` with the bytes of the storage and whether they are big-endian.
    pub(super) fn read(&self, storages: &mut dyn Storages) -> Result<(Vec<u8>, bool), String> {
        todo!()
    }
}

fn no_element(name: &str) -> String {
    let short: String = name.chars().take(60).collect();
    format!("a tensor of {short}, which Candle does not have")
}
