//! How a convolution of f32 multiplies.

/// The precision of the products of a convolution of f32, as PyTorch's
/// `torch.backends.mkldnn.conv.fp32_precision`. Sums and results are f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Fp32Precision {
    /// Products in f32.
    #[default]
    Ieee,
    /// On the CPU, both factors of a product are rounded to bfloat16. Where that gains nothing, products stay
    /// in f32: depthwise convolutions, direct passes over fewer than 32 channels, the weight gradient of a
    /// single image, and large kernels that cover the image.
    Bf16,
}

impl Fp32Precision {
    /// Whether this processor has instructions for such products. Without them, products in bfloat16 take
    /// longer than in f32.
    pub fn is_accelerated(self) -> bool {
        match self {
            Self::Ieee => true,
            #[cfg(target_arch = "x86_64")]
            Self::Bf16 => std::arch::is_x86_feature_detected!("avx512bf16"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Bf16 => false,
        }
    }
}
