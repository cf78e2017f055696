//! The Hugging Face Hub, played by servers on the loopback interface: one for the site and one
//! for the storage of large files, to which the site redirects.
//!
//! The layout is that of the Hub: the listing of a revision below `/api`, files below `/resolve`
//! with their ETag and commit, and for large files a redirect with `X-Linked-ETag` (the SHA-256)
//! and `X-Linked-Size`; the storage serves ranges.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};

/// The commit that `main` is at.
pub const COMMIT: &str = "aadb3af77e9048adbea6b47c21a81e47dd092ae5";

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The site answers with this status and `X-Error-Code`.
    Site(&'static str, &'static str),
    /// Both servers answer so to the first requests, as many as the second number says.
    Busy(&'static str, usize),
    /// The storage answers with this status and a text.
    Storage(&'static str),
    /// The storage breaks off half-way, for the first requests.
    Truncated(usize),
    /// The storage says that half the file is all.
    Short,
    /// The storage sends other bytes.
    Changed,
    /// The storage resets the connection, for the first requests.
    Reset(usize),
    /// The storage stops sending half-way and keeps the connection.
    Silent,
    /// The storage sends a little at a time.
    Slow,
}

/// A repository's address on the Hub, such as `models/timm/resnet18.a1_in1k`, and its files.
pub type Repository = (&'static str, HashMap<String, Vec<u8>>);

/// The two servers.
pub struct Hub {
    /// What `HF_ENDPOINT` has to be.
    pub address: String,
    shared: Arc<Shared>,
}

struct Shared {
    repositories: Vec<Repository>,
    fault: Option<Fault>,
    storage: String,
    requests: Mutex<Vec<String>>,
    failed: AtomicUsize,
}

impl Hub {
    /// Serves repositories.
    pub fn start(repositories: Vec<Repository>) -> Self {
        Self::failing(repositories, None)
    }

    /// Serves them badly.
    pub fn failing(repositories: Vec<Repository>, fault: impl Into<Option<Fault>>) -> Self {
        let [site, storage] = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            repositories,
            fault: fault.into(),
            storage: address(&storage),
            requests: Mutex::new(Vec::new()),
            failed: AtomicUsize::new(0),
        });
        let address = address(&site);
        serve(site, &shared, Shared::answer_site);
        serve(storage, &shared, Shared::answer_storage);
        Self { address, shared }
    }

    /// The requests since the last call: method, path, and the token if one came along.
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
    /// The first byte asked for.
    start: usize,
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
            let (start, _) = range.strip_prefix("bytes=")?.split_once('-')?;
            start.parse().ok()
        });
        Some(Self {
            stream,
            is_head: method == "HEAD",
            path: path.to_owned(),
            start: range.unwrap_or(0),
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
        let path = request.path.clone();
        for (address, files) in &self.repositories {
            if let Some(revision) = path.strip_prefix(&format!("/api/{address}/revision/")) {
                if !is_known(revision) {
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
                    "sha": COMMIT,
                    "siblings": siblings,
                });
                let headers = "Content-Type: application/json\r\n";
                return request.send("200 OK", headers, info.to_string().as_bytes());
            }
            // Models have no prefix.
            let place = address.strip_prefix("models/").unwrap_or(address);
            let Some(rest) = path.strip_prefix(&format!("/{place}/resolve/")) else {
                continue;
            };
            let Some((revision, name)) = rest.split_once('/') else {
                continue;
            };
            if !is_known(revision) {
                let headers = missing("RevisionNotFound");
                return request.send("404 Not Found", &headers, b"");
            }
            let Some(bytes) = files.get(name) else {
                let headers = missing("EntryNotFound");
                return request.send("404 Not Found", &headers, b"");
            };
            let hash = sha256(bytes);
            let commit = format!("X-Repo-Commit: {COMMIT}\r\n");
            if name.ends_with(".json") || name.ends_with(".md") {
                // A small file, whose ETag is that of git.
                let headers = format!("ETag: \"{}\"\r\n{commit}", &hash[..40]);
                return request.send("200 OK", &headers, bytes);
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
            Some(Fault::Storage(status)) => return request.send(status, "", b"<Error/>"),
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
            // Without an answer the client sees the connection closed under it.
            Some(Fault::Reset(times)) if self.is_early(times) => return,
            Some(Fault::Silent) => {
                request.head("200 OK", "", bytes.len());
                let _ = request.stream.write_all(&bytes[..half]);
                std::thread::sleep(Duration::from_secs(600));
                return;
            }
            Some(Fault::Slow) => {
                request.head("200 OK", "", bytes.len());
                for part in bytes.chunks(bytes.len().div_ceil(20)) {
                    let _ = request.stream.write_all(part);
                    std::thread::sleep(Duration::from_millis(20));
                }
                return;
            }
            _ => {}
        }
        match request.start {
            0 => request.send("200 OK", "Accept-Ranges: bytes\r\n", bytes),
            start if start < bytes.len() => {
                let (last, all) = (bytes.len() - 1, bytes.len());
                let headers = format!("Content-Range: bytes {start}-{last}/{all}\r\n");
                request.send("206 Partial Content", &headers, &bytes[start..]);
            }
            _ => request.send("416 Range Not Satisfiable", "", b""),
        }
    }
}

fn is_known(revision: &str) -> bool {
    revision == "main" || revision == COMMIT
}

/// In hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
