//! The types of stored elements, of all formats, as Candle's tensors hold them.

use candle_core::{DType, Device, Tensor};

use super::error::one_line;
use crate::pickle::numpy::ElementType;

/// The type of a stored element. Types that Candle lacks are read as a wider one: booleans and
/// bytes as u8, i8 as i16, u16 as u32, u64 as i64. f8 becomes f16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F8E4M3,
    F16,
    BF16,
    F32,
    F64,
}

impl Element {
    /// The type of a `torch.FloatStorage` and its kind.
    pub(super) fn of_storage(class: &str) -> Option<Self> {
        Some(match class.strip_suffix("Storage")? {
            "Bool" => Self::Bool,
            "Byte" => Self::U8,
            "Char" => Self::I8,
            "Short" => Self::I16,
            "Int" => Self::I32,
            "Long" => Self::I64,
            "Half" => Self::F16,
            "BFloat16" => Self::BF16,
            "Float" => Self::F32,
            "Double" => Self::F64,
            // Untyped bytes: the tensor has a type of its own.
            "Untyped" => Self::U8,
            _ => return None,
        })
    }

    /// The type of a `torch.float32` and its kind.
    pub(super) fn of_dtype(name: &str) -> Option<Self> {
        Some(match name {
            "bool" => Self::Bool,
            "uint8" => Self::U8,
            "int8" => Self::I8,
            "uint16" => Self::U16,
            "int16" => Self::I16,
            "uint32" => Self::U32,
            "int32" => Self::I32,
            "uint64" => Self::U64,
            "int64" => Self::I64,
            "float8_e4m3fn" => Self::F8E4M3,
            "float16" => Self::F16,
            "bfloat16" => Self::BF16,
            "float32" => Self::F32,
            "float64" => Self::F64,
            _ => return None,
        })
    }

    /// The type of a NumPy array.
    pub(super) fn of_numpy(element: ElementType) -> Option<Self> {
        Some(match (element.kind, element.size) {
            ('b', 1) => Self::Bool,
            ('u', 1) => Self::U8,
            ('i', 1) => Self::I8,
            ('u', 2) => Self::U16,
            ('i', 2) => Self::I16,
            ('u', 4) => Self::U32,
            ('i', 4) => Self::I32,
            ('u', 8) => Self::U64,
            ('i', 8) => Self::I64,
            ('f', 2) => Self::F16,
            ('f', 4) => Self::F32,
            ('f', 8) => Self::F64,
            _ => return None,
        })
    }

    /// The type in a safetensors header.
    pub(super) fn of_safetensors(dtype: safetensors::Dtype) -> Option<Self> {
        use safetensors::Dtype;
        Some(match dtype {
            Dtype::BOOL => Self::Bool,
            Dtype::U8 => Self::U8,
            Dtype::I8 => Self::I8,
            Dtype::U16 => Self::U16,
            Dtype::I16 => Self::I16,
            Dtype::U32 => Self::U32,
            Dtype::I32 => Self::I32,
            Dtype::U64 => Self::U64,
            Dtype::I64 => Self::I64,
            Dtype::F8_E4M3 => Self::F8E4M3,
            Dtype::F16 => Self::F16,
            Dtype::BF16 => Self::BF16,
            Dtype::F32 => Self::F32,
            Dtype::F64 => Self::F64,
            _ => return None,
        })
    }

    /// Bytes of a stored element.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 | Self::F8E4M3 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// A tensor on the CPU of contiguous little-endian elements.
    ///
    /// # Errors
    /// The bytes do not match the shape, or an unsigned integer does not fit i64.
    pub(super) fn tensor(self, bytes: &[u8], shape: &[usize]) -> Result<Tensor, String> {
        let cpu = &Device::Cpu;
        let line = |error: candle_core::Error| one_line(&error);
        let raw = |dtype| Tensor::from_raw_buffer(bytes, dtype, shape, cpu).map_err(line);
        match self {
            Self::Bool | Self::U8 => raw(DType::U8),
            Self::I16 => raw(DType::I16),
            Self::U32 => raw(DType::U32),
            Self::I32 => raw(DType::I32),
            Self::I64 => raw(DType::I64),
            // Exact. Candle's conversion from f8 to f64 does not return.
            Self::F8E4M3 => raw(DType::F8E4M3)?.to_dtype(DType::F16).map_err(line),
            Self::F16 => raw(DType::F16),
            Self::BF16 => raw(DType::BF16),
            Self::F32 => raw(DType::F32),
            Self::F64 => raw(DType::F64),
            Self::I8 => {
                let wide = bytes.iter().map(|byte| i16::from(byte.cast_signed()));
                Tensor::from_vec(wide.collect::<Vec<_>>(), shape, cpu).map_err(line)
            }
            Self::U16 => {
                let (numbers, _) = bytes.as_chunks();
                let wide = numbers
                    .iter()
                    .map(|number| u16::from_le_bytes(*number).into());
                Tensor::from_vec(wide.collect::<Vec<u32>>(), shape, cpu).map_err(line)
            }
            Self::U64 => {
                let (numbers, _) = bytes.as_chunks();
                let signed = |number: &[u8; 8]| i64::try_from(u64::from_le_bytes(*number));
                let signed: Result<Vec<_>, _> = numbers.iter().map(signed).collect();
                let signed = signed.map_err(|_| "it has unsigned integers above 2^63 - 1");
                Tensor::from_vec(signed?, shape, cpu).map_err(line)
            }
        }
    }
}

/// Whether the strides of a shape fit a `usize`. They may overflow where another dimension of 0 makes
/// the tensor empty.
pub(super) fn is_addressable(shape: &[usize]) -> bool {
    let mut sizes = shape.iter().map(|size| (*size).max(1));
    let elements = sizes.try_fold(1usize, |product, size| product.checked_mul(size));
    elements.is_some_and(|elements| elements <= isize::MAX as usize / size_of::<f64>())
}
