//! The built web console as embedded files, nothing else.
//!
//! The files come from `web/dist`; where that is empty (a fresh clone before `npm run build`), one
//! page says so. This crate knows nothing about HTTP servers: the caller turns an [`Asset`] into an
//! answer and sends [`CONTENT_SECURITY_POLICY`] with it.

use rust_embed::RustEmbed;
use std::borrow::Cow;

#[cfg(test)]
mod tests;

/// The policy every file of the console is written for: no outside hosts, no inline scripts.
/// Inline styles are allowed because the charts and floating elements place themselves with them.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../../web/dist"]
#[allow_missing = true]
struct Dist;

/// One file of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// The file, uncompressed.
    pub bytes: Cow<'static, [u8]>,
    /// The same file compressed (RFC 1952), where the build made one; for callers that accept `gzip`.
    pub gzip: Option<Cow<'static, [u8]>>,
    /// The `Content-Type` to send.
    pub content_type: &'static str,
    /// A strong entity tag, quotes included (RFC 9110, 8.8.3).
    pub etag: String,
    /// Whether the name contains a hash of the content, so that it may be cached for ever.
    pub immutable: bool,
}

impl Asset {
    /// The `Cache-Control` to send.
    pub const fn cache_control(&self) -> &'static str {
        if self.immutable { "public, max-age=31536000, immutable" } else { "no-cache" }
    }
}

/// Whether a built console is embedded.
pub fn is_built() -> bool {
    Dist::get(INDEX).is_some()
}

/// The file with exactly this path, as in `assets/index-1a2b3c.js`; a leading slash is ignored.
pub fn file(path: &str) -> Option<Asset> {
    let path = path.trim_start_matches('/');
    if path.ends_with(".gz") {
        return None;
    }
    let found = Dist::get(path)?;
    Some(Asset {
        content_type: content_type(path),
        etag: etag(&found.metadata.sha256_hash()),
        immutable: path.starts_with(HASHED),
        gzip: Dist::get(&format!("{path}.gz")).map(|file| file.data),
        bytes: found.data,
    })
}

/// What to answer a browser that asks for `path`: the file, or the start page for the addresses the
/// console itself makes up (`/calls`, `/keys/checkout.v2`). `None` for a missing build product, so
/// that an outdated page fails plainly instead of running HTML as a script.
pub fn resolve(path: &str) -> Option<Asset> {
    file(path).or_else(|| {
        let made_up = !path.trim_start_matches('/').starts_with(HASHED);
        made_up.then(|| file(INDEX).unwrap_or_else(not_built))
    })
}

const INDEX: &str = "index.html";
const HASHED: &str = "assets/";
const NOT_BUILT: &[u8] = include_bytes!("not_built.html");

fn not_built() -> Asset {
    Asset {
        bytes: Cow::Borrowed(NOT_BUILT),
        gzip: None,
        content_type: content_type(INDEX),
        etag: "\"not-built\"".to_owned(),
        immutable: false,
    }
}

fn etag(sha256: &[u8; 32]) -> String {
    let hex: String = sha256[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
