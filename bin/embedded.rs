//! TOML files inside of the program, by name.

use candle_mish::suggest::suggest;

/// A file of the program.
pub struct Embedded {
    /// The file's name without its extension.
    pub name: &'static str,
    /// Its content in TOML.
    pub text: &'static str,
}

/// The files `$folder/NAME.toml` as an array, next to the source file that calls it.
macro_rules! embedded {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        [$($crate::embedded::Embedded {
            name: $name,
            text: include_str!(concat!($folder, "/", $name, ".toml")),
        }),+]
    };
}

pub(crate) use embedded;

/// The file called `name`.
pub fn find(files: &'static [Embedded], name: &str) -> Option<&'static Embedded> {
    files.iter().find(|file| file.name == name)
}

/// What to do about a `name` that no file has: take the most similar one, or look at what `command`
/// lists.
pub fn advice(files: &[Embedded], name: &str, command: &str) -> String {
    match suggest(name, files.iter().map(|file| file.name)) {
        Some(similar) => format!("did you mean '{similar}'?"),
        None => format!("`{command}` lists all"),
    }
}
