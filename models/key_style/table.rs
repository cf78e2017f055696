//! The table of all styles.

use crate::entry::Entry;
use crate::key_style::{KeyStyle, cifar, covers, libraries};

/// All styles.
pub(super) const STYLES: [&[KeyStyle]; 2] = [&libraries::STYLES, &cifar::STYLES];

/// The styles that have keys for a network.
pub(crate) fn of(entry: &Entry) -> impl Iterator<Item = &'static KeyStyle> {
    let all = STYLES.into_iter().flatten();
    all.filter(move |style| covers(style.models, entry))
}
