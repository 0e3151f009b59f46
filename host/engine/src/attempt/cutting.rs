//! Audio, cut for services that hear it: by the host's own run of the tool ffmpeg, which needs no grant.
//!
//! All of it becomes one file of what every service takes (FLAC of 16,000 samples a second, one channel), whose header
//! says how long it is; what is longer than a part is cut into equal parts, at whole milliseconds. So the same audio is
//! cut at the same places, and no piece is too short to be heard. The whole is in memory while it is cut, once, and of
//! the pieces one at a time: they stay files until they have been sent.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit},
    task::spawn_blocking,
};
use tollgate_core::{
    outcome::{Refusal, RefusalKind},
    service::ServiceError,
    tool::{ToolContent, ToolError, ToolInput, ToolRequest},
};
use tollgate_egress::{ToolFile, ToolOutput, ToolRefused};
use tollgate_llm::hosting::{AudioCutter, AudioPiece, AudioPieces, CallPhase, CutError, Refused, SpeechInput};

use super::Attempt;

/// The tool's name in jobs.toml.
const TOOL: &str = "ffmpeg";
/// What all pieces are.
const CONTENT_TYPE: &str = "audio/flac";
/// How they are made: one channel and 16,000 samples a second are what services make of any audio, and 16 bits of each
/// are as much as they hear.
const AS_FLAC: [&str; 4] = ["-c:a", "flac", "-sample_fmt", "s16"];
/// The file of the whole.
const WHOLE: &str = "whole.flac";
/// Pieces that one run makes: a tool may leave 100 files.
const PIECES_A_RUN: usize = 50;
/// Bytes of a FLAC file up to the end of what its first block says of its length.
const HEAD_BYTES: usize = 26;
/// Longest ending of a name that is handed on.
const ENDING_BYTES_MAX: usize = 8;

/// Longest wait for a place among those who cut. Who waits holds a guest with its memory; a task in the store holds
/// nothing.
const PLACE_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a task waits in the store that found no place: a cut takes seconds to minutes.
const PLACE_WAIT: Duration = Duration::from_secs(30);

/// The host's ffmpeg, for one call of one attempt.
pub(super) struct HostCutter {
    attempt: Arc<Attempt>,
    /// The call's number among the attempt's.
    call: u64,
    /// Its place among those who read and cut long audio, from when it has one until the audio is cut.
    place: Mutex<Option<OwnedSemaphorePermit>>,
}

/// What was cut, as files of the host's: they are there as long as this lives.
#[derive(Default)]
struct CutFiles {
    pieces: Vec<AudioPiece>,
    files: Vec<PathBuf>,
    /// They hold the folders that those are in.
    runs: Vec<ToolOutput>,
}

impl CutFiles {
    /// With the pieces that a run left, each by its file's name, where it begins and how long it is.
    fn with(
        mut self,
        run: ToolOutput,
        named: impl IntoIterator<Item = (String, Duration, Duration)>,
    ) -> Result<Self, CutError> {
        for (name, begin, length) in named {
            let ToolFile { path, bytes, .. } = file(&run, &name)?;
            self.pieces.push(AudioPiece { bytes: *bytes, content_type: CONTENT_TYPE.to_owned(), begin, length });
            self.files.push(path.clone());
        }
        self.runs.push(run);
        Ok(self)
    }
}

impl AudioPieces for CutFiles {
    fn pieces(&self) -> &[AudioPiece] {
        &self.pieces
    }

    fn read(&self, at: usize) -> BoxFuture<'_, Result<Bytes, CutError>> {
        async move {
            let file =
                self.files.get(at).cloned().ok_or_else(|| CutError::Failed(format!("there is no piece {at}")))?;
            let read = blocking(move || std::fs::read(&file).map_err(|error| unreadable(&error)));
            read.await.map(Bytes::from)
        }
        .boxed()
    }
}

impl HostCutter {
    pub(super) fn new(attempt: Arc<Attempt>, call: u64) -> Self {
        Self { attempt, call, place: Mutex::default() }
    }

    /// Takes a place among those who read and cut long audio, until it is cut. Who waits for one waits for its turn: an
    /// attempt whose time is over meanwhile isn't counted as one that failed.
    ///
    /// # Errors
    /// There is none for a while: the task comes again, and no attempt is used.
    pub(super) async fn enter(&self) -> Result<(), Refused> {
        let mut place = self.place.lock().await;
        if place.is_some() {
            return Ok(());
        }
        let (cuts, clock) = (self.attempt.services.cuts.clone(), self.attempt.services.clock());
        *place = match cuts.clone().try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => {
                self.attempt.notes().in_phase(self.call, CallPhase::Waits);
                let until = clock.now().after(PLACE_WAIT_MAX);
                let permit = tokio::select! {
                    permit = cuts.acquire_owned() => permit.ok(),
                    () = clock.sleep_until(until) => None,
                };
                self.attempt.notes().in_phase(self.call, CallPhase::Runs);
                permit
            }
        };
        if place.is_some() {
            return Ok(());
        }
        let message = "as much long audio as may be at once is being cut".to_owned();
        let (about, after) = (format!("tool {TOOL}"), Some(PLACE_WAIT));
        let refusal = Some(Refusal { kind: RefusalKind::RateLimited, about, message, after });
        Err(Refused { error: ServiceError::RateLimited { after }, refusal })
    }

    /// Runs it in a task of its own, as a handler's tool is. Its files are there as long as what this answers.
    async fn run(&self, input: ToolInput, args: Vec<String>) -> Result<ToolOutput, CutError> {
        let tool = TOOL.to_owned();
        let request = ToolRequest { tool, args, url: None, files: vec![input], stdin: None, timeout: None };
        let gate = self.attempt.gate.clone();
        let ended = self.attempt.run_tool(TOOL, async move { gate.run_own_tool(request).await }).await;
        ended.map_err(refused)
    }

    async fn pieces(&self, audio: SpeechInput, part: Duration) -> Result<CutFiles, CutError> {
        let name = input_name(&audio.name);
        let args = ["-i", &name, "-vn", "-ac", "1", "-ar", "16000"].into_iter().chain(AS_FLAC).chain([WHOLE]);
        let args = args.map(str::to_owned).collect();
        // It goes with the run.
        let content = ToolContent::Bytes(audio.bytes);
        let converted = self.run(ToolInput { name, content }, args).await?;
        let whole = file(&converted, WHOLE)?.path.clone();
        let length = blocking({
            let whole = whole.clone();
            move || length_of(&whole)
        })
        .await?;
        let cuts = cuts(length, part);
        if let [_] = cuts[..] {
            return CutFiles::default().with(converted, [(WHOLE.to_owned(), Duration::ZERO, length)]);
        }
        let mut pieces = CutFiles::default();
        for cuts in cuts.chunks(PIECES_A_RUN) {
            let mut args = vec!["-i".to_owned(), WHOLE.to_owned()];
            for (at, (begin, length)) in cuts.iter().enumerate() {
                args.extend(AS_FLAC.map(str::to_owned));
                args.extend(["-ss".to_owned(), seconds(*begin), "-t".to_owned(), seconds(*length), piece_name(at)]);
            }
            let input = ToolInput { name: WHOLE.to_owned(), content: ToolContent::File(whole.clone()) };
            let cut = self.run(input, args).await?;
            let named = cuts.iter().enumerate().map(|(at, (begin, length))| (piece_name(at), *begin, *length));
            pieces = pieces.with(cut, named)?;
        }
        Ok(pieces)
    }
}

impl AudioCutter for HostCutter {
    fn cut(&self, audio: SpeechInput, part: Duration) -> BoxFuture<'_, Result<Box<dyn AudioPieces>, CutError>> {
        async move {
            self.enter().await.map_err(CutError::NoPlace)?;
            let pieces = self.pieces(audio, part).await;
            *self.place.lock().await = None;
            Ok(Box::new(pieces?) as Box<dyn AudioPieces>)
        }
        .boxed()
    }
}

/// What the audio is called in the scratch folder: a handler's name for it could be read as more. Its ending is a hint
/// for formats that hardly begin with a word of their own.
fn input_name(name: &str) -> String {
    let is_plain = |ending: &&str| {
        (1..=ENDING_BYTES_MAX).contains(&ending.len()) && ending.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let ending = name.rsplit_once('.').map(|(_, ending)| ending).filter(is_plain);
    ending.map_or_else(|| "audio".to_owned(), |ending| format!("audio.{ending}"))
}

fn piece_name(at: usize) -> String {
    format!("piece-{at}.flac")
}

/// As ffmpeg takes a time, to the millisecond.
fn seconds(time: Duration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

/// Where audio of a length is cut, as begin and length of each piece: into as few equal ones as are no longer than
/// `part`.
fn cuts(length: Duration, part: Duration) -> Vec<(Duration, Duration)> {
    let (whole, part) = (length.as_millis().max(1), part.as_millis().max(1));
    let each = whole.div_ceil(whole.div_ceil(part));
    let time = |millis: u128| Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
    let count = whole.div_ceil(each);
    (0..count).map(|at| (time(at * each), time(each.min(whole - at * each)))).collect()
}

/// The file of that name that a run left.
fn file<'a>(output: &'a ToolOutput, name: &str) -> Result<&'a ToolFile, CutError> {
    let left = output.files.iter().find(|file| file.name == name);
    left.ok_or_else(|| CutError::Failed(format!("{TOOL} left no {name}")))
}

/// Why a run cuts nothing.
fn refused(refused: ToolRefused) -> CutError {
    let ToolRefused { error, refusal, .. } = refused;
    let message = error.to_string();
    match (error, refusal) {
        (ToolError::Denied(text), _) => CutError::Denied(text),
        (_, Some(refusal)) if refusal.kind == RefusalKind::Permanent => CutError::Audio(message),
        (_, Some(refusal)) => CutError::Tool { message, refusal: Some(refusal) },
        (ToolError::Timeout(text), None) => {
            CutError::Failed(format!("{text}; set a longer `timeout` in [tool.{TOOL}] of jobs.toml"))
        }
        (_, None) => CutError::Failed(message),
    }
}

/// How long a FLAC file is: its rate and the number of its samples stand in its first block.
fn length_of(path: &Path) -> Result<Duration, CutError> {
    let mut head = [0; HEAD_BYTES];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.map_err(|error| unreadable(&error))?;
    let mut facts = [0; 8];
    facts.copy_from_slice(&head[18..]);
    let facts = u64::from_be_bytes(facts);
    let (rate, samples) = (facts >> 44, facts & 0xf_ffff_ffff);
    if !head.starts_with(b"fLaC") || rate == 0 {
        return Err(CutError::Failed(format!("{WHOLE}, which {TOOL} left, is no FLAC file")));
    }
    if samples == 0 {
        return Err(CutError::Audio("there is no sound in it".to_owned()));
    }
    Ok(Duration::from_millis((samples * 1_000).div_ceil(rate)))
}

fn unreadable(error: &std::io::Error) -> CutError {
    CutError::Failed(format!("what {TOOL} left can't be read: {error}"))
}

/// Work on the disk, beside the threads that wait for the network.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CutError> + Send + 'static,
) -> Result<T, CutError> {
    spawn_blocking(work).await.map_err(|error| CutError::Failed(format!("what {TOOL} left can't be read: {error}")))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_ms(length: u64, part: u64) -> Vec<(u128, u128)> {
        let cuts = cuts(Duration::from_millis(length), Duration::from_millis(part));
        cuts.into_iter().map(|(begin, length)| (begin.as_millis(), length.as_millis())).collect()
    }

    #[test]
    fn pieces_are_equal_follow_each_other_and_none_is_longer_than_a_part_or_tiny() {
        assert_eq!(in_ms(600_000, 600_000), [(0, 600_000)]);
        assert_eq!(in_ms(600_001, 600_000), [(0, 300_001), (300_001, 300_000)], "no piece of a millisecond");
        assert_eq!(in_ms(125_017, 60_000), [(0, 41_673), (41_673, 41_673), (83_346, 41_671)]);
        for (length, part) in [(1, 1_000), (999_999, 1_000), (7_200_000, 599_000), (5_940_050, 60_000)] {
            let cuts = in_ms(length, part);
            let mut end = 0;
            for (begin, length) in &cuts {
                assert_eq!(*begin, end);
                assert!(*length > 0 && *length <= u128::from(part));
                end += length;
            }
            assert_eq!(end, u128::from(length));
        }
    }

    #[test]
    fn a_name_of_a_handlers_becomes_one_that_says_nothing_but_a_format() {
        for (name, wanted) in [
            ("media.webm", "audio.webm"),
            ("-i.m4a", "audio.m4a"),
            ("concat:a.b|c", "audio"),
            ("talk", "audio"),
            ("talk.", "audio"),
            ("talk.%03d", "audio"),
        ] {
            assert_eq!(input_name(name), wanted);
        }
    }
}
