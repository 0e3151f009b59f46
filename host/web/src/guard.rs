//! Who may ask: the token for the API, and the loopback name for everything.

use std::{fs, io, net::IpAddr, path::Path};

use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// Its name in the data folder; readable by its owner alone.
pub const TOKEN_FILE: &str = "api-token";
/// Random bytes of a token: more than anyone can guess.
const TOKEN_BYTES: usize = 32;

/// What an API request has to present as `Authorization: Bearer …`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// Draws a new one.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn draw() -> io::Result<Self> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Reads the token of a data folder.
    ///
    /// # Errors
    /// The file isn't there or can't be read.
    pub fn read(data: &Path) -> io::Result<Self> {
        Ok(Self(fs::read_to_string(data.join(TOKEN_FILE))?.trim().to_owned()))
    }

    /// Reads the token of a data folder, or draws one and keeps it.
    ///
    /// # Errors
    /// The file can't be read or written.
    pub fn read_or_make(data: &Path) -> io::Result<Self> {
        match Self::read(data) {
            Ok(token) if !token.0.is_empty() => Ok(token),
            Ok(_) => Self::make(data),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(data),
            Err(error) => Err(error),
        }
    }

    fn make(data: &Path) -> io::Result<Self> {
        use std::{io::Write, os::unix::fs::OpenOptionsExt};
        let token = Self::draw()?;
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(data.join(TOKEN_FILE))?;
        file.write_all(token.0.as_bytes())?;
        Ok(token)
    }

    /// The header that presents it.
    #[must_use]
    pub fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Compares in a time that doesn't depend on where they differ.
    fn fits(&self, presented: &str) -> bool {
        let expected = self.header();
        let differs = expected.bytes().zip(presented.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        expected.len() == presented.len() && differs == 0
    }
}

pub(crate) async fn token(State(token): State<Token>, request: Request, next: Next) -> Response {
    let presented = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if presented.is_some_and(|presented| token.fits(presented)) {
        return next.run(request).await;
    }
    let text = format!("the API wants the token of the data folder, in the file {TOKEN_FILE}");
    (StatusCode::UNAUTHORIZED, text).into_response()
}

/// Refuses requests that name another host than loopback: a page on the web can make a browser call us by a name
/// that resolves here (DNS rebinding).
pub(crate) async fn loopback_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if is_loopback(host) {
        next.run(request).await
    } else {
        (StatusCode::MISDIRECTED_REQUEST, "this host answers on loopback alone").into_response()
    }
}

/// Whether a `Host` header names loopback: `localhost`, or an address of it, `127.0.0.2` as well. An address can't be
/// made to lead elsewhere, as a name can.
fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_of_loopback_is_answered_and_no_other_name() {
        for host in ["localhost", "localhost:7070", "127.0.0.1:7070", "127.0.0.2", "[::1]", "[::1]:7070"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "evil.example", "127.0.0.1.evil.example", "0.0.0.0:7070", "10.0.0.1", "localhost.evil:7070"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_token_is_kept_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let token = Token::read_or_make(folder.path()).unwrap();
        assert_eq!(Token::read_or_make(folder.path()).unwrap(), token);
        let mode = fs::metadata(folder.path().join(TOKEN_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(token.fits(&token.header()));
        assert!(!token.fits("Bearer "));
        assert!(!token.fits(&Token::draw().unwrap().header()));
    }
}
