//! The text of a `.cfg` file as sections with options.

use std::fmt::Write;

use super::error::DarknetCfgError;

/// The limit of numbers: more channels or pixels than any network has.
const LARGEST: usize = 1 << 20;
/// The most layers that a file can have. darknet's largest networks have a few hundred.
const MOST_SECTIONS: usize = 2000;

/// A section.
#[derive(Debug, Clone)]
pub(super) struct Section {
    /// The name in brackets.
    pub kind: String,
    /// Its line, from 1.
    pub line: usize,
    /// Key, value and line.
    options: Vec<(String, String, usize)>,
}

/// The sections of a file, without comments. White space has no meaning, not even inside of a line.
pub(super) fn sections(text: &str) -> Result<Vec<Section>, DarknetCfgError> {
    let mut sections: Vec<Section> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let error = |reason: String| DarknetCfgError::new(number, reason);
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let line: String = line.chars().filter(|c| !c.is_whitespace()).collect();
        if line.is_empty() {
            continue;
        }
        let quoted = || line.escape_debug().take(60).collect::<String>();
        if let Some(rest) = line.strip_prefix('[') {
            let kind = rest
                .strip_suffix(']')
                .ok_or_else(|| error(format!("'{}' must be [SECTION]", quoted())))?;
            if sections.len() == MOST_SECTIONS {
                return Err(error(format!("more than {MOST_SECTIONS} sections")));
            }
            sections.push(Section {
                kind: kind.to_string(),
                line: number,
                options: Vec::new(),
            });
            continue;
        }
        let option = line.split_once('=');
        let Some((section, (key, value))) = sections.last_mut().zip(option) else {
            let reason = format!("'{}' must be KEY=VALUE below a [SECTION]", quoted());
            return Err(error(reason));
        };
        let option = (key.to_string(), value.to_string(), number);
        section.options.push(option);
    }
    Ok(sections)
}

impl Section {
    /// An error about the section.
    pub fn error(&self, reason: impl std::fmt::Display) -> DarknetCfgError {
        let kind: String = self.kind.escape_debug().take(60).collect();
        DarknetCfgError::new(self.line, format!("[{kind}]: {reason}"))
    }

    /// The value of a key. The first one counts, as in darknet.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.option(key).map(|(value, _)| value)
    }

    fn option(&self, key: &str) -> Option<(&str, usize)> {
        let mut options = self.options.iter();
        let found = options.find(|(name, ..)| name == key);
        found.map(|(_, value, line)| (value.as_str(), *line))
    }

    /// A whole number that is not negative, or `default`.
    pub fn number(&self, key: &str, default: usize) -> Result<usize, DarknetCfgError> {
        let Some((value, line)) = self.option(key) else {
            return Ok(default);
        };
        let number = value.parse().ok().filter(|number| *number <= LARGEST);
        number.ok_or_else(|| {
            let value: String = value.escape_debug().take(60).collect();
            let reason = format!("{key} is '{value}', must be a whole number up to {LARGEST}");
            DarknetCfgError::new(line, reason)
        })
    }

    /// A whole number that is at least 1, or `default`.
    pub fn positive(&self, key: &str, default: usize) -> Result<usize, DarknetCfgError> {
        match self.number(key, default)? {
            0 => Err(self.error(format!("{key} must be at least 1"))),
            number => Ok(number),
        }
    }

    /// The layers that `key` lists. `own` is the number of this layer.
    pub fn layers(&self, key: &str, own: usize) -> Result<Vec<usize>, DarknetCfgError> {
        let Some((value, line)) = self.option(key) else {
            return Err(self.error(format!("{key} is missing")));
        };
        let layer = |text: &str| {
            let number: i64 = text.parse().ok()?;
            let number = match number {
                0.. => usize::try_from(number).ok()?,
                _ => own.checked_sub(usize::try_from(number.unsigned_abs()).ok()?)?,
            };
            (number < own).then_some(number)
        };
        let texts = value.split(',').filter(|text| !text.is_empty());
        let layers: Option<Vec<usize>> = texts.map(layer).collect();
        match layers {
            Some(layers) if !layers.is_empty() && layers.len() <= own => Ok(layers),
            _ => {
                let value: String = value.escape_debug().take(60).collect();
                let reason = format!("{key} is '{value}', must name layers before layer {own}");
                Err(DarknetCfgError::new(line, reason))
            }
        }
    }

    /// Refuses options that change a layer, unless they have the value that changes nothing.
    pub fn refuse(&self, options: &[(&str, &str)]) -> Result<(), DarknetCfgError> {
        for (key, neutral) in options {
            let Some((value, line)) = self.option(key) else {
                continue;
            };
            let number = |text: &str| text.parse::<f64>().ok();
            let same =
                value == *neutral || number(value).is_some_and(|n| number(neutral) == Some(n));
            if !same {
                let value: String = value.escape_debug().take(60).collect();
                let reason = format!("{key}={value} is not supported");
                return Err(DarknetCfgError::new(line, reason));
            }
        }
        Ok(())
    }

    /// Appends the section without comments and white space.
    pub fn write_to(&self, text: &mut String) {
        // Writing to text does not fail.
        let _ = writeln!(text, "[{}]", self.kind);
        for (key, value, _) in &self.options {
            let _ = writeln!(text, "{key}={value}");
        }
    }
}
