//! The labels of a data set's classes in a network.

use std::collections::{BTreeMap, HashMap};

use super::class_order::are_numbers;
use super::dataset::Dataset;
use super::error::{DataError, abridged, counted};
use super::imagenet;

/// What to do about class folders that are no class of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownClasses {
    /// An error that lists them.
    Refuse,
    /// Leave their images out, with a note of their number.
    Ignore,
}

impl Dataset {
    /// The data set with a network's classes: each class gets the label of the network's class of
    /// the same name.
    ///
    /// WordNet identifiers and readable names of ImageNet count as the same name. If the network's
    /// classes are ImageNet's 1000, folders with numbers from 0 to 999 are labels, as in
    /// ImageNet-V2. If a class map decided the labels, they are labels of the network and stay.
    ///
    /// The result has the classes of the network. A note in [`Source::notes`] says which of the
    /// network's classes are absent, and how many images were left out; both are also logged.
    ///
    /// [`Source::notes`]: super::Source::notes
    ///
    /// # Errors
    /// If a class is no class of the network and `unknown` refuses it, no class is known, two
    /// classes are the same class of the network, or the class map has labels that the network
    /// does not have.
    pub fn map_classes(
        mut self,
        network_classes: &[String],
        unknown: UnknownClasses,
    ) -> Result<Self, DataError> {
        if self.classes == network_classes {
            return Ok(self);
        }
        if self.source.class_map {
            return self.with_names(network_classes);
        }
        let labels = self.network_labels(network_classes);
        let mut notes = Vec::new();
        if labels.contains(&None) {
            let images = self.check_unknown(&labels, unknown)?;
            notes.push(images);
        }
        self.check_distinct(&labels, network_classes)?;
        let known = labels.iter().flatten().count();
        if known < network_classes.len() {
            let (name, all) = (&self.name, network_classes.len());
            notes.push(format!("{name} has {known} of the network's {all} classes"));
        }
        let label = |old: u32| labels[old as usize];
        self.train = self.train.relabelled(label);
        self.validation = self.validation.map(|images| images.relabelled(label));
        self.test = self.test.relabelled(label);
        self.classes = network_classes.to_vec();
        for note in &notes {
            tracing::warn!("{note}");
        }
        self.source.notes.append(&mut notes);
        Ok(self)
    }

    /// The label of each class in a network with these classes; `None` for a class that the network
    /// does not have. Names count as the same as in [`map_classes`](Self::map_classes).
    pub fn network_labels(&self, network_classes: &[String]) -> Vec<Option<u32>> {
        let names = NetworkClasses::new(network_classes, are_numbers(&self.classes));
        self.classes.iter().map(|c| names.label(c)).collect()
    }

    /// The same labels with the network's class names.
    fn with_names(mut self, network_classes: &[String]) -> Result<Self, DataError> {
        let (mapped, all) = (self.classes.len(), network_classes.len());
        if mapped > all {
            return Err(DataError::Option {
                option: "class_map",
                value: format!("{mapped} classes"),
                problem: format!("the network has {all}"),
            });
        }
        self.classes = network_classes.to_vec();
        Ok(self)
    }

    /// The note about the images of unknown classes.
    fn check_unknown(
        &self,
        labels: &[Option<u32>],
        unknown: UnknownClasses,
    ) -> Result<String, DataError> {
        let lost: Vec<usize> = (0..labels.len()).filter(|&i| labels[i].is_none()).collect();
        if unknown == UnknownClasses::Refuse || lost.len() == labels.len() {
            let names: Vec<&String> = lost.iter().map(|&i| &self.classes[i]).collect();
            return Err(DataError::UnknownClasses {
                dataset: self.name.clone(),
                unknown: lost.len(),
                total: labels.len(),
                of: "the network",
                names: abridged(&names),
                in_folders: self.test.preprocess().is_some(),
            });
        }
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        let sets = [
            Some(&self.train),
            self.validation.as_ref(),
            Some(&self.test),
        ];
        for label in sets.into_iter().flatten().flat_map(|set| set.labels()) {
            *counts.entry(*label).or_default() += 1;
        }
        let count = |class: &usize| counts.get(&(*class as u32)).copied().unwrap_or(0);
        let images: usize = lost.iter().map(count).sum();
        let folders: Vec<String> = lost
            .iter()
            .map(|class| format!("{} ({})", self.classes[*class], count(class)))
            .collect();
        Ok(format!(
            "{}: left out {} of {} that the network does not have: {}",
            self.name,
            counted(images, "image"),
            counted(lost.len(), "class"),
            abridged(&folders)
        ))
    }

    /// Refuses two folders for one class of the network.
    fn check_distinct(
        &self,
        labels: &[Option<u32>],
        network_classes: &[String],
    ) -> Result<(), DataError> {
        let mut folders: HashMap<u32, &String> = HashMap::new();
        for (label, folder) in labels.iter().zip(&self.classes) {
            let Some(label) = *label else { continue };
            if let Some(other) = folders.insert(label, folder) {
                let class = &network_classes[label as usize];
                return Err(DataError::Option {
                    option: "class_map",
                    value: "none".to_owned(),
                    problem: format!(
                        "the folders {other} and {folder} of {} are both the network's class \
                         {class}; remove one, or give their labels in class_map",
                        self.name
                    ),
                });
            }
        }
        Ok(())
    }
}

/// The labels of a network's classes by name.
struct NetworkClasses<'a> {
    labels: HashMap<&'a str, u32>,
    /// The label of each of ImageNet's classes that the network has.
    imagenet: HashMap<usize, u32>,
    /// Whether numbers are labels.
    numbers: bool,
}

impl<'a> NetworkClasses<'a> {
    /// `numbers` says whether all folders are numbers.
    fn new(classes: &'a [String], numbers: bool) -> Self {
        let mut imagenet = HashMap::new();
        for (label, class) in (0..).zip(classes) {
            if let Some(known) = imagenet_label(class) {
                imagenet.insert(known, label);
            }
        }
        // A name that repeats names none of its classes.
        let mut labels = HashMap::new();
        let mut repeated = Vec::new();
        for (label, class) in (0..).zip(classes) {
            if labels.insert(class.as_str(), label).is_some() {
                repeated.push(class.as_str());
            }
        }
        for class in repeated {
            labels.remove(class);
        }
        let in_order = |(known, label): (&usize, &u32)| *known == *label as usize;
        let all = imagenet.len() == imagenet::IDS.len() && imagenet.len() == classes.len();
        Self {
            numbers: numbers && all && imagenet.iter().all(in_order),
            labels,
            imagenet,
        }
    }

    /// The label of a class folder.
    fn label(&self, folder: &str) -> Option<u32> {
        let label = self.labels.get(folder).copied();
        let label = label.or_else(|| self.imagenet.get(&imagenet_label(folder)?).copied());
        label.or_else(|| {
            let number: u32 = folder.parse().ok().filter(|_| self.numbers)?;
            (number < imagenet::IDS.len() as u32).then_some(number)
        })
    }
}

/// The label in ImageNet of an identifier or a readable name.
fn imagenet_label(name: &str) -> Option<usize> {
    imagenet::label_of_id(name).or_else(|| imagenet::label_of_name(name))
}
