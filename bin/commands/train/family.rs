//! The programs `train-<family>`.

/// The family of networks that a program `train-<family>` trains.
#[derive(Debug, Clone)]
pub struct Family {
    /// The program's name.
    pub program: &'static str,
    /// The family's name in the registry.
    pub name: String,
    /// The network to train if the user names none.
    pub default: &'static str,
}

impl Family {
    /// The family of a program.
    pub fn of_program(program: &'static str, default: &'static str) -> Self {
        let family = program.strip_prefix(PREFIX).unwrap_or(program);
        Self {
            program,
            name: family.replace('-', "_"),
            default,
        }
    }
}

const PREFIX: &str = "train-";

/// The program that trains a family.
pub fn program(family: &str) -> String {
    format!("{PREFIX}{}", family.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::{Family, program};

    #[test]
    fn programs_are_named_after_families() {
        assert_eq!(program("wide_resnet"), "train-wide-resnet");
        let family = Family::of_program("train-wide-resnet", "wrn10_2");
        assert_eq!(family.name, "wide_resnet");
    }
}
