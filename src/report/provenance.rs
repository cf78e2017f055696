//! The files that a run depends on and made, by their content.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::ReportError;
use crate::data::Dataset;
use crate::train::run_folder::STATE;

/// A file with its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedFile {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// The hash in hexadecimal digits.
    pub sha256: String,
}

/// The files that `dataset` was read from. A folder of image files has one entry for all of them: the
/// hash of a list with the path, a tab, the length and a line feed for each.
///
/// # Errors
/// If a file cannot be read.
pub fn hash_data(dataset: &Dataset) -> Result<Vec<HashedFile>, ReportError> {
    let source = &dataset.source;
    if !source.files.is_empty() {
        let files = source.files.iter();
        return files.map(|file| hash_file(&file.path)).collect();
    }
    let folder = Path::new(&source.location);
    let sets = [
        Some(&dataset.train),
        dataset.validation.as_ref(),
        Some(&dataset.test),
    ];
    let files = sets.into_iter().flatten().flat_map(|set| set.files());
    let mut files: Vec<&Path> = files.flatten().collect();
    files.sort_unstable();
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    for path in &files {
        let metadata = std::fs::metadata(path).map_err(|source| ReportError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        let name = path.strip_prefix(folder).unwrap_or(path);
        // The same on all systems.
        let name = name.to_string_lossy().replace('\\', "/");
        hash.update(format!("{name}\t{}\n", metadata.len()));
        bytes += metadata.len();
    }
    Ok(vec![HashedFile {
        name: format!(
            "list of the paths and lengths of {} image files",
            files.len()
        ),
        bytes,
        sha256: hexadecimal(&hash.finalize()),
    }])
}

/// The weights in the folder of a run, sorted by name.
///
/// # Errors
/// If the folder or a file cannot be read.
pub fn hash_weights(folder: &Path) -> Result<Vec<HashedFile>, ReportError> {
    let unreadable = |source| ReportError::Read {
        path: folder.to_path_buf(),
        source,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        names.extend(name.to_str().map(str::to_string));
    }
    names.sort_unstable();
    let is_weights = |name: &&String| name.ends_with(".safetensors") && !is_state(name);
    let weights = names.iter().filter(is_weights);
    weights.map(|name| hash_file(&folder.join(name))).collect()
}

/// Whether a file holds the state for resuming.
fn is_state(name: &str) -> bool {
    let stem = STATE.split('.').next().unwrap_or(STATE);
    name.starts_with(stem)
}

fn hash_file(path: &Path) -> Result<HashedFile, ReportError> {
    let hash = || {
        let mut file = File::open(path)?;
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                return Ok((bytes, hexadecimal(&hash.finalize())));
            }
            hash.update(&buffer[..read]);
            bytes += read as u64;
        }
    };
    let (bytes, sha256) = hash().map_err(|source| ReportError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    Ok(HashedFile {
        name: name.to_string_lossy().into_owned(),
        bytes,
        sha256,
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_hashed_and_the_state_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["last.safetensors", "state.safetensors", "config.toml"] {
            std::fs::write(folder.path().join(name), "abc").expect("a file");
        }
        let weights = hash_weights(folder.path()).expect("readable");
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let names: Vec<&str> = weights.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["last.safetensors"]);
        assert_eq!((weights[0].bytes, &*weights[0].sha256), (3, expected));
        assert!(hash_weights(&folder.path().join("no")).is_err());
    }
}
