//! The class names that the Hub's `datasets` library records in a parquet file.

use std::path::Path;

use parquet::file::reader::FileReader;

use crate::data::published::spec::Spec;

/// The key of the library's metadata, a JSON object.
const KEY: &str = "huggingface";

/// How the recorded names compare with the data set's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ClassNames {
    /// The same names in the same order.
    Same,
    /// The same names in another order: our label for each label of the file.
    Reordered(Vec<u32>),
    /// Other names.
    Other(Vec<String>),
}

impl ClassNames {
    /// Compares the names that a file records for a column of labels. `None` if it records none.
    pub(super) fn of(reader: &impl FileReader, column: &str, spec: &Spec) -> Option<Self> {
        let entries = reader.metadata().file_metadata().key_value_metadata()?;
        let entry = entries.iter().find(|entry| entry.key == KEY)?;
        let json: serde_json::Value = serde_json::from_str(entry.value.as_deref()?).ok()?;
        let names = json.pointer(&format!("/info/features/{column}/names"))?;
        let names: Vec<String> = serde_json::from_value(names.clone()).ok()?;
        Some(Self::compare(names, spec.classes))
    }

    fn compare(names: Vec<String>, classes: &[&str]) -> Self {
        let classes: Vec<String> = classes.iter().map(|class| plain(class)).collect();
        let position = |name: &String| {
            let name = plain(name);
            classes.iter().position(|class| *class == name)
        };
        let order: Option<Vec<usize>> = names.iter().map(position).collect();
        let Some(order) = order.filter(|order| order.len() == classes.len()) else {
            return Self::Other(names);
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if sorted.iter().enumerate().any(|(at, label)| at != *label) {
            Self::Other(names)
        } else if order == sorted {
            Self::Same
        } else {
            Self::Reordered(order.into_iter().map(|label| label as u32).collect())
        }
    }

    /// Changes labels of the file to ours.
    pub(super) fn relabel<'a>(&self, labels: impl Iterator<Item = &'a mut u32>) {
        if let Self::Reordered(order) = self {
            labels.for_each(|label| *label = order[*label as usize]);
        }
    }

    /// What a reader of the results should know.
    pub(super) fn note(&self, path: &Path, spec: &Spec) -> Option<String> {
        let (path, title) = (path.display(), spec.title);
        match self {
            Self::Same => None,
            Self::Reordered(_) => Some(format!(
                "{path} has the classes of {title} in another order: matched by name"
            )),
            Self::Other(names) => Some(format!(
                "{path} has the classes {}, unlike {title}: matched by position",
                shortened(names)
            )),
        }
    }
}

/// A name without case, spaces and punctuation: `T - shirt / top` and `T-shirt/top` are the same.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::ClassNames;

    fn compare(names: &[&str]) -> ClassNames {
        let names = names.iter().map(|name| (*name).to_string()).collect();
        ClassNames::compare(names, &["T-shirt/top", "Ankle boot", "Bag"])
    }

    #[test]
    fn spelling_does_not_matter_and_order_does() {
        let same = ["T - shirt / top", "ankle_boot", "bag"];
        assert_eq!(compare(&same), ClassNames::Same);
        let order = ["Bag", "Ankle boot", "T-shirt/top"];
        let reordered = compare(&order);
        assert_eq!(reordered, ClassNames::Reordered(vec![2, 1, 0]));
        let mut labels = [0, 1, 2, 2];
        reordered.relabel(labels.iter_mut());
        assert_eq!(labels, [2, 1, 0, 0]);
    }

    #[test]
    fn other_names_are_no_order() {
        for names in [
            &["Bag", "Bag", "T-shirt/top"][..],
            &["Bag", "Ankle boot"],
            &["Bag", "Ankle boot", "T-shirt/top", "Coat"],
            &["0", "1", "2"],
        ] {
            assert!(matches!(compare(names), ClassNames::Other(_)), "{names:?}");
        }
    }
}
