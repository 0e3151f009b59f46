//! A multipart form, as a client sends a file with it.

/// The fields of a form.
#[derive(Debug, Default)]
pub(super) struct Form {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    name: String,
    file_name: Option<String>,
    data: Vec<u8>,
}

impl Form {
    /// Reads a body by its content type; nothing, where it is no form.
    pub(super) fn read(content_type: &str, body: &[u8]) -> Option<Self> {
        if !content_type.to_ascii_lowercase().starts_with("multipart/form-data") {
            return None;
        }
        let boundary = parameter(content_type, "boundary")?;
        let (first, between) = (format!("--{boundary}"), format!("\r\n--{boundary}"));
        let mut rest = body.strip_prefix(first.as_bytes())?;
        let mut parts = Vec::new();
        while let Some(part) = rest.strip_prefix(b"\r\n") {
            let head_end = find(part, b"\r\n\r\n")?;
            let head = std::str::from_utf8(&part[..head_end]).ok()?;
            let data = &part[head_end + 4..];
            let end = find(data, between.as_bytes())?;
            parts.push(Part::new(head, &data[..end])?);
            rest = &data[end + between.len()..];
        }
        rest.starts_with(b"--").then_some(Self { parts })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| part.name.as_str())
    }

    /// A field's text, the first of its name.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let part = self.parts.iter().find(|part| part.name == name && part.file_name.is_none())?;
        std::str::from_utf8(&part.data).ok()
    }

    /// The file's own name.
    pub(super) fn file_name(&self) -> Option<&str> {
        self.parts.iter().find(|part| part.name == "file")?.file_name.as_deref()
    }

    /// What the file holds; nothing, where there is none.
    pub(super) fn file(&self) -> &[u8] {
        self.parts.iter().find(|part| part.name == "file").map_or(&[], |part| &part.data)
    }
}

impl Part {
    fn new(head: &str, data: &[u8]) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let disposition = lines.find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
        let name = parameter(disposition, "name")?;
        Some(Self { name, file_name: parameter(disposition, "filename"), data: data.to_vec() })
    }
}

/// A parameter behind a header's value, with or without quotes.
fn parameter(header: &str, name: &str) -> Option<String> {
    let value = header.split(';').skip(1).find_map(|pair| {
        let (found, value) = pair.trim().split_once('=')?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })?;
    Some(value.trim_matches('"').to_owned())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::Form;

    #[test]
    fn a_form_is_read_with_its_file_whatever_that_holds() {
        let body = b"--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--x\r\n\
            content-disposition: form-data; name=\"file\"; filename=\"a b.wav\"\r\nContent-Type: audio/wav\r\n\r\n\
            RIFF\r\n\r\n--y\0\r\n--x--\r\n";
        let form = Form::read("multipart/form-data; boundary=x", body).unwrap();
        assert_eq!((form.field("model"), form.file_name()), (Some("whisper-1"), Some("a b.wav")));
        assert_eq!(form.file(), b"RIFF\r\n\r\n--y\0");
        assert_eq!(form.names().collect::<Vec<_>>(), ["model", "file"]);
        for (kind, body) in [
            ("multipart/form-data; boundary=z", &body[..]),
            ("application/json", b"{}"),
            ("multipart/form-data; boundary=x", b"--x\r\n"),
        ] {
            assert!(Form::read(kind, body).is_none());
        }
    }
}
