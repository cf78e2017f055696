//! PyTorch's weight files (`.pth`, `.bin`): a zip archive of a pickle and the bytes of the tensors.
//!
//! A pickle is a program. Candle's unpickler supports only the instructions that build lists,
//! dictionaries and calls, and returns the calls as data without making them. This module interprets
//! the calls that rebuild a tensor and ignores all others, so nothing in a file is ever executed. It
//! checks each instruction first, so that a damaged or hostile file cannot make the unpickler panic,
//! recurse too deeply or fill the memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use candle_core::pickle::{Object, Stack};
use candle_core::{DType, Device, Tensor};
use zip::ZipArchive;

/// The longest pickle, in bytes. Weights of a network need far less; a longer pickle is not read into
/// memory.
const LONGEST_PICKLE: u64 = 1 << 26;
/// The deepest nesting of values, far above the nesting of weights within a training state.
const DEEPEST: usize = 100;
/// The largest total number of values to build or copy.
const MOST_VALUES: usize = 100_000_000;
/// The keys of the weights within a training state, in timm's order: averaged weights first.
const WEIGHTS: [&str; 5] = [
    "state_dict_ema",
    "model_ema",
    "state_dict",
    "model_state_dict",
    "model",
];

/// The first bytes of a zip archive.
pub(super) const MAGIC: [u8; 4] = *b"PK\x03\x04";

/// The tensors of a file by name, or a line about the problem.
pub(super) fn read(path: &Path) -> Result<HashMap<String, Tensor>, String> {
    let file = File::open(path).map_err(line)?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(line)?;
    let names: Vec<String> = archive
        .file_names()
        .filter_map(|name| name.ok().map(|name| name.into_owned()))
        .collect();
    let pickle = names.iter().find(|name| name.ends_with("/data.pkl"));
    let pickle = pickle.ok_or("it is an archive without weights: it has no data.pkl")?;
    let folder = pickle.trim_end_matches(".pkl").to_owned();
    let bytes = entry(&mut archive, pickle, LONGEST_PICKLE)?;
    let mut tensors = HashMap::new();
    for (name, value) in weights(unpickle(&bytes)?)? {
        let Object::Unicode(name) = name else {
            continue;
        };
        let Some(tensor) = Rebuild::of(value) else {
            continue;
        };
        let storage = format!("{folder}/{}", tensor.storage);
        let most = (tensor.stored as u64).saturating_mul(tensor.dtype.size_in_bytes() as u64);
        let bytes = entry(&mut archive, &storage, most)?;
        let tensor = tensor.read(&bytes);
        tensors.insert(name.clone(), tensor.map_err(|e| format!("{name:?}: {e}"))?);
    }
    if tensors.is_empty() {
        return Err("it holds no tensors by name".to_owned());
    }
    Ok(tensors)
}

/// The content of a file in the archive, at most `most` bytes.
fn entry<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    name: &str,
    most: u64,
) -> Result<Vec<u8>, String> {
    let file = archive
        .by_name(name)
        .map_err(|e| format!("{name:?}: {}", line(e)))?;
    let mut bytes = Vec::new();
    let read = file.take(most.saturating_add(1)).read_to_end(&mut bytes);
    let read = read.map_err(|e| format!("{name:?}: {}", line(e)))? as u64;
    if read > most {
        return Err(format!("{name:?} has more than {most} bytes"));
    }
    Ok(bytes)
}

/// The value that the pickle builds.
fn unpickle(bytes: &[u8]) -> Result<Object, String> {
    let mut rest = bytes;
    let mut stack = Stack::empty();
    let mut values = 0;
    loop {
        let Some(&instruction) = rest.first() else {
            return Err("its pickle breaks off".to_owned());
        };
        match (instruction, rest) {
            // A string that is longer than the file.
            (b'X', [_, a, b, c, d, rest @ ..])
                if u32::from_le_bytes([*a, *b, *c, *d]) as usize > rest.len() =>
            {
                return Err("its pickle breaks off".to_owned());
            }
            // An integer of more than 64 bits.
            (0x8a, [_, length, ..]) if *length > 8 => {
                return Err("its pickle has a huge integer".to_owned());
            }
            _ => {}
        }
        let end = stack.read(&mut rest).map_err(line)?;
        if end {
            return stack.finalize().map_err(line);
        }
        // Only these instructions nest or copy values.
        if b"t\x85\x86\x87\x81RQbaesudhjqr".contains(&instruction)
            && let Some(top) = stack.stack().last()
        {
            let count = count(top, DEEPEST).ok_or("its pickle nests too deeply")?;
            values += count;
            if values > MOST_VALUES {
                return Err("its pickle builds too many values".to_owned());
            }
        }
    }
}

/// The number of values in `value`, or `None` if they nest deeper than `depth`.
fn count(value: &Object, depth: usize) -> Option<usize> {
    let depth = depth.checked_sub(1)?;
    let sum = |mut parts: Box<dyn Iterator<Item = &Object> + '_>| {
        parts.try_fold(1, |sum: usize, part| Some(sum + count(part, depth)?))
    };
    match value {
        Object::Tuple(parts) | Object::List(parts) => sum(Box::new(parts.iter())),
        Object::Dict(pairs) => sum(Box::new(pairs.iter().flat_map(|(key, value)| [key, value]))),
        Object::Reduce { callable, args } | Object::Build { callable, args } => {
            sum(Box::new([&**callable, &**args].into_iter()))
        }
        Object::PersistentLoad(part) => sum(Box::new(std::iter::once(&**part))),
        Object::Class { .. }
        | Object::Int(_)
        | Object::Long(_)
        | Object::Float(_)
        | Object::Unicode(_)
        | Object::Bool(_)
        | Object::None
        | Object::Mark => Some(1),
    }
}

/// The dictionary of weights: the root or, in a training state, a part of it.
fn weights(root: Object) -> Result<Vec<(Object, Object)>, String> {
    let Object::Dict(mut pairs) = root else {
        return Err(
            "it holds a whole object, not a dictionary of weights: save its state_dict".into(),
        );
    };
    for name in WEIGHTS {
        let found = pairs.iter().position(|(key, value)| {
            *key == Object::Unicode(name.to_owned()) && is_dictionary(value)
        });
        if let Some(index) = found
            && let (_, Object::Dict(inner)) = pairs.swap_remove(index)
        {
            return Ok(inner);
        }
    }
    Ok(pairs)
}

fn is_dictionary(value: &Object) -> bool {
    matches!(value, Object::Dict(_))
}

/// A call that rebuilds a tensor from a part of the archive.
struct Rebuild {
    storage: String,
    /// Elements in the storage.
    stored: usize,
    dtype: DType,
    /// The first element.
    offset: usize,
    shape: Vec<usize>,
    /// Elements between neighbours along each dimension.
    stride: Vec<usize>,
}

impl Rebuild {
    /// Interprets a value as a call that rebuilds a tensor, if it is one.
    fn of(value: Object) -> Option<Self> {
        let Object::Reduce { callable, args } = value else {
            return None;
        };
        let (Object::Class { class_name, .. }, Object::Tuple(mut args)) = (*callable, *args) else {
            return None;
        };
        match class_name.as_str() {
            "_rebuild_tensor_v2" => Self::of_args(args),
            // A parameter: its first argument is the tensor.
            "_rebuild_parameter" if !args.is_empty() => Self::of(args.swap_remove(0)),
            // A subclass of a tensor: the call, the class, the call's arguments.
            "_rebuild_from_type_v2" if args.len() >= 3 => {
                let (args, callable) = (args.swap_remove(2), args.swap_remove(0));
                Self::of(Object::Reduce {
                    callable: Box::new(callable),
                    args: Box::new(args),
                })
            }
            _ => None,
        }
    }

    /// Interprets the arguments: storage, offset, shape and stride.
    fn of_args(args: Vec<Object>) -> Option<Self> {
        let mut args = args.into_iter();
        let Object::PersistentLoad(storage) = args.next()? else {
            return None;
        };
        let Object::Tuple(storage) = *storage else {
            return None;
        };
        // "storage", its class, its name in the archive, the device, its length.
        let mut storage = storage.into_iter().skip(1);
        let Object::Class { class_name, .. } = storage.next()? else {
            return None;
        };
        let dtype = match class_name.as_str() {
            "FloatStorage" => DType::F32,
            "DoubleStorage" => DType::F64,
            "HalfStorage" => DType::F16,
            "BFloat16Storage" => DType::BF16,
            "ByteStorage" | "BoolStorage" => DType::U8,
            "IntStorage" => DType::I32,
            "LongStorage" => DType::I64,
            _ => return None,
        };
        let Object::Unicode(name) = storage.next()? else {
            return None;
        };
        Some(Self {
            storage: name,
            stored: index(&storage.nth(1)?)?,
            dtype,
            offset: index(&args.next()?)?,
            shape: indices(args.next()?)?,
            stride: indices(args.next()?)?,
        })
    }

    /// Gathers the tensor from the bytes of its storage.
    fn read(&self, bytes: &[u8]) -> Result<Tensor, String> {
        let size = self.dtype.size_in_bytes();
        let outside = || "the tensor reaches beyond its storage".to_owned();
        if self.shape.len() != self.stride.len() {
            return Err("the tensor does not have a stride for each dimension".to_owned());
        }
        // An empty tensor can have other dimensions whose product overflows.
        let mut sizes = self.shape.iter().map(|size| (*size).max(1));
        let addressable = sizes.try_fold(1usize, |n, size| n.checked_mul(size));
        addressable.ok_or_else(outside)?;
        let elements: usize = self.shape.iter().product();
        let last = self
            .shape
            .iter()
            .zip(&self.stride)
            .try_fold(self.offset, |at, (count, stride)| {
                at.checked_add(count.saturating_sub(1).checked_mul(*stride)?)
            })
            .ok_or_else(outside)?;
        // Repeated elements (a stride of zero) must not make a tensor larger than its storage.
        if elements > 0 && (last >= bytes.len() / size || elements > bytes.len() / size) {
            return Err(outside());
        }
        let mut gathered = Vec::with_capacity(elements * size);
        let mut position = vec![0; self.shape.len()];
        for _ in 0..elements {
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
        Tensor::from_raw_buffer(&gathered, self.dtype, &self.shape, &Device::Cpu).map_err(line)
    }
}

/// The first line of an error. Candle's errors may have a backtrace below it.
fn line(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    let text = text.lines().next().unwrap_or_default();
    text.replace(|c: char| c.is_control(), " ")
}

/// A non-negative integer.
fn index(value: &Object) -> Option<usize> {
    match value {
        Object::Int(number) => usize::try_from(*number).ok(),
        Object::Long(number) => usize::try_from(*number).ok(),
        _ => None,
    }
}

fn indices(value: Object) -> Option<Vec<usize>> {
    match value {
        Object::Tuple(parts) => parts.iter().map(index).collect(),
        _ => None,
    }
}
