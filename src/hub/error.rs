//! Why the Hub did not yield a file: one line that says what would help.

use hf_hub::HFError;

/// An error in getting something from the Hugging Face Hub.
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
        /// What was asked for.
        revision: String,
    },
    /// The revision has no such file.
    #[error("{location} has no {file}{}", listed(has))]
    NoFile {
        /// `owner/name@revision`.
        location: String,
        /// The file asked for.
        file: String,
        /// What it has instead.
        has: Vec<String>,
    },
    /// 401: no token, or one that is not valid. The Hub also answers so for repositories that do
    /// not exist.
    #[error(
        "the Hub lets nobody see {repo} without a valid token, if it exists: check the name, or \
         put your token into HF_TOKEN"
    )]
    Unauthorized {
        /// `owner/name`.
        repo: String,
    },
    /// 401 for the files only: everybody may see the repository, but has to ask for what is in it.
    #[error(
        "the files of {repo} are for those whom its owner lets in: ask for access at \
         {endpoint}/{repo}, then put your token into HF_TOKEN"
    )]
    Gated {
        /// `owner/name`.
        repo: String,
        /// The Hub's address.
        endpoint: String,
    },
    /// 403: a valid token that may not read the repository.
    #[error("your token may not read {repo}: ask for access at {endpoint}/{repo}")]
    Forbidden {
        /// `owner/name`.
        repo: String,
        /// The Hub's address.
        endpoint: String,
    },
    /// The Hub lists the file, but an error came in its place.
    #[error("{file} of {location} cannot be had now: the server answers {status}; try again later")]
    Refused {
        /// `owner/name@revision`.
        location: String,
        /// The file.
        file: String,
        /// Such as `503 Service Unavailable`.
        status: String,
    },
    /// What came is not what the Hub announced.
    #[error("the download of {file} from {location} is damaged: {problem}; try again")]
    Damaged {
        /// `owner/name@revision`.
        location: String,
        /// The file.
        file: String,
        /// How it differs.
        problem: String,
    },
    /// It is not in the cache, and there shall be no network.
    #[error("{what} is not in the Hub's cache, and the network is off")]
    Offline {
        /// The file with its location.
        what: String,
    },
    /// Anything else, such as no connection.
    #[error("cannot get {repo} from the Hugging Face Hub: {problem}")]
    Other {
        /// `owner/name`.
        repo: String,
        /// Why not.
        problem: String,
    },
}

/// The files to choose from, but not hundreds of them.
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
    /// What a failed request for something of a repository means.
    pub(super) fn new(repo: &str, revision: &str, endpoint: &str, error: &HFError) -> Self {
        let (repo, endpoint) = (repo.to_owned(), endpoint.to_owned());
        match error {
            HFError::AuthRequired { context }
                if context.error_code.as_deref() == Some("GatedRepo") =>
            {
                Self::Gated { repo, endpoint }
            }
            HFError::AuthRequired { .. } => Self::Unauthorized { repo },
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
            _ => Self::other(&repo, error),
        }
    }

    /// One line with the innermost cause: the outer ones only say that a request failed.
    pub(super) fn other(repo: &str, error: &HFError) -> Self {
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        let (outer, inner) = (error.to_string(), cause.to_string());
        let problem = if outer.contains(&inner) {
            outer
        } else {
            format!("{outer}: {inner}")
        };
        Self::Other {
            repo: repo.to_owned(),
            problem: problem.split_whitespace().collect::<Vec<_>>().join(" "),
        }
    }
}
