//! What was changed to make weights fit, in words.

use std::fmt;

use crate::transfer::Transfer;

impl Transfer {
    /// What was changed to make the weights fit, as phrases. [`Transfer::report`] is not included.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.prefix.is_empty() {
            notes.push(format!("removed the prefix '{}'", self.prefix));
        }
        if !self.other_prefixes.is_empty() {
            let others = self.other_prefixes.join("', '");
            notes.push(format!("the tensors of '{others}' fit as well"));
        }
        if self.renamed > 0 {
            let style = self.style.unwrap_or("another program");
            notes.push(format!("renamed {} keys of {style}", self.renamed));
        }
        if self.ignored > 0 {
            let count = self.ignored;
            notes.push(format!("ignored {count} tensors of auxiliary parts"));
        }
        if self.merged_biases > 0 {
            let count = self.merged_biases;
            notes.push(format!(
                "merged {count} biases of convolutions into the norms after them"
            ));
        }
        if !self.passed_over.is_empty() {
            let count = self.passed_over.len();
            notes.push(format!("ignored {count} other tensors"));
        }
        if let Some((key, from, to)) = &self.adapted {
            notes.push(format!("adapted {key} from {from} to {to} channels"));
        }
        if self.fresh_classifier {
            let found = match self.classes {
                Some(classes) => format!("the weights have {classes} classes"),
                None => "the weights have none".to_string(),
            };
            notes.push(format!(
                "initialised a new classifier {}: {found}",
                self.classifier
            ));
        }
        notes
    }
}

impl fmt::Display for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let notes = self.notes().into_iter();
        let report = (!self.is_complete()).then(|| self.report.to_string());
        let parts: Vec<String> = notes.chain(report).collect();
        if parts.is_empty() {
            return f.write_str("every tensor matches");
        }
        f.write_str(&parts.join("; "))
    }
}
