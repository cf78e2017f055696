//! The check that a run fits into memory.

use anyhow::bail;
use candle_mish::train::{Run, memory};

/// Says how much memory the steps of `run` need on each of `ranks` ranks, with batches of `batch_size`
/// images on all of them.
///
/// # Errors
/// If it is more than the available memory. The message has the largest batch that fits.
pub(super) fn estimate(run: &Run<'_>, batch_size: usize, ranks: usize) -> anyhow::Result<String> {
    let memory = memory::estimate(run)?;
    let part = batch_size.div_ceil(ranks);
    let needed = size(memory.total(part));
    let Some(available) = memory.available().map(size) else {
        return Ok(format!("memory    about {needed}"));
    };
    if memory.fits(part) {
        return Ok(format!("memory    about {needed} of {available}"));
    }
    let remedy = match memory.largest_batch(part) {
        Some(largest) => format!("--batch-size {} is the largest that fits", largest * ranks),
        None => "not even one image per step fits".to_string(),
    };
    bail!(
        "--batch-size {batch_size} needs about {needed} of memory, and {available} are available; \
         {remedy}"
    )
}

fn size(bytes: usize) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 1024.0 {
        format!("{mib:.0} MiB")
    } else {
        format!("{:.1} GiB", mib / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size(300 << 20), "300 MiB");
        assert_eq!(size(3 << 29), "1.5 GiB");
    }
}
