//! A mock of the Hugging Face Hub on the loopback interface: one server for the site, and one for
//! the storage of large files, to which the site redirects.
//!
//! The layout is the Hub's: the listing of a revision below `/api`, files below `/resolve` with
//! their ETag and commit, and for large files a redirect with `X-Linked-ETag` (the SHA-256) and
//! `X-Linked-Size`. The storage serves ranges, which the client requests after a failed download.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};
use socket2::SockRef;

/// The commit of `main`.
pub const COMMIT: &str = "aadb3af77e9048adbea6b47c21a81e47dd092ae5";
/// The branch of the Hub's conversions to parquet, as it is in an address. Here it is at [`COMMIT`].
const CONVERTED: &str = "refs%2Fconvert%2Fparquet";
/// The next commit of `main`.
pub const LATER: &str = "0f5c9c7e2c0b3f5a1f66d1c98a5b7e1d2f3a4b5c";

/// A fault of the mock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The site answers with this status and `X-Error-Code`.
    Site(&'static str, &'static str),
    /// The site lists all files, but answers requests for the named file with this status.
    File(&'static str, &'static str),
    /// Both servers answer the first requests with this status; the second number counts them.
    Busy(&'static str, usize),
    /// The storage answers the first requests with this status and a text.
    Storage(&'static str, usize),
    /// The storage breaks off half-way in the first requests.
    Truncated(usize),
    /// The storage claims that half of the file is the whole file.
    Short,
    /// The storage sends other bytes.
    Changed,
    /// The storage resets the connection half-way in the first requests.
    Reset(usize),
    /// The storage stops sending half-way and keeps the connection open.
    Silent,
    /// The storage sends a twentieth at a time, with this pause between the parts.
    Slow(Duration),
    /// The site redirects requests for repositories of this owner to the owner `timm`, with a relative
    /// address, as the Hub does after a change of name.
    Moved(&'static str),
}

/// The address of a repository on the Hub, such as `models/timm/resnet18.a1_in1k`, and its files.
pub type Repository = (&'static str, HashMap<String, Vec<u8>>);

/// The two servers.
pub struct Hub {
    /// The value for `HF_ENDPOINT`.
    pub address: String,
    shared: Arc<Shared>,
}

/// The state that the server threads share.
struct Shared {
    repositories: Vec<Repository>,
    /// The commit of `main`.
    commit: &'static str,
    /// The path of a mirror: the site is below it.
    path: &'static str,
    fault: Option<Fault>,
    storage: String,
    requests: Mutex<Vec<String>>,
    failed: AtomicUsize,
}

impl Hub {
    /// Serves `repositories`.
    pub fn start(repositories: Vec<Repository>) -> Self {
        Self::failing(repositories, None)
    }

    /// Serves `repositories` with a fault.
    pub fn failing(repositories: Vec<Repository>, fault: impl Into<Option<Fault>>) -> Self {
        Self::at(COMMIT, "", repositories, fault.into())
    }

    /// Serves `repositories` below a path, such as `/hf`, as some mirrors do.
    pub fn below(
        path: &'static str,
        repositories: Vec<Repository>,
        fault: impl Into<Option<Fault>>,
    ) -> Self {
        Self::at(COMMIT, path, repositories, fault.into())
    }

    /// Serves `repositories` with `main` at the next commit.
    pub fn later(repositories: Vec<Repository>) -> Self {
        Self::at(LATER, "", repositories, None)
    }

    fn at(
        commit: &'static str,
        path: &'static str,
        repositories: Vec<Repository>,
        fault: Option<Fault>,
    ) -> Self {
        let [site, storage] = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            repositories,
            commit,
            path,
            fault,
            storage: address(&storage),
            requests: Mutex::new(Vec::new()),
            failed: AtomicUsize::new(0),
        });
        let address = format!("{}{path}", address(&site));
        serve(site, &shared, Shared::answer_site);
        serve(storage, &shared, Shared::answer_storage);
        Self { address, shared }
    }

    /// The requests since the last call: method, path, and the token if there is one.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }
}

fn serve(listener: TcpListener, shared: &Arc<Shared>, answer: fn(&Shared, Request)) {
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                if let Some(request) = Request::read(stream.unwrap(), &shared) {
                    answer(&shared, request);
                }
            });
        }
    });
}

struct Request {
    stream: TcpStream,
    is_head: bool,
    path: String,
    /// The first and the last byte of the requested range, if the request has one.
    range: Option<(usize, usize)>,
}

impl Request {
    fn read(stream: TcpStream, shared: &Shared) -> Option<Self> {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let line = lines.next()?.ok()?;
        let headers: HashMap<String, String> = lines
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .filter_map(|line| {
                let (name, value) = line.split_once(": ")?;
                Some((name.to_lowercase(), value.to_owned()))
            })
            .collect();
        let mut words = line.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let token = headers.get("authorization").cloned().unwrap_or_default();
        let noted = format!("{method} {path} {token}").trim_end().to_owned();
        shared.requests.lock().unwrap().push(noted);
        let range = headers.get("range").and_then(|range| {
            let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
            Some((first.parse().ok()?, last.parse().ok()?))
        });
        Some(Self {
            stream,
            is_head: method == "HEAD",
            path: path.to_owned(),
            range,
        })
    }

    fn head(&mut self, status: &str, headers: &str, length: usize) {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n"
        );
        // The client may hang up early.
        let _ = self.stream.write_all(head.as_bytes());
    }

    fn send(mut self, status: &str, headers: &str, body: &[u8]) {
        self.head(status, headers, body.len());
        if !self.is_head {
            let _ = self.stream.write_all(body);
        }
    }
}

impl Shared {
    fn is_known(&self, revision: &str) -> bool {
        revision == "main" || revision == CONVERTED || revision == self.commit
    }

    /// Whether this request is one of the first `times`.
    fn is_early(&self, times: usize) -> bool {
        self.failed.fetch_add(1, Ordering::Relaxed) < times
    }

    fn answer_site(&self, request: Request) {
        match self.fault {
            Some(Fault::Site(status, code)) => {
                let headers = format!("X-Error-Code: {code}\r\n");
                return request.send(status, &headers, b"");
            }
            Some(Fault::Busy(status, times)) if self.is_early(times) => {
                return request.send(status, "", b"busy");
            }
            _ => {}
        }
        let missing = |code: &str| format!("X-Error-Code: {code}\r\n");
        let Some(path) = request.path.strip_prefix(self.path).map(str::to_owned) else {
            return request.send("404 Not Found", "", b"not the mirror");
        };
        if let Some(Fault::Moved(owner)) = self.fault
            && path.contains(&format!("/{owner}/"))
        {
            let place = path.replacen(&format!("/{owner}/"), "/timm/", 1);
            let headers = format!("Location: {}{place}\r\n", self.path);
            return request.send("307 Temporary Redirect", &headers, b"");
        }
        for (address, files) in &self.repositories {
            if let Some(revision) = path.strip_prefix(&format!("/api/{address}/revision/")) {
                if !self.is_known(revision) {
                    let headers = missing("RevisionNotFound");
                    return request.send("404 Not Found", &headers, b"");
                }
                let siblings: Vec<_> = files
                    .keys()
                    .map(|name| serde_json::json!({ "rfilename": name }))
                    .collect();
                let info = serde_json::json!({
                    "_id": "621ffdd236468d709f181e58",
                    "id": address.split_once('/').unwrap().1,
                    "sha": self.commit,
                    "siblings": siblings,
                });
                let headers = "Content-Type: application/json\r\n";
                return request.send("200 OK", headers, info.to_string().as_bytes());
            }
            // The addresses of models have no prefix.
            let place = address.strip_prefix("models/").unwrap_or(address);
            let Some(rest) = path.strip_prefix(&format!("/{place}/resolve/")) else {
                continue;
            };
            let Some((revision, name)) = rest.split_once('/') else {
                continue;
            };
            if !self.is_known(revision) {
                let headers = missing("RevisionNotFound");
                return request.send("404 Not Found", &headers, b"");
            }
            match self.fault {
                Some(Fault::File(of, status)) if of == name => {
                    return request.send(status, "", b"");
                }
                _ => {}
            }
            let Some(bytes) = files.get(name) else {
                let headers = missing("EntryNotFound");
                return request.send("404 Not Found", &headers, b"");
            };
            let hash = sha256(bytes);
            let commit = format!("X-Repo-Commit: {}\r\n", self.commit);
            if name.ends_with(".json") || name.ends_with(".md") {
                // The ETag of a small file is git's hash.
                let headers = format!("ETag: \"{}\"\r\n{commit}", git_sha1(bytes));
                let mut sent = bytes.clone();
                if let (Some(Fault::Changed), Some(first)) = (self.fault, sent.first_mut()) {
                    *first ^= 0x55;
                }
                return request.send("200 OK", &headers, &sent);
            }
            let headers = format!(
                "Location: {}/{hash}\r\nETag: \"{}\"\r\nX-Linked-ETag: \"{hash}\"\r\n\
                 X-Linked-Size: {}\r\n{commit}",
                self.storage,
                &hash[..40],
                bytes.len()
            );
            return request.send("302 Found", &headers, b"");
        }
        request.send("404 Not Found", &missing("RepoNotFound"), b"");
    }

    fn answer_storage(&self, mut request: Request) {
        let files = self
            .repositories
            .iter()
            .flat_map(|(_, files)| files.values());
        let wanted = request.path.trim_start_matches('/').to_owned();
        let Some(bytes) = files.into_iter().find(|bytes| sha256(bytes) == wanted) else {
            return request.send("404 Not Found", "", b"");
        };
        let half = bytes.len() / 2;
        match self.fault {
            Some(Fault::Storage(status, times)) if self.is_early(times) => {
                return request.send(status, "", b"<Error/>");
            }
            Some(Fault::Busy(status, times)) if self.is_early(times) => {
                return request.send(status, "", b"busy");
            }
            Some(Fault::Truncated(times)) if self.is_early(times) => {
                request.head("200 OK", "", bytes.len());
                let _ = request.stream.write_all(&bytes[..half]);
                return;
            }
            Some(Fault::Short) => return request.send("200 OK", "", &bytes[..half]),
            Some(Fault::Changed) => {
                let mut other = bytes.clone();
                other[half] ^= 0x55;
                return request.send("200 OK", "", &other);
            }
            Some(Fault::Reset(times)) if self.is_early(times) => {
                request.head("200 OK", "", bytes.len());
                let _ = request.stream.write_all(&bytes[..half]);
                // Without lingering, closing the connection resets it.
                let socket = SockRef::from(&request.stream);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
                return;
            }
            Some(Fault::Silent) => {
                request.head("200 OK", "", bytes.len());
                let _ = request.stream.write_all(&bytes[..half]);
                std::thread::sleep(Duration::from_secs(600));
                return;
            }
            Some(Fault::Slow(pause)) => {
                request.head("200 OK", "", bytes.len());
                for part in bytes.chunks(bytes.len().div_ceil(20)) {
                    let _ = request.stream.write_all(part);
                    std::thread::sleep(pause);
                }
                return;
            }
            _ => {}
        }
        match request.range {
            None => request.send("200 OK", "Accept-Ranges: bytes\r\n", bytes),
            Some((first, last)) if first <= last && last < bytes.len() => {
                let headers = format!("Content-Range: bytes {first}-{last}/{}\r\n", bytes.len());
                request.send("206 Partial Content", &headers, &bytes[first..=last]);
            }
            Some(_) => request.send("416 Range Not Satisfiable", "", b""),
        }
    }
}

/// In hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// The hash of a file as `git hash-object` computes it.
fn git_sha1(bytes: &[u8]) -> String {
    let header = format!("blob {}\0", bytes.len());
    hexadecimal(&Sha1::new_with_prefix(header).chain_update(bytes).finalize())
}

fn hexadecimal(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
