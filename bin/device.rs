//! `--device`: the device that computes.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use candle_core::utils::{cuda_is_available, metal_is_available};
use candle_core::{Device, DeviceLocation};
use candle_mish::device;

use crate::failure::{one_line, usage};

/// The value of `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first GPU that the program can use, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device with this number. Without a number, the ranks on a computer share its devices.
    Cuda(Option<usize>),
    /// The system's default Metal device.
    Metal,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "metal" => Ok(Self::Metal),
            "cuda" => Ok(Self::Cuda(None)),
            other => {
                let number = other.strip_prefix("cuda:");
                number
                    .and_then(|number| number.parse().ok())
                    .map(|number| Self::Cuda(Some(number)))
                    .ok_or_else(|| "must be cpu, cuda, cuda:N, metal or auto".to_string())
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(None) => f.write_str("cuda"),
            Self::Cuda(Some(number)) => write!(f, "cuda:{number}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl DeviceChoice {
    /// Opens the device of the rank `local_rank` of this computer.
    fn open(self, local_rank: usize) -> Result<Device> {
        let lacking = |feature: &str| {
            usage(format!(
                "--device {self}: this program was built without {feature}; build it with \
                 `--features {feature}`"
            ))
        };
        let failed = || format!("cannot open --device {self}");
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto if cuda_is_available() => Ok(fallback(device::cuda_of_rank(local_rank))),
            Self::Auto if metal_is_available() => Ok(fallback(device::metal())),
            Self::Auto => Ok(Device::Cpu),
            Self::Cuda(_) if !cuda_is_available() => Err(lacking("cuda")),
            Self::Cuda(None) => device::cuda_of_rank(local_rank).with_context(failed),
            Self::Cuda(Some(number)) => device::cuda(number).with_context(failed),
            Self::Metal if !metal_is_available() => Err(lacking("metal")),
            Self::Metal => device::metal().with_context(failed),
        }
    }
}

/// A GPU if it opened, else the CPU, with a warning.
fn fallback(device: candle_core::Result<Device>) -> Device {
    device.unwrap_or_else(|error| {
        let error = one_line(&error.to_string());
        tracing::warn!("cannot open a GPU, using the CPU: {error}");
        Device::Cpu
    })
}

/// A device's name as `--device` takes it.
pub fn name(device: &Device) -> String {
    match device.location() {
        DeviceLocation::Cpu => DeviceChoice::Cpu.to_string(),
        DeviceLocation::Cuda { gpu_id } => DeviceChoice::Cuda(Some(gpu_id)).to_string(),
        DeviceLocation::Metal { .. } => DeviceChoice::Metal.to_string(),
    }
}

/// The choice, and the number of this rank among the ranks of the computer.
static CHOICE: OnceLock<(DeviceChoice, usize)> = OnceLock::new();
static DEVICE: OnceLock<Device> = OnceLock::new();

/// Sets the device that [`current`] opens, once per process. `local_rank` is the number of this rank
/// among the ranks of the computer.
pub fn choose(choice: DeviceChoice, local_rank: usize) {
    CHOICE.get_or_init(|| (choice, local_rank));
}

/// Makes [`current`] the CPU, for work that only the CPU can do.
pub fn stay_on_cpu() {
    DEVICE.get_or_init(|| Device::Cpu);
}

/// The device of this process. It is opened on first use, so that a command that computes nothing
/// does not wait for a GPU.
///
/// # Errors
/// If the chosen device does not exist, or the program was built without support for it.
pub fn current() -> Result<&'static Device> {
    if let Some(device) = DEVICE.get() {
        return Ok(device);
    }
    let (choice, local_rank) = CHOICE.get().copied().unwrap_or_default();
    let device = choice.open(local_rank)?;
    Ok(DEVICE.get_or_init(|| device))
}

#[cfg(test)]
mod tests {
    use super::DeviceChoice;

    #[test]
    fn names_are_read_and_printed() {
        for (text, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda", DeviceChoice::Cuda(None)),
            ("cuda:0", DeviceChoice::Cuda(Some(0))),
            ("cuda:12", DeviceChoice::Cuda(Some(12))),
            ("metal", DeviceChoice::Metal),
        ] {
            assert_eq!(text.parse(), Ok(choice));
            assert_eq!(choice.to_string(), text);
        }
        assert_eq!("CUDA".parse(), Ok(DeviceChoice::Cuda(None)));
        for text in ["gpu", "cuda:", "cuda:-1", "cuda0", ""] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_cpu_is_always_there() {
        assert!(matches!(
            DeviceChoice::Cpu.open(1),
            Ok(candle_core::Device::Cpu)
        ));
        assert!(DeviceChoice::Auto.open(0).is_ok());
    }
}
