//! `--roofline`: the time that each op would take at the speed of the processor or of the memory, and the
//! time with more cores.
//!
//! An op takes at least the time of its multiply-adds at the rate of a matrix product, and the time of its
//! bytes at the rate of a copy, whichever is longer (Williams, Waterman and Patterson, "Roofline: an
//! insightful visual performance model", 2009). With more cores, the first shrinks with the number of
//! cores, the second with the bandwidth, and an op keeps its distance from the bound. Time outside of ops
//! stays as it is.

use std::str::FromStr;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use serde::Serialize;

use super::profile::Share;
use super::timing::{Call, alternate};
use crate::table::{align_right, counted, table};

/// Rows and columns of the matrix product that measures the processor.
const SIDE: usize = 1024;
/// Values of the copy that measures the memory, 64 MiB: more than caches hold.
const VALUES: usize = 16 << 20;
const ROUNDS: usize = 7;

/// Cores and memory of another computer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Computer {
    pub cores: usize,
    /// The rate of a copy with all cores: bytes read and bytes written.
    pub gb_per_second: f64,
}

impl FromStr for Computer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(cores, rate)| {
            let computer = Self {
                cores: cores.parse().ok()?,
                gb_per_second: rate.parse().ok()?,
            };
            let valid = computer.cores > 0 && computer.gb_per_second.is_finite();
            (valid && computer.gb_per_second > 0.0).then_some(computer)
        });
        parsed.ok_or_else(|| "must be CORES:GB/S, such as 16:150".to_string())
    }
}

/// The measured speed of this computer with the threads of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Peaks {
    pub threads: usize,
    /// Of a matrix product.
    pub gflops: f64,
    /// Of a copy: bytes read and bytes written.
    pub gb_per_second: f64,
}

impl Peaks {
    /// Measures a matrix product and a copy on the CPU.
    ///
    /// # Errors
    /// If memory is short.
    pub fn measure() -> candle_core::Result<Self> {
        let side = (SIDE, SIDE);
        let a = Tensor::rand(-1f32, 1f32, side, &Device::Cpu)?;
        let b = Tensor::ones(side, DType::F32, &Device::Cpu)?;
        let values = vec![1f32; VALUES];
        let mut target = vec![0f32; VALUES];
        let threads = rayon::current_num_threads();
        let chunk = VALUES.div_ceil(threads);
        let mut calls: [Call; 2] = [
            Box::new(|| a.matmul(&b).map(drop)),
            Box::new(|| {
                let chunks = target.par_chunks_mut(chunk).zip(values.par_chunks(chunk));
                chunks.for_each(|(target, values)| target.copy_from_slice(values));
                Ok(())
            }),
        ];
        let timings = alternate(&Device::Cpu, &mut calls, 1, 1, ROUNDS)?;
        // The fastest round: other load only slows them down.
        let giga = |case: usize, amount: f64| {
            timings[case].map_or(f64::NAN, |timing| 1e-6 * amount / timing.min_ms)
        };
        Ok(Self {
            threads,
            gflops: giga(0, 2.0 * (SIDE * SIDE * SIDE) as f64),
            gb_per_second: giga(1, (2 * size_of::<f32>() * VALUES) as f64),
        })
    }
}

/// An op in one pass, in milliseconds per step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub op: String,
    pub pass: String,
    pub ms: f64,
    /// The time of its multiply-adds, and of its bytes, at the peaks.
    pub compute_ms: f64,
    pub memory_ms: f64,
}

impl Row {
    fn of(share: &Share, peaks: &Peaks) -> Self {
        Self {
            op: share.op.clone(),
            pass: share.pass.clone(),
            ms: share.ms,
            compute_ms: share.gflops * share.ms / peaks.gflops,
            memory_ms: share.gb_per_second * share.ms / peaks.gb_per_second,
        }
    }

    fn bound_ms(&self) -> f64 {
        self.compute_ms.max(self.memory_ms)
    }

    /// The time on another computer.
    fn on(&self, computer: &Computer, peaks: &Peaks) -> f64 {
        let memory = peaks.gb_per_second / computer.gb_per_second;
        let compute = peaks.threads as f64 / computer.cores as f64;
        if self.pass == UPDATE {
            return self.ms * memory;
        }
        let bound = self.bound_ms();
        match bound > 0.0 {
            true => self.ms * (self.compute_ms * compute).max(self.memory_ms * memory) / bound,
            false => self.ms,
        }
    }
}

/// The pass of the optimizer, which reports no bytes: it reads and writes weights once.
const UPDATE: &str = "update";

/// The predicted time of a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Predicted {
    #[serde(flatten)]
    pub computer: Computer,
    pub ms: f64,
    /// The time now divided by it.
    pub speedup: f64,
}

/// The bounds of all ops, and predictions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Roofline {
    pub peaks: Peaks,
    /// The longest time first.
    pub rows: Vec<Row>,
    pub predicted: Vec<Predicted>,
}

impl Roofline {
    /// From the shares of a profile.
    pub fn new(shares: &[Share], peaks: Peaks, computers: &[Computer]) -> Self {
        let rows: Vec<Row> = shares.iter().map(|share| Row::of(share, &peaks)).collect();
        let now: f64 = rows.iter().map(|row| row.ms).sum();
        let predict = |computer: &Computer| {
            let ms = rows.iter().map(|row| row.on(computer, &peaks)).sum::<f64>();
            Predicted {
                computer: *computer,
                ms,
                speedup: now / ms,
            }
        };
        Self {
            predicted: computers.iter().map(predict).collect(),
            peaks,
            rows,
        }
    }

    /// The roofline as text.
    pub fn text(&self) -> String {
        let Peaks {
            threads,
            gflops,
            gb_per_second,
        } = self.peaks;
        let mut text = format!(
            "peaks with {}: {gflops:.0} GFLOP/s (matrix product), {gb_per_second:.1} GB/s (copy)\n",
            counted(threads, "thread")
        );
        let header = [
            "op",
            "pass",
            "ms",
            "compute, ms",
            "memory, ms",
            "bound",
            "of the bound",
        ];
        let mut rows = table(&header);
        let known = |value: f64| match value > 0.0 {
            true => format!("{value:.2}"),
            false => String::new(),
        };
        for row in &self.rows {
            let bound = row.bound_ms();
            let name = match bound > 0.0 {
                true if row.compute_ms >= row.memory_ms => "compute",
                true => "memory",
                false => "",
            };
            rows.add_row([
                row.op.clone(),
                row.pass.clone(),
                format!("{:.2}", row.ms),
                known(row.compute_ms),
                known(row.memory_ms),
                name.to_string(),
                match bound > 0.0 {
                    true => format!("{:.0} %", 100.0 * bound / row.ms),
                    false => String::new(),
                },
            ]);
        }
        align_right(&mut rows, 2..5);
        align_right(&mut rows, 6..7);
        text += &rows.trim_fmt();
        for predicted in &self.predicted {
            let Computer {
                cores,
                gb_per_second,
            } = predicted.computer;
            text += &format!(
                "\npredicted with {cores} cores and {gb_per_second} GB/s: {:.1} ms per step, {:.1}x",
                predicted.ms, predicted.speedup
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Computer, Peaks, Roofline, Share};

    fn share(op: &str, pass: &str, ms: f64, gflops: f64, gb_per_second: f64) -> Share {
        Share {
            op: op.to_string(),
            pass: pass.to_string(),
            share: 0.0,
            ms,
            calls: 1.0,
            gflops,
            gb_per_second,
        }
    }

    #[test]
    fn each_op_has_its_bound_and_scales_with_it() {
        let shares = [
            share("conv2d", "forward", 10.0, 100.0, 1.0),
            share("act", "forward", 4.0, 0.0, 5.0),
            share("optimizer", "update", 2.0, 0.0, 0.0),
            share("(other)", "", 1.0, 0.0, 0.0),
        ];
        let peaks = Peaks {
            threads: 2,
            gflops: 200.0,
            gb_per_second: 10.0,
        };
        let computer = Computer {
            cores: 8,
            gb_per_second: 20.0,
        };
        let roofline = Roofline::new(&shares, peaks, &[computer]);
        let bounds: Vec<_> = roofline
            .rows
            .iter()
            .map(|row| (row.compute_ms, row.memory_ms))
            .collect();
        assert_eq!(bounds, [(5.0, 1.0), (0.0, 2.0), (0.0, 0.0), (0.0, 0.0)]);
        // Four times the cores, twice the bandwidth: 10 / 4, 4 / 2, 2 / 2, 1.
        assert_eq!(roofline.predicted[0].ms, 2.5 + 2.0 + 1.0 + 1.0);
        assert_eq!(roofline.predicted[0].speedup, 17.0 / 6.5);
        // With many cores, the memory bounds the convolution as well.
        let many = Computer {
            cores: 1000,
            gb_per_second: 10.0,
        };
        let roofline = Roofline::new(&shares[..1], peaks, &[many]);
        assert_eq!(roofline.predicted[0].ms, 10.0 * 1.0 / 5.0);
    }

    #[test]
    fn computers_are_read() {
        let read = |text: &str| text.parse::<Computer>();
        let computer = Computer {
            cores: 16,
            gb_per_second: 150.5,
        };
        assert_eq!(read("16:150.5"), Ok(computer));
        for text in ["16", "0:1", "16:0", "16:-1", "16:inf", "a:1", "16:"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
