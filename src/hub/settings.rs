//! The settings that all clients of the Hub read from the environment.
//!
//! The Hub's client takes the variables as they are. Here an empty variable counts as unset, and
//! spaces and line breaks around a token are not part of it, as in `huggingface_hub`, the client for
//! Python.

use std::path::{Path, PathBuf};

use hf_hub::{HFClient, HFResult};

use super::error::HubError;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// The client sends no token that is not a valid header, and without any token it would look for
/// one itself.
const NO_TOKEN: &str = "\n";

/// The address of the Hub, its cache, and the user's token.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Without a slash at the end.
    pub endpoint: String,
    pub cache: PathBuf,
    token: Option<String>,
    /// Why the user's token is not sent, if it is not.
    pub unsent: Option<String>,
}

impl Settings {
    /// The settings in the environment of this process.
    ///
    /// # Errors
    /// If `HF_ENDPOINT` is not an address.
    pub fn read() -> Result<Self, HubError> {
        Self::from(&|name| {
            let value = std::env::var_os(name)?;
            Some(value.to_string_lossy().into_owned())
        })
    }

    /// The settings in the environment that `variable` reads.
    fn from(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, HubError> {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let endpoint = set("HF_ENDPOINT").map_or(Ok(DEFAULT_ENDPOINT.to_owned()), address)?;
        let home = set("HF_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(set("XDG_CACHE_HOME")?).join("huggingface")))
            .or_else(|| Some(PathBuf::from(set("HOME")?).join(".cache/huggingface")))
            .unwrap_or_else(|| std::env::temp_dir().join(".cache/huggingface"));
        let cache = set("HF_HUB_CACHE").or_else(|| set("HUGGINGFACE_HUB_CACHE"));
        let cache = cache.map_or_else(|| home.join("hub"), PathBuf::from);
        let disabled = set("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(|value| is_on(&value));
        let (token, unsent) = if disabled {
            (None, None)
        } else {
            token(&set, &home)
        };
        Ok(Self {
            endpoint,
            cache,
            token,
            unsent,
        })
    }

    /// A client that keeps its files in `cache` and repeats a failed request up to `retries` times.
    pub fn client(&self, cache: &Path, retries: usize) -> HFResult<HFClient> {
        HFClient::builder()
            .endpoint(&*self.endpoint)
            .token(self.token.as_deref().unwrap_or(NO_TOKEN))
            .cache_dir(cache)
            .retry_max_attempts(retries)
            .build()
    }
}

/// Whether the value of a variable turns something on.
pub(super) fn is_on(value: &str) -> bool {
    let value = value.trim().to_ascii_lowercase();
    matches!(value.as_str(), "1" | "true" | "yes" | "on")
}

/// Checks the value of `HF_ENDPOINT`, which may have a path.
fn address(value: String) -> Result<String, HubError> {
    let address = value.trim().trim_end_matches('/');
    let host = ["http://", "https://"]
        .iter()
        .find_map(|scheme| address.strip_prefix(scheme));
    let odd = |c: char| c.is_whitespace() || matches!(c, '?' | '#');
    match host {
        Some(host) if !host.is_empty() && !host.starts_with('/') && !address.contains(odd) => {
            Ok(address.to_owned())
        }
        _ => Err(HubError::Endpoint { value }),
    }
}

/// The user's token: from `HF_TOKEN`, else from the file `HF_TOKEN_PATH`, else from the file `token`
/// in `home`. The second value says why there is one that is not sent.
fn token(set: &dyn Fn(&str) -> Option<String>, home: &Path) -> (Option<String>, Option<String>) {
    let variable = set("HF_TOKEN").map(|text| ("HF_TOKEN".to_owned(), text));
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).ok()?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Some((path.display().to_string(), text)).filter(|(_, text)| !text.trim().is_empty())
    };
    let found = variable
        .or_else(|| read(PathBuf::from(set("HF_TOKEN_PATH")?)))
        .or_else(|| read(home.join("token")));
    let Some((origin, text)) = found else {
        return (None, None);
    };
    let text = text.replace(['\r', '\n'], "");
    let text = text.trim();
    // Other characters cannot be sent in a header. The message must not show the token.
    match text.chars().zip(1..).find(|(c, _)| !c.is_ascii_graphic()) {
        None => (Some(text.to_owned()), None),
        Some((c, position)) => {
            let c = c.escape_unicode();
            let problem = format!("the token in {origin} has a character {c} at {position}");
            (None, Some(problem))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{HubError, NO_TOKEN, Settings};

    /// The settings with these variables and `home` as the only other one.
    fn settings(home: &Path, variables: &[(&str, &str)]) -> Result<Settings, HubError> {
        Settings::from(&|name| {
            let own = [("HOME", home.to_str().expect("text"))];
            let found = variables.iter().chain(&own).find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn spaces_and_line_breaks_are_not_part_of_a_token() {
        let home = tempfile::tempdir().expect("a folder");
        let token = |variables: &[(&str, &str)]| {
            let settings = settings(home.path(), variables).expect("settings");
            assert_eq!(settings.unsent, None);
            settings.token
        };
        for text in ["hf_a1", "hf_a1\n", "hf_a1\r\n", "  hf_a1 \t", "hf_\na1\n"] {
            assert_eq!(
                token(&[("HF_TOKEN", text)]).as_deref(),
                Some("hf_a1"),
                "{text:?}"
            );
        }
        for text in ["", " ", "\n", "\r\n"] {
            assert_eq!(token(&[("HF_TOKEN", text)]), None, "{text:?}");
        }
        // An empty variable does not hide the file.
        let cache = home.path().join(".cache/huggingface");
        std::fs::create_dir_all(&cache).expect("a folder");
        std::fs::write(cache.join("token"), "hf_file\n").expect("written");
        for variables in [
            &[][..],
            &[("HF_TOKEN", "\n")],
            &[("HF_TOKEN_PATH", "/nowhere")],
        ] {
            assert_eq!(token(variables).as_deref(), Some("hf_file"));
        }
        let other = home.path().join("other");
        std::fs::write(&other, " hf_other\r\n").expect("written");
        let named = ("HF_TOKEN_PATH", other.to_str().expect("text"));
        assert_eq!(token(&[named]).as_deref(), Some("hf_other"));
        assert_eq!(
            token(&[named, ("HF_TOKEN", "hf_1")]).as_deref(),
            Some("hf_1")
        );
        assert_eq!(token(&[("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        let kept = token(&[("HF_HUB_DISABLE_IMPLICIT_TOKEN", "0")]);
        assert_eq!(kept.as_deref(), Some("hf_file"));
    }

    #[test]
    fn a_token_that_no_header_can_hold_is_not_sent() {
        let home = tempfile::tempdir().expect("a folder");
        let file = home.path().join("file");
        for (text, problem) in [
            ("hf_a b", "a character \\u{20} at 5"),
            ("hf_\u{1}", "a character \\u{1} at 4"),
            ("\u{201c}hf_a\u{201d}", "a character \\u{201c} at 1"),
            ("\u{feff}hf_a", "a character \\u{feff} at 1"),
        ] {
            std::fs::write(&file, text).expect("written");
            for (name, value, origin) in [
                ("HF_TOKEN", text, "HF_TOKEN"),
                (
                    "HF_TOKEN_PATH",
                    file.to_str().expect("text"),
                    file.to_str().expect("text"),
                ),
            ] {
                let settings = settings(home.path(), &[(name, value)]).expect("settings");
                assert_eq!(settings.token, None, "{text:?}");
                let unsent = settings.unsent.expect("a reason");
                assert!(
                    unsent.contains(problem) && unsent.contains(origin),
                    "{unsent}"
                );
                assert!(!unsent.contains("hf_"), "it shows the token: {unsent}");
            }
        }
        // The client would ignore it as well.
        assert!(NO_TOKEN.chars().all(char::is_control));
    }

    #[test]
    fn an_address_may_have_a_path() {
        let home = PathBuf::from("/home/user");
        let endpoint = |value: &str| settings(&home, &[("HF_ENDPOINT", value)]);
        for (value, address) in [
            ("https://mirror.example/hf", "https://mirror.example/hf"),
            ("https://mirror.example/hf/", "https://mirror.example/hf"),
            (" http://127.0.0.1:80/a/b//\n", "http://127.0.0.1:80/a/b"),
            ("", "https://huggingface.co"),
            (" ", "https://huggingface.co"),
        ] {
            assert_eq!(
                endpoint(value).expect("an address").endpoint,
                address,
                "{value:?}"
            );
        }
        for value in [
            "mirror.example/hf",
            "localhost:8080",
            "https://",
            "https:///hf",
            "ftp://mirror.example",
            "https://mirror.example/hf?a=b",
            "https://mirror.example/a b",
        ] {
            let error = endpoint(value).expect_err("no address");
            assert_eq!(
                error,
                HubError::Endpoint {
                    value: value.to_owned()
                }
            );
        }
    }

    #[test]
    fn empty_variables_do_not_move_the_cache() {
        let home = PathBuf::from("/home/user");
        let cache =
            |variables: &[(&str, &str)]| settings(&home, variables).expect("settings").cache;
        let usual = PathBuf::from("/home/user/.cache/huggingface/hub");
        assert_eq!(cache(&[]), usual);
        assert_eq!(cache(&[("HF_HOME", ""), ("HF_HUB_CACHE", "")]), usual);
        assert_eq!(cache(&[("HF_HOME", "/hf")]), PathBuf::from("/hf/hub"));
        assert_eq!(
            cache(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c")]),
            PathBuf::from("/c")
        );
        let xdg = cache(&[("XDG_CACHE_HOME", "/x")]);
        assert_eq!(xdg, PathBuf::from("/x/huggingface/hub"));
        let homeless = cache(&[("HOME", "")]);
        assert_eq!(
            homeless,
            std::env::temp_dir().join(".cache/huggingface/hub")
        );
    }
}
