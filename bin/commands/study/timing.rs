//! The runs of a study that times activations.

use std::path::Path;

use anyhow::Context as _;
use candle_core::DType;
use candle_mish::Activation;
use candle_mish::checkpoint::write_atomically;
use candle_mish::study::{Outcome, Place, PlannedRun, TIMING, Timed, plain};
use serde::Deserialize;

use crate::bench::activation_calls::{ActivationCalls, Pass};
use crate::bench::mish::{GPU_CALLS, float};
use crate::bench::timing::alternate;
use crate::context::Context;
use crate::failure::usage;
use crate::{device, machine};

/// The shape of the tensor, unless the study gives one. `mish bench activations` has the same default.
const SHAPE: [usize; 4] = [128, 64, 32, 32];
/// The calls of a run, unless the study gives a number. Their median is the result.
const CALLS: usize = 3;
/// Calls before them, which allocate memory.
const WARM_UP: usize = 1;

/// The options of a run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    activation: toml::Value,
    #[serde(default = "f32")]
    dtype: String,
    #[serde(default = "forward")]
    pass: Pass,
    shape: Option<Vec<usize>>,
    calls: Option<usize>,
    /// Numbers the repetitions.
    #[serde(default, rename = "round")]
    _round: i64,
}

fn f32() -> String {
    DType::F32.as_str().to_owned()
}

fn forward() -> Pass {
    Pass::Forward
}

/// What a run times.
pub(super) struct Timing {
    activation: Activation,
    dtype: DType,
    pass: Pass,
    shape: Vec<usize>,
    calls: usize,
}

impl Timing {
    /// What `run` times.
    ///
    /// # Errors
    /// A usage error if an option is unknown or its value not valid.
    pub(super) fn of(run: &PlannedRun) -> anyhow::Result<Self> {
        let wrong = |message: String| usage(format!("run {}: {}", run.name, message.trim()));
        let settings: toml::Table = run.settings.iter().cloned().collect();
        let options: Options = settings
            .try_into()
            .map_err(|e: toml::de::Error| wrong(e.message().to_owned()))?;
        let activation = plain(&options.activation).parse();
        let dtype = float(&options.dtype);
        let shape = options.shape.unwrap_or_else(|| SHAPE.to_vec());
        if shape.len() < 2 {
            return Err(wrong(
                "shape needs a number of images and of channels".to_owned(),
            ));
        }
        let calls = options.calls.unwrap_or(CALLS);
        if calls == 0 {
            return Err(wrong("calls must be at least 1".to_owned()));
        }
        Ok(Self {
            activation: activation.map_err(|e| wrong(format!("activation: {e}")))?,
            dtype: dtype.map_err(|e| wrong(format!("dtype {e}")))?,
            pass: options.pass,
            shape,
            calls,
        })
    }

    /// Times the activation and writes the result into `folder`.
    ///
    /// # Errors
    /// If memory is short, an op fails, or the file cannot be written.
    pub(super) fn measure(&self, folder: &Path, context: &Context) -> anyhow::Result<()> {
        let device = device::current()?;
        let prepared = ActivationCalls::new(&[self.activation], self.dtype, &self.shape, device)?;
        let mut calls = [prepared.call(0, self.pass)];
        let repeats = if device.is_cpu() { 1 } else { GPU_CALLS };
        let timings = alternate(device, &mut calls, repeats, WARM_UP, self.calls)?;
        let Some(timing) = timings.into_iter().flatten().next() else {
            anyhow::bail!("no call was timed");
        };
        let timed = Timed {
            milliseconds: timing.median_ms,
            place: place(context)?,
        };
        let path = folder.join(TIMING);
        let text = serde_json::to_string_pretty(&timed)? + "\n";
        std::fs::create_dir_all(folder)
            .and_then(|()| write_atomically(&path, |file| file.write_all(text.as_bytes())))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Where this process measures times.
fn place(context: &Context) -> anyhow::Result<Place> {
    Ok(Place {
        device: device::name(device::current()?),
        threads: context.threads,
        processor: machine::processor(),
    })
}

/// Checks that times are compared only if they are of one place.
///
/// # Errors
/// A usage error if a run was timed elsewhere.
pub(super) fn check_place(outcomes: &[Outcome], context: &Context) -> anyhow::Result<()> {
    let here = place(context)?;
    for outcome in outcomes {
        let Outcome::Timed(Timed { place: there, .. }) = outcome else {
            continue;
        };
        if (&there.device, there.threads) != (&here.device, here.threads) {
            return Err(usage(format!(
                "the study has times of {} with --threads {}: use the same, or another --output",
                there.device, there.threads
            )));
        }
        if !there.processor.is_empty() && there.processor != here.processor {
            return Err(usage(format!(
                "the study has times of another computer ({}; this one is {}): use another --output",
                there.processor, here.processor
            )));
        }
    }
    Ok(())
}
