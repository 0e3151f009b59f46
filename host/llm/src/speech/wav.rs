//! How long a WAV file is, by its own header: what is uncompressed needs no tool to tell.

use std::time::Duration;

/// Bytes before the first chunk: `RIFF`, a size, `WAVE`.
const HEAD: usize = 12;

/// The length of a WAV file; absent: it is none, or its header doesn't say.
pub(super) fn length(bytes: &[u8]) -> Option<Duration> {
    if bytes.get(..4)? != b"RIFF" || bytes.get(8..HEAD)? != b"WAVE" {
        return None;
    }
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?));
    let (mut at, mut bytes_a_second) = (HEAD, None);
    loop {
        let (kind, size) = (bytes.get(at..at.checked_add(4)?)?, number(at + 4)?);
        match kind {
            b"fmt " => bytes_a_second = Some(number(at + 16)?).filter(|rate| *rate > 0),
            b"data" => {
                // A file that was written as it came has no true size there.
                let there = u64::try_from(bytes.len().saturating_sub(at + 8)).ok()?;
                let millis = u64::from(size).min(there).saturating_mul(1_000).div_ceil(u64::from(bytes_a_second?));
                return Some(Duration::from_millis(millis));
            }
            _ => {}
        }
        // Chunks begin at even places.
        let size = usize::try_from(size).ok()?;
        at = at.checked_add(8)?.checked_add(size)?.checked_add(size % 2)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A WAV of 8,000 bytes a second with so many bytes of sound, of which its header says `told`.
    fn wav(bytes: u32, told: u32) -> Vec<u8> {
        let mut wav = [&b"RIFF"[..], &[0; 4], b"WAVE", b"LIST", &3_u32.to_le_bytes(), b"abc\0"].concat();
        wav.extend([&b"fmt "[..], &16_u32.to_le_bytes(), &[1, 0, 1, 0], &8_000_u32.to_le_bytes()].concat());
        wav.extend([&8_000_u32.to_le_bytes()[..], &[1, 0, 8, 0], b"data", &told.to_le_bytes()].concat());
        wav.resize(wav.len() + bytes as usize, 128);
        wav
    }

    #[test]
    fn a_wav_says_how_long_it_is_and_nothing_else_does() {
        assert_eq!(length(&wav(12_000, 12_000)), Some(Duration::from_millis(1_500)));
        assert_eq!(length(&wav(8_000, u32::MAX)), Some(Duration::from_secs(1)), "what is there, not what is told");
        let whole = wav(16, 16);
        for end in 0..whole.len() - 16 {
            assert_eq!(length(&whole[..end]), None, "{end}");
        }
        assert_eq!(length(b"OggS and some more bytes than a header has"), None);
    }
}
