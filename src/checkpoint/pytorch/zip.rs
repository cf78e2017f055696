//! The zip archives of PyTorch 1.6 and newer.
//!
//! `NAME/data.pkl` is the pickle, `NAME/data/KEY` a storage, `NAME/byteorder` says "little" or "big"
//! since PyTorch 2.1. NAME is arbitrary. The entries are not compressed.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use zip::ZipArchive;

use super::storages::Storages;
use super::tensor::Strided;
use crate::checkpoint::error::one_line;

/// The longest pickle, in bytes. Weights of a network need far less; a longer pickle is not read into
/// memory.
const LONGEST_PICKLE: u64 = 1 << 28;

/// An open archive.
pub(super) struct Zip {
    archive: ZipArchive<BufReader<File>>,
    length: usize,
    /// The folder of the storages, with the slash.
    folder: String,
    big_endian: bool,
}

impl Zip {
    /// Opens an archive and reads its pickle.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<u8>), String> {
        let mut file = File::open(path).map_err(|e| one_line(&e))?;
        let length = file.metadata().map_err(|e| one_line(&e))?.len();
        let complete = has_end(&mut file).map_err(|e| one_line(&e))?;
        if !complete {
            return Err(
                "it is an incomplete zip archive without its end: download or copy it again"
                    .to_owned(),
            );
        }
        let archive = ZipArchive::new(BufReader::new(file)).map_err(|e| one_line(&e))?;
        let names: Vec<String> = archive
            .file_names()
            .filter_map(|name| name.ok().map(|name| name.into_owned()))
            .collect();
        let is_pickle = |name: &&String| *name == "data.pkl" || name.ends_with("/data.pkl");
        let pickle = names.iter().find(is_pickle);
        let pickle = pickle.ok_or_else(|| without_pickle(&names))?;
        let root = pickle.trim_end_matches("data.pkl");
        let mut zip = Self {
            archive,
            length: usize::try_from(length).unwrap_or(usize::MAX),
            folder: format!("{root}data/"),
            big_endian: false,
        };
        let order = format!("{root}byteorder");
        if names.contains(&order) {
            zip.big_endian = match &zip.entry(&order, 16)?[..] {
                b"little" => false,
                b"big" => true,
                _ => return Err("its byteorder is neither little nor big".to_owned()),
            };
        }
        let bytes = zip.entry(pickle, LONGEST_PICKLE)?;
        Ok((zip, bytes))
    }

    /// The length of the file.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// The content of a file in the archive, at most `most` bytes.
    fn entry(&mut self, name: &str, most: u64) -> Result<Vec<u8>, String> {
        let fail = |reason: &dyn std::fmt::Display| format!("{name:?}: {}", one_line(reason));
        let file = self.archive.by_name(name).map_err(|e| fail(&e))?;
        let mut bytes = Vec::new();
        let read = file.take(most.saturating_add(1)).read_to_end(&mut bytes);
        let read = read.map_err(|e| fail(&e))? as u64;
        if read > most {
            return Err(format!("{name:?} has more than {most} bytes"));
        }
        Ok(bytes)
    }
}

impl Storages for Zip {
    fn bytes(&mut self, key: &str, length: u64) -> Result<Cow<'_, [u8]>, String> {
        let name = format!("{}{key}", self.folder);
        self.entry(&name, length).map(Cow::Owned)
    }

    fn big_endian(&self) -> bool {
        self.big_endian
    }

    fn tensor(&self, _key: &str) -> Option<&Strided<'static>> {
        None
    }
}

/// Whether the end of the file has the record that ends every archive.
fn has_end(file: &mut File) -> std::io::Result<bool> {
    /// The record, and the longest comment after it.
    const LONGEST: u64 = 22 + 0xffff;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LONGEST)))?;
    let mut end = Vec::new();
    file.by_ref().take(LONGEST).read_to_end(&mut end)?;
    file.rewind()?;
    Ok(end.windows(4).any(|window| window == b"PK\x05\x06"))
}

/// What an archive without a pickle is.
fn without_pickle(names: &[String]) -> String {
    let any = |end: &str| names.iter().find(|name| name.ends_with(end));
    let what = if any(".weights.h5").is_some() {
        "a Keras model: convert its weights to safetensors in Python".to_owned()
    } else if any(".npy").is_some() {
        "a NumPy .npz archive: convert its arrays to safetensors in Python".to_owned()
    } else if let Some(inner) = [".pth", ".pt", ".bin", ".safetensors"]
        .iter()
        .find_map(|e| any(e))
    {
        format!("an archive with {inner:?}: extract that file")
    } else {
        "an archive without weights: it has no data.pkl".to_owned()
    };
    format!("it is {what}")
}
