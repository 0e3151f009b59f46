//! As much of audio files as tells how long they are and what is said in them; and the sim's own, which hardly sound.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Samples of the sim's own audio in a second, a byte each: little to send, and enough for any reader.
pub(crate) const RATE: u32 = 1_000;
/// Bytes that a second takes in a file whose header says nothing: 32 kbit/s.
const BYTES_PER_S: u64 = 4_000;
/// Where a comment is looked for, from the beginning.
const HEAD_BYTES: usize = 256 << 10;
/// How much shorter, in milliseconds, a file may be than what is said in it before it is a part of that.
const PART_MS: u64 = 1_000;
/// What is said where nobody says what.
const WORDS: [&str; 12] =
    ["revenue", "margin", "grew", "the", "quarter", "guidance", "we", "expect", "orders", "and", "cash", "improved"];

/// A WAV file of so many milliseconds, in whose comment stands what is said, and how long that takes.
pub fn wav(length_ms: u64, said: &str) -> Vec<u8> {
    wav_of(RATE, length_ms, said)
}

/// The same of so many samples in a second, a byte each.
pub fn wav_of(rate: u32, length_ms: u64, said: &str) -> Vec<u8> {
    let samples = usize::try_from(length_ms * u64::from(rate) / 1_000).unwrap_or_default();
    // A hum, so that it isn't taken for silence.
    let data: Vec<u8> = (0..samples).map(|at| if at % 20 < 10 { 120 } else { 136 }).collect();
    let mut comment = format!("{length_ms}|{said}").into_bytes();
    comment.resize((comment.len() + 2) & !1, 0);
    let mut list = b"INFO".to_vec();
    chunk(&mut list, b"ICMT", &comment);
    let mut format = Vec::new();
    // PCM, one channel, the rate twice since a sample is a byte, one byte a block, 8 bits.
    format.extend_from_slice(&[1, 0, 1, 0]);
    format.extend_from_slice(&rate.to_le_bytes());
    format.extend_from_slice(&rate.to_le_bytes());
    format.extend_from_slice(&[1, 0, 8, 0]);
    let mut wave = b"WAVE".to_vec();
    chunk(&mut wave, b"fmt ", &format);
    chunk(&mut wave, b"LIST", &list);
    chunk(&mut wave, b"data", &data);
    let mut file = Vec::new();
    chunk(&mut file, b"RIFF", &wave);
    file
}

fn chunk(into: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    into.extend_from_slice(name);
    into.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
    into.extend_from_slice(data);
    if !data.len().is_multiple_of(2) {
        into.push(0);
    }
}

/// How long audio is, in milliseconds: by the header of a WAV or FLAC file, by the last page of an Ogg file with Opus,
/// and else by its size, as if it were of 32 kbit/s.
pub fn duration_ms(file: &[u8]) -> u64 {
    let known = match file.get(..4) {
        Some(b"RIFF") => of_wav(file),
        Some(b"fLaC") => of_flac(file),
        Some(b"OggS") => of_opus(file),
        _ => None,
    };
    known.unwrap_or(file.len() as u64 * 1_000 / BYTES_PER_S)
}

/// The chunks of a WAV file, by name.
fn chunks(file: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = file.get(12..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (head, after) = rest.split_at_checked(8)?;
        // A length that ffmpeg couldn't go back to write is all that there is.
        let length = (u32_le(&head[4..])? as usize).min(after.len());
        rest = after.get(length + length % 2..).unwrap_or_default();
        Some((&head[..4], &after[..length]))
    })
}

fn of_wav(file: &[u8]) -> Option<u64> {
    let (_, format) = chunks(file).find(|(name, _)| name == b"fmt ")?;
    let (_, data) = chunks(file).find(|(name, _)| name == b"data")?;
    let per_second = u64::from(u32_le(format.get(8..)?)?);
    (data.len() as u64 * 1_000).checked_div(per_second)
}

fn of_flac(file: &[u8]) -> Option<u64> {
    // Its first block: 20 bits of the rate after 10 bytes, and 36 of the samples at the end of 8 bytes.
    let facts = u64::from_be_bytes(file.get(18..26)?.try_into().ok()?);
    let (rate, samples) = (facts >> 44, facts & 0xf_ffff_ffff);
    (samples * 1_000).checked_div(rate).filter(|_| samples > 0)
}

fn of_opus(file: &[u8]) -> Option<u64> {
    let head = find(file, b"OpusHead")?;
    let skipped = u64::from(u16::from_le_bytes(file.get(head + 10..head + 12)?.try_into().ok()?));
    let last = file.windows(4).rposition(|window| window == b"OggS")?;
    let samples = u64::from_le_bytes(file.get(last + 6..last + 14)?.try_into().ok()?);
    // Opus counts 48,000 in a second, whatever went in.
    Some(samples.saturating_sub(skipped) / 48)
}

/// What is said in the sim's own audio, by its comment: of a WAV file, or of one that ffmpeg made of it. Nothing, where
/// the file is a part of it: which one, nobody can tell.
pub fn comment(file: &[u8]) -> Option<String> {
    let head = &file[..file.len().min(HEAD_BYTES)];
    let said = if head.starts_with(b"RIFF") {
        let (_, list) = chunks(file).find(|(name, list)| name == b"LIST" && list.starts_with(b"INFO"))?;
        let at = find(list, b"ICMT")?;
        let length = u32_le(list.get(at + 4..)?)? as usize;
        list.get(at + 8..at + 8 + length)?
    } else {
        // Name and value together, their length before them. ffmpeg calls a WAV file's comment
        // so in FLAC and Ogg files.
        let at = find(head, b"DESCRIPTION=")?;
        let length = u32_le(head.get(at.checked_sub(4)?..)?)? as usize;
        head.get(at + b"DESCRIPTION=".len()..at + length)?
    };
    let said = String::from_utf8_lossy(said);
    let (length_ms, said) = said.trim_end_matches('\0').split_once('|')?;
    let is_whole = duration_ms(file).abs_diff(length_ms.parse().ok()?) < PART_MS;
    (is_whole && !said.is_empty()).then(|| said.to_owned())
}

/// Words that are always the same for the same file, two a second.
pub(super) fn words(file: &[u8], length_ms: u64) -> String {
    let mut hasher = DefaultHasher::new();
    file.hash(&mut hasher);
    let count = usize::try_from(length_ms / 500).unwrap_or_default().clamp(1, 4_000);
    let first = usize::try_from(hasher.finish() % WORDS.len() as u64).unwrap_or_default();
    let words = (0..count).map(|at| WORDS[(first + at * 5) % WORDS.len()]);
    words.collect::<Vec<_>>().join(" ")
}

fn u32_le(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::{comment, duration_ms, wav};

    #[test]
    fn the_sims_own_audio_says_how_long_it_is_and_what_is_said() {
        let file = wav(12_345, "We grew.");
        assert_eq!((duration_ms(&file), comment(&file).as_deref()), (12_345, Some("We grew.")));
        assert_eq!(comment(&wav(10, "")), None);
        assert_eq!(comment(&file[..file.len() - 2_000]), None, "a part of it");
    }

    #[test]
    fn flac_and_what_is_unknown_have_a_length_too() {
        let mut flac = b"fLaC\0\0\0\x22".to_vec();
        flac.extend_from_slice(&[0; 10]);
        flac.extend_from_slice(&((16_000_u64 << 44) | (15 << 36) | 32_000).to_be_bytes());
        assert_eq!(duration_ms(&flac), 2_000);
        assert_eq!(duration_ms(&[7; 8_000]), 2_000);
        assert_eq!(duration_ms(b"RIFF"), 1);
    }
}
