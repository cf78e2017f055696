//! The classes of ImageNet-1k (ILSVRC 2012), in the order of their labels.
//!
//! The identifiers are WordNet 3.0's, as in timm's `imagenet_synsets.txt`. The names come from
//! torchvision's weights (`weights.meta["categories"]`).

/// One class per line: identifier, tab, name.
const TABLE: &str = include_str!("imagenet.tsv");

/// The WordNet identifiers, such as `n01440764`. They are in ascending order.
pub static IDS: [&str; 1000] = column(0);

/// The readable names, such as `tench`. They are unique.
pub static NAMES: [&str; 1000] = column(1);

/// The label of a WordNet identifier.
pub fn label_of_id(id: &str) -> Option<usize> {
    IDS.binary_search(&id).ok()
}

/// The label of a readable name. `_` counts as a space. Upper and lower case count as the same if
/// only one class then has the name.
pub fn label_of_name(name: &str) -> Option<usize> {
    let name = name.replace('_', " ");
    if let Some(label) = NAMES.iter().position(|known| **known == name) {
        return Some(label);
    }
    let mut labels = (0..NAMES.len()).filter(|label| NAMES[*label].eq_ignore_ascii_case(&name));
    labels.next().filter(|_| labels.next().is_none())
}

/// A column of the table, split at compile time.
const fn column(column: usize) -> [&'static str; 1000] {
    let mut values = [""; 1000];
    let (mut rest, mut row) = (TABLE, 0);
    while row < values.len() {
        let (id, after) = until(rest, b'\t');
        let (name, after) = until(after, b'\n');
        values[row] = if column == 0 { id } else { name };
        (rest, row) = (after, row + 1);
    }
    assert!(rest.is_empty(), "the table has 1000 rows");
    values
}

/// The text before and after the first `end`.
const fn until(text: &str, end: u8) -> (&str, &str) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while bytes[at] != end {
        at += 1;
    }
    let (before, after) = text.split_at(at);
    (before, after.split_at(1).1)
}
