//! The gzipped tar archives of CIFAR.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::files::read_files;
use super::limits::LARGEST;
use super::rows::Rows;
use super::spec::{Files, Spec};
use crate::data::error::DataError;

/// Reads both splits, training first, from an archive of any layout.
pub(super) fn read(path: &Path, spec: &Spec) -> Result<(Rows, Rows), DataError> {
    let mut members = unpack(path, spec)?;
    let files = layout(path, spec, &members)?;
    let mut split = |names: &[&str]| {
        let members = names.iter().map(|name| {
            let bytes = members.remove(*name).ok_or_else(|| {
                DataError::invalid(path, format!("it has no {name}"), files.described)
            })?;
            Ok((path.join(name), bytes))
        });
        read_files(files.format, members, spec)
    };
    Ok((split(files.train)?, split(files.test)?))
}

/// The layout of an archive with these members.
fn layout<'a>(
    path: &Path,
    spec: &'a Spec,
    members: &HashMap<String, Vec<u8>>,
) -> Result<&'a Files, DataError> {
    let found = spec.layouts.iter().find(|files| {
        let mut names = files.train.iter().chain(files.test);
        names.any(|name| members.contains_key(*name))
    });
    found.ok_or_else(|| {
        let archives = spec.layouts.iter().filter_map(|files| files.archive);
        DataError::invalid(
            path,
            format!("the archive has none of the files of {}", spec.title),
            archives.collect::<Vec<_>>().join(" or "),
        )
    })
}

/// The content of the members that a layout of `spec` names.
fn unpack(path: &Path, spec: &Spec) -> Result<HashMap<String, Vec<u8>>, DataError> {
    let unreadable = |error: std::io::Error| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        DataError::invalid(
            path,
            format!("the archive cannot be unpacked ({error}): truncated or damaged"),
            format!("a whole {name}"),
        )
    };
    let file = File::open(path).map_err(|error| DataError::io(path, error))?;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(BufReader::new(file)));
    let mut members: HashMap<String, Vec<u8>> = HashMap::new();
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path().map_err(unreadable)?;
        let name: PathBuf = name.file_name().unwrap_or_default().into();
        let name = name.to_string_lossy().into_owned();
        let wanted = |files: &Files| {
            let mut names = files.train.iter().chain(files.test);
            names.any(|file| *file == name)
        };
        if !spec.layouts.iter().any(wanted) {
            continue;
        }
        let mut bytes = Vec::new();
        entry
            .by_ref()
            .take(LARGEST)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        members.insert(name, bytes);
    }
    Ok(members)
}
