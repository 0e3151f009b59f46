//! Netscape cookie files: what a person exports from a browser, and what tools read.

use tollgate_core::Timestamp;

use super::cookie::{Cookie, Jar, Value};

/// How a cookie is marked that scripts of a page don't see; to us it is one as any other.
const HTTP_ONLY: &str = "#HttpOnly_";

/// Reads those cookies of a file that are wanted: a browser exports all of its sites'. What is wrong names the line and
/// nothing of what stands there.
///
/// # Errors
/// A line that is no cookie, or a wanted one that can't be sent.
pub(super) fn read(text: &str, wanted: impl Fn(&Cookie) -> bool) -> Result<Jar, String> {
    let mut jar = Jar::default();
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line.trim_end_matches('\r'))) {
        let line = line.strip_prefix(HTTP_ONLY).unwrap_or(line);
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let cookie = cookie(line).ok_or_else(|| {
            format!(
                "line {number} is no cookie: domain, subdomains, path, secure, expiry, name and value, apart by tabs"
            )
        })?;
        if wanted(&cookie) && !jar.put(cookie) {
            return Err(format!("line {number}: a cookie that can't be sent, or more of them than a session has"));
        }
    }
    Ok(jar)
}

fn cookie(line: &str) -> Option<Cookie> {
    let mut fields: Vec<&str> = line.split('\t').collect();
    if fields.len() == 1 {
        // Copied from a screen, tabs become blanks.
        fields = line.split_whitespace().collect();
    }
    if fields.len() == 6 {
        fields.push("");
    }
    let [domain, has_subdomains, path, is_secure, expires, name, value] = fields[..] else {
        return None;
    };
    let flag = |text: &str| match text.to_ascii_uppercase().as_str() {
        "TRUE" => Some(true),
        "FALSE" => Some(false),
        _ => None,
    };
    let bare = domain.trim_start_matches('.').to_ascii_lowercase();
    // Whole seconds, but some programs write a fraction; none and 0: as long as its site takes it.
    let (seconds, _) = expires.split_once('.').unwrap_or((expires, ""));
    let seconds: i64 = if seconds.is_empty() { 0 } else { seconds.parse().ok()? };
    let expires = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
    Some(Cookie {
        name: name.to_owned(),
        value: Value::new(value),
        is_host_only: !flag(has_subdomains)? && !domain.starts_with('.'),
        domain: bare,
        path: if path.starts_with('/') { path.to_owned() } else { return None },
        is_secure: flag(is_secure)?,
        expires: expires.map(|seconds| Timestamp(seconds.saturating_mul(1_000))),
    })
}

/// A file for a tool.
pub(crate) fn write(jar: &Jar) -> String {
    let mut text = "# Netscape HTTP Cookie File\n".to_owned();
    let flag = |is: bool| if is { "TRUE" } else { "FALSE" };
    for cookie in jar.iter() {
        let dot = if cookie.is_host_only { "" } else { "." };
        let fields = [
            &format!("{dot}{}", cookie.domain),
            flag(!cookie.is_host_only),
            &cookie.path,
            flag(cookie.is_secure),
            &cookie.expires.map_or(0, |expires| expires.0 / 1_000).to_string(),
            &cookie.name,
            cookie.value.reveal(),
        ];
        text.push_str(&fields.join("\t"));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r10_what_browsers_export_is_read_and_written_again() {
        let text = "# Netscape HTTP Cookie File\r\n\r\n\
                    .ideas.example\tTRUE\t/\tTRUE\t4000000000\ta\tone two\r\n\
                    #HttpOnly_ideas.example\tFALSE\t/in\tFALSE\t0\tb\t\n\
                    # a comment\n\
                    www.ideas.example FALSE / FALSE 1800000000.25 c three\n";
        let jar = read(text, |_| true).unwrap();
        let all: Vec<&Cookie> = jar.iter().collect();
        assert_eq!(all.len(), 3);
        assert!(!all[0].is_host_only && all[0].is_secure && all[0].value.reveal() == "one two");
        assert!(all[1].is_host_only && all[1].expires.is_none() && all[1].path == "/in");
        assert_eq!(all[2].expires, Some(Timestamp(1_800_000_000_000)));
        assert_eq!(read(&write(&jar), |_| true), Ok(jar));
    }

    #[test]
    fn r10_what_is_no_cookie_is_told_by_its_line_alone() {
        for line in [
            "ideas.example\tFALSE\t/\tFALSE\tsoon\tname\tsecret",
            "secret",
            "a\tb\tc\td\te\tf\tsecret",
            "[{\"secret\":1}]",
        ] {
            let said = read(&format!("# file\n{line}\n"), |_| true).unwrap_err();
            assert!(said.contains("line 2") && !said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn r10_what_is_of_no_site_of_the_session_may_be_as_it_likes() {
        let long = "x".repeat(10_000);
        let others: String = (0..500).map(|n| format!("other.example\tFALSE\t/\tFALSE\t0\tn{n}\t{long}\n")).collect();
        let text = others + "club.example\tFALSE\t/\tTRUE\t0\tsid\tone\n";
        assert_eq!(read(&text, |cookie| cookie.domain == "club.example").unwrap().iter().count(), 1);
        assert!(read(&text, |_| true).is_err());
    }
}
