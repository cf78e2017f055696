//! Reads images ahead of the network, in parallel and in order.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use anyhow::bail;
use candle_core::{DType, Tensor};
use candle_mish::checkpoint;
use candle_mish::data::{DecodeOptions, Image, Preprocess};
use rayon::prelude::*;

/// The name of the tensor with images in a safetensors file.
const INPUT: &str = "input";
/// Chunks ready for the network: enough to hide a slow file, with little memory.
const QUEUE: usize = 2;

/// Whether a file holds preprocessed images, not an image.
pub(super) fn is_preprocessed(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "safetensors")
}

/// Reads image files.
pub(super) struct Reader {
    /// The preprocessing of image files.
    pub preprocess: Preprocess,
    /// How image files become RGB.
    pub decode: DecodeOptions,
    /// Whether images are converted to grey.
    pub grey: bool,
    /// Images in a chunk.
    pub batch_size: usize,
}

/// A preprocessed image, or why there is none.
pub(super) struct Input {
    /// The file, with the position in it if it may hold several images.
    pub name: String,
    /// [1, C, H, W]
    pub pixels: anyhow::Result<Tensor>,
}

/// Successive images of one size.
pub(super) struct Chunk {
    pub images: Vec<Input>,
    /// The number of files that are complete with this chunk.
    pub files: usize,
}

impl Reader {
    /// The images of `files` in order, read on another thread. It ends when the receiver is dropped.
    pub(super) fn stream<'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        files: &'scope [PathBuf],
    ) -> Receiver<Chunk> {
        let (sender, receiver) = sync_channel(QUEUE);
        scope.spawn(move || self.send(files, &sender));
        receiver
    }

    /// Sends all chunks, or returns `None` if nobody receives them.
    fn send(&self, files: &[PathBuf], sender: &SyncSender<Chunk>) -> Option<()> {
        let kinds = files.chunk_by(|a, b| !is_preprocessed(a) && !is_preprocessed(b));
        for run in kinds {
            match run {
                [file] if is_preprocessed(file) => self.send_tensor(file, sender)?,
                images => {
                    for images in images.chunks(self.batch_size) {
                        let chunk = Chunk {
                            images: images.par_iter().map(|file| self.image(file)).collect(),
                            files: images.len(),
                        };
                        sender.send(chunk).ok()?;
                    }
                }
            }
        }
        Some(())
    }

    fn image(&self, path: &Path) -> Input {
        let pixels = || -> anyhow::Result<Tensor> {
            let image = Image::read_with(path, self.decode)?;
            let image = if self.grey { image.into_grey() } else { image };
            Ok(self.preprocess.tensor(&image)?)
        };
        Input {
            name: path.display().to_string(),
            pixels: pixels(),
        }
    }

    /// Sends the images of a safetensors file.
    fn send_tensor(&self, path: &Path, sender: &SyncSender<Chunk>) -> Option<()> {
        let name = path.display();
        let (images, count) = match read_tensor(path) {
            Ok(read) => read,
            Err(error) => {
                let failed = Input {
                    name: name.to_string(),
                    pixels: Err(error),
                };
                let chunk = Chunk {
                    images: vec![failed],
                    files: 1,
                };
                return sender.send(chunk).ok();
            }
        };
        let mut first = 0;
        loop {
            let end = count.min(first + self.batch_size);
            let input = |i: usize| Input {
                name: format!("{name}[{i}]"),
                pixels: images.narrow(0, i, 1).map_err(Into::into),
            };
            let chunk = Chunk {
                images: (first..end).map(input).collect(),
                files: usize::from(end == count),
            };
            sender.send(chunk).ok()?;
            if end == count {
                return Some(());
            }
            first = end;
        }
    }
}

/// The images of a safetensors file [N, C, H, W], and N.
fn read_tensor(path: &Path) -> anyhow::Result<(Tensor, usize)> {
    let name = path.display();
    let file = checkpoint::read(path)?;
    let Some(images) = file.tensors.get(INPUT) else {
        bail!("{name} has no tensor '{INPUT}'");
    };
    let Ok((count, ..)) = images.dims4() else {
        bail!(
            "{name}: tensor '{INPUT}' has shape {:?}, must be [N, C, H, W]",
            images.dims()
        );
    };
    Ok((images.to_dtype(DType::F32)?, count))
}
