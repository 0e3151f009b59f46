//! Static files of a folder under a host name, kept in memory once read.

use crate::answer::Answer;
use crate::body::AnswerBody;
use crate::site::{Answering, Request, Site};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

/// Bytes of files kept in memory. Enough for the whole of Rust's `std` documentation, so that a benchmark measures
/// the crawler and not this disk; files beyond it are read anew each time.
const CACHE_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// A folder as a site.
pub struct Folder {
    root: PathBuf,
    cache: RwLock<Cache>,
}

#[derive(Default)]
struct Cache {
    /// By the path as it was asked for.
    files: HashMap<String, File>,
    bytes: usize,
}

#[derive(Clone)]
struct File {
    bytes: Bytes,
    content_type: HeaderValue,
}

enum Found {
    File(File),
    Folder,
    Nothing,
}

impl Folder {
    /// Serves what lies under `root`, which must be a folder. What changes in it after a first request isn't seen.
    pub fn new(root: impl AsRef<Path>) -> io::Result<Self> {
        let root = root.as_ref().canonicalize()?;
        if !root.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "a folder site needs a folder"));
        }
        Ok(Self { root, cache: RwLock::default() })
    }

    fn cached(&self, path: &str) -> Option<File> {
        self.cache.read().unwrap_or_else(PoisonError::into_inner).files.get(path).cloned()
    }

    fn keep(&self, path: &str, file: &File) {
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        let bytes = cache.bytes.saturating_add(file.bytes.len());
        if bytes <= CACHE_BYTES_MAX && !cache.files.contains_key(path) {
            cache.bytes = bytes;
            cache.files.insert(path.to_owned(), file.clone());
        }
    }

    async fn find(&self, path: &str) -> io::Result<Found> {
        let Some(relative) = relative(path) else {
            return Ok(Found::Nothing);
        };
        let asked = self.root.join(relative);
        // Resolved before it is judged: a link that leads out of the folder is outside.
        let mut file = match tokio::fs::canonicalize(&asked).await {
            Ok(file) if file.starts_with(&self.root) => file,
            Ok(_) => return Ok(Found::Nothing),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Found::Nothing);
            }
            Err(error) => return Err(error),
        };
        let is_folder = tokio::fs::metadata(&file).await?.is_dir();
        match (is_folder, path.ends_with('/')) {
            (true, false) => return Ok(Found::Folder),
            (false, true) => return Ok(Found::Nothing),
            (true, true) => match tokio::fs::canonicalize(file.join("index.html")).await {
                Ok(index) if index.starts_with(&self.root) => file = index,
                Ok(_) => return Ok(Found::Nothing),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
                Err(error) => return Err(error),
            },
            (false, false) => {}
        }
        let bytes = Bytes::from(tokio::fs::read(&file).await?);
        Ok(Found::File(File { bytes, content_type: content_type(&file) }))
    }

    async fn serve(&self, request: Request) -> Answer {
        if !matches!(*request.http.method(), Method::GET | Method::HEAD) {
            return Answer::text(StatusCode::METHOD_NOT_ALLOWED, "files can be read only\n")
                .with(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        let path = request.path();
        if let Some(file) = self.cached(path) {
            return file.answer();
        }
        match self.find(path).await {
            Ok(Found::File(file)) => {
                self.keep(path, &file);
                file.answer()
            }
            Ok(Found::Folder) => Answer::redirect(StatusCode::MOVED_PERMANENTLY, &format!("{path}/")),
            Ok(Found::Nothing) => Answer::text(StatusCode::NOT_FOUND, "no such file\n"),
            Err(error) => {
                tracing::warn!(%error, path, "failed to read a file");
                Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "the file can't be read\n")
            }
        }
    }
}

impl Site for Folder {
    fn answer(&self, request: Request) -> Answering<'_> {
        Box::pin(self.serve(request))
    }
}

impl File {
    fn answer(self) -> Answer {
        let mut response = Response::new(AnswerBody::whole(self.bytes));
        response.headers_mut().insert(CONTENT_TYPE, self.content_type);
        Answer::Respond(response)
    }
}

/// The file path a URL's path names, below the root; `None` for what could lead elsewhere.
fn relative(path: &str) -> Option<PathBuf> {
    let mut relative = PathBuf::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let segment = percent_decoded(segment)?;
        if segment == ".." || segment.contains(['/', '\\', '\0']) {
            return None;
        }
        if segment != "." {
            relative.push(segment);
        }
    }
    Some(relative)
}

fn percent_decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            let hex = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

fn content_type(file: &Path) -> HeaderValue {
    let name = file.extension().and_then(|extension| extension.to_str()).unwrap_or("");
    HeaderValue::from_static(match name.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "xml" => "application/xml",
        "txt" | "md" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    })
}
