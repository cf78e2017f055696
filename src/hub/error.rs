//! Why the Hub did not provide a file, and what would help.

use std::path::PathBuf;

use hf_hub::HFError;

/// Why a request to the Hugging Face Hub failed, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// There is no such repository.
    #[error("there is no {repo} on {endpoint}: check its name")]
    NoRepository {
        /// `owner/name`.
        repo: String,
        /// The Hub's address.
        endpoint: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{repo} has no branch, tag or commit '{revision}' (any more)")]
    NoRevision {
        /// `owner/name`.
        repo: String,
        /// The revision.
        revision: String,
    },
    /// The revision has no such file.
    #[error("{location} has no {file}{}", listed(has))]
    NoFile {
        /// `owner/name@revision`.
        location: String,
        /// The missing file.
        file: String,
        /// The files that the revision has.
        has: Vec<String>,
    },
    /// 401: no token, or an invalid one. The Hub gives the same answer for a repository that does
    /// not exist.
    #[error(
        "the Hub shows {repo} only with a valid token, if it exists: check the name, or set \
         HF_TOKEN to your token{}",
        reason(unsent)
    )]
    Unauthorized {
        /// `owner/name`.
        repo: String,
        /// Why the user's token was not sent, if there is one.
        unsent: Option<String>,
    },
    /// 401 for the files only: the listing is public, but the owner grants access to the files.
    #[error(
        "the owner of {repo} grants access to its files: ask for access at {endpoint}/{repo}, then \
         set HF_TOKEN to your token{}",
        reason(unsent)
    )]
    Gated {
        /// `owner/name`.
        repo: String,
        /// The Hub's address.
        endpoint: String,
        /// Why the user's token was not sent, if there is one.
        unsent: Option<String>,
    },
    /// 403: the token is valid but may not read the repository.
    #[error("your token may not read {repo}: ask for access at {endpoint}/{repo}")]
    Forbidden {
        /// `owner/name`.
        repo: String,
        /// The Hub's address.
        endpoint: String,
    },
    /// The Hub lists the file but answered the request for it with an error.
    #[error("cannot download {file} of {location}: the server answers {status}; try again later")]
    Refused {
        /// `owner/name@revision`.
        location: String,
        /// The file.
        file: String,
        /// Such as `503 Service Unavailable`.
        status: String,
    },
    /// The content does not have the size or hash that the Hub announced.
    #[error("the download of {file} from {location} is damaged: {problem}; try again")]
    Damaged {
        /// `owner/name@revision`.
        location: String,
        /// The file.
        file: String,
        /// How it differs.
        problem: String,
    },
    /// The file is not in the cache, and offline mode or `HF_HUB_OFFLINE` forbids a download.
    #[error("{what} is not in the Hub's cache, and offline mode is on")]
    Offline {
        /// The file with its location.
        what: String,
    },
    /// The variable `HF_ENDPOINT` is not an address.
    #[error(
        "HF_ENDPOINT is '{}': expected an address such as https://huggingface.co or \
         https://mirror.example/path", value.trim()
    )]
    Endpoint {
        /// Its value.
        value: String,
    },
    /// The cache has no place for a download.
    #[error(
        "cannot write to the Hub's cache {}: {problem}; set HF_HOME to another folder",
        folder.display()
    )]
    CacheNotWritable {
        /// The folder of the cache.
        folder: PathBuf,
        /// Why it cannot be written.
        problem: String,
    },
    /// No connection, or no answer.
    #[error("cannot reach the Hugging Face Hub at {endpoint}: {reason}")]
    Unreachable {
        /// The Hub's address.
        endpoint: String,
        /// The innermost cause, in a few words.
        reason: String,
    },
    /// Any other failure.
    #[error("cannot get {repo} from the Hugging Face Hub: {problem}")]
    Other {
        /// `owner/name`.
        repo: String,
        /// Why not.
        problem: String,
    },
}

/// Why a token was not sent, as an addition to a message.
fn reason(unsent: &Option<String>) -> String {
    match unsent {
        Some(problem) => format!("; it was not sent because {problem}"),
        None => String::new(),
    }
}

/// The first few files of a revision.
fn listed(files: &[String]) -> String {
    const SHOWN: usize = 8;
    match files {
        [] => String::new(),
        files => {
            let more = if files.len() > SHOWN { ", …" } else { "" };
            let shown = &files[..files.len().min(SHOWN)];
            format!("; it has {}{more}", shown.join(", "))
        }
    }
}

impl HubError {
    /// Interprets a failed request to a repository at `endpoint`. `unsent` says why the user's token
    /// was not sent, if it was not.
    pub(super) fn new(
        repo: &str,
        revision: &str,
        endpoint: &str,
        unsent: Option<&str>,
        error: &HFError,
    ) -> Self {
        let (repo, endpoint) = (repo.to_owned(), endpoint.to_owned());
        let unsent = unsent.map(str::to_owned);
        match error {
            HFError::AuthRequired { context }
                if context.error_code.as_deref() == Some("GatedRepo") =>
            {
                Self::Gated {
                    repo,
                    endpoint,
                    unsent,
                }
            }
            HFError::AuthRequired { .. } => Self::Unauthorized { repo, unsent },
            HFError::Forbidden { .. } => Self::Forbidden { repo, endpoint },
            HFError::RepoNotFound { .. } => Self::NoRepository { repo, endpoint },
            // The Hub says in a header which part of an address does not exist.
            HFError::RevisionNotFound {
                context: Some(context),
                ..
            } if context.error_code.as_deref() == Some("RepoNotFound") => {
                Self::NoRepository { repo, endpoint }
            }
            HFError::RevisionNotFound { .. } => Self::NoRevision {
                repo,
                revision: revision.to_owned(),
            },
            HFError::EntryNotFound { path, .. } => Self::NoFile {
                location: format!("{repo}@{revision}"),
                file: path.clone(),
                has: Vec::new(),
            },
            HFError::Request { source, .. } if source.is_connect() => Self::Unreachable {
                endpoint,
                reason: innermost(error),
            },
            _ => Self::other(&repo, error),
        }
    }

    /// One line with the innermost cause. The outer causes only repeat the address and say that the
    /// request failed.
    pub(super) fn other(repo: &str, error: &HFError) -> Self {
        let (outer, inner) = (one_line(error), innermost(error));
        let problem = match error {
            HFError::Request { .. } => inner,
            _ if outer.contains(&inner) => outer,
            _ => format!("{outer}: {inner}"),
        };
        Self::Other {
            repo: repo.to_owned(),
            problem,
        }
    }
}

fn innermost(error: &HFError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    one_line(cause)
}

fn one_line(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
