//! What a service says, without the secrets that it was sent. Some say a key again in their refusals, and what they say
//! is told to handlers, logged, and kept with attempts, pauses and cool-downs.

use bytes::Bytes;

/// What stands in a secret's place.
const REDACTED: &[u8] = b"[secret]";
/// Shortest secret that is looked for in an answer of status 200. A shorter one proves nothing (`none`, `ollama`), and
/// may be a word of what was asked for.
const ANSWER_SECRET_BYTES_MIN: usize = 16;
/// And in a refusal: without the words that a shorter one would take out of it, nobody could tell what kind it is.
const REFUSAL_SECRET_BYTES_MIN: usize = 8;

/// Leaves secrets out of a body as it comes.
pub(crate) struct Redactor {
    /// Each secret as it may be written; the longest first.
    spellings: Vec<Vec<u8>>,
    /// What came, and may be the beginning of one.
    held: Vec<u8>,
    has_found: bool,
}

impl Redactor {
    /// For what a service answers with that status, having been sent these.
    pub(crate) fn new(secrets: &[String], status: u16) -> Self {
        let least = if status == 200 { ANSWER_SECRET_BYTES_MIN } else { REFUSAL_SECRET_BYTES_MIN };
        let secrets = secrets.iter().filter(|secret| secret.len() >= least);
        let mut spellings: Vec<Vec<u8>> = secrets.flat_map(|secret| spellings(secret)).collect();
        spellings.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
        spellings.dedup();
        Self { spellings, held: Vec::new(), has_found: false }
    }

    /// What may be told of the next bytes. What may be the beginning of a secret is held back
    /// until it shows what it is.
    pub(crate) fn pass(&mut self, bytes: Bytes) -> Bytes {
        if self.held.is_empty() && self.begins_in(&bytes).is_none() {
            return bytes;
        }
        self.held.extend_from_slice(&bytes);
        let (told, held_from) = self.told();
        self.held.drain(..held_from);
        told.into()
    }

    /// What was held back, where nothing follows it.
    pub(crate) fn end(&mut self) -> Bytes {
        std::mem::take(&mut self.held).into()
    }

    /// Leaves them out of a text that is whole.
    pub(crate) fn clean(&mut self, text: &mut String) {
        if self.begins_in(text.as_bytes()).is_none() {
            return;
        }
        let mut told = self.pass(Bytes::copy_from_slice(text.as_bytes())).to_vec();
        told.extend_from_slice(&self.end());
        *text = String::from_utf8_lossy(&told).into_owned();
    }

    /// Where the first byte is that any of them begins with.
    fn begins_in(&self, bytes: &[u8]) -> Option<usize> {
        let is_first = |byte: &u8| self.spellings.iter().any(|spelling| spelling.first() == Some(byte));
        if self.spellings.is_empty() { None } else { bytes.iter().position(is_first) }
    }

    /// Whether there was any.
    pub(crate) fn has_found(&self) -> bool {
        self.has_found
    }

    /// What may be told of what is held, and where that ends.
    fn told(&mut self) -> (Vec<u8>, usize) {
        let (mut told, mut at) = (Vec::with_capacity(self.held.len()), 0);
        while at < self.held.len() {
            let plain = self.begins_in(&self.held[at..]).unwrap_or(self.held.len() - at);
            told.extend_from_slice(&self.held[at..at + plain]);
            at += plain;
            let rest = &self.held[at..];
            if rest.is_empty() {
                break;
            }
            if let Some(found) = self.spellings.iter().find(|spelling| rest.starts_with(spelling)) {
                told.extend_from_slice(REDACTED);
                self.has_found = true;
                at += found.len();
            } else if self.spellings.iter().any(|spelling| spelling.starts_with(rest)) {
                break;
            } else {
                told.push(rest[0]);
                at += 1;
            }
        }
        (told, at)
    }
}

/// A secret as it is, and as a text of JSON has it: some programs put a `\` before a `/`.
fn spellings(secret: &str) -> [Vec<u8>; 3] {
    let json = secret.replace('\\', "\\\\").replace('"', "\\\"");
    let slashed = json.replace('/', "\\/");
    [secret, &json, &slashed].map(|spelling| spelling.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-right/key\"0001";

    fn all(secret: &str, status: u16, chunks: &[&[u8]]) -> String {
        let mut redactor = Redactor::new(&[secret.to_owned()], status);
        let mut told: Vec<u8> = chunks.iter().flat_map(|chunk| redactor.pass(Bytes::copy_from_slice(chunk))).collect();
        told.extend(redactor.end());
        String::from_utf8(told).unwrap()
    }

    #[test]
    fn a_secret_is_left_out_however_it_is_cut_into_pieces() {
        let body = format!("wrong key {KEY}{KEY}, or sk-right\\/key\\\"0001 sk-ri");
        for at in 0..body.len() {
            let (one, other) = body.as_bytes().split_at(at);
            let told = all(KEY, 401, &[one, other]);
            assert_eq!(told, "wrong key [secret][secret], or [secret] sk-ri", "cut at {at}");
        }
        let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
        assert_eq!(all(KEY, 200, &bytes), "wrong key [secret][secret], or [secret] sk-ri");
        let mut text = body.clone();
        Redactor::new(&[KEY.to_owned()], 401).clean(&mut text);
        assert_eq!(text, "wrong key [secret][secret], or [secret] sk-ri", "nothing follows it");
    }

    #[test]
    fn a_word_that_proves_nothing_is_left_out_of_refusals_alone() {
        assert_eq!(all("hush-hush", 401, &[b"{\"key\": \"hush-hush\"}"]), "{\"key\": \"[secret]\"}");
        assert_eq!(all("hush-hush", 200, &[b"hush-hush"]), "hush-hush");
        assert_eq!(all("length", 400, &[b"context_length_exceeded"]), "context_length_exceeded", "it tells the kind");
        assert_eq!(all("none", 200, &[b"there is no", b"ne"]), "there is none");
    }
}
