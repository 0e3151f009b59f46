//! One call for an archive: which ranges it asks for, and what becomes of a file that is replaced meanwhile.

use std::sync::Arc;

use reqwest::{
    Method,
    header::{ETAG, HeaderMap, LAST_MODIFIED},
};
use tollgate_core::http::HttpError;
use url::Url;

use super::{
    directory::{Directory, End, TAIL_BYTES},
    kept::{Archive, Slot},
    range::{Asked, Receiver, Sink, Verdict, Version},
    unpack::Unpacking,
};
use crate::{
    Caller, Gate, Hop, Refused, Response, Spooled, Told, address, exchange::Outgoing, gate::Answer, headers,
    spool::Spooling,
};

/// How often a file may be found replaced while it is read: once is an update, more is a server at odds with itself.
const REPLACED_MAX: u32 = 1;

/// One archive being read for one caller.
pub(super) struct Reading<'a> {
    gate: &'a Gate,
    caller: &'a Caller,
    url: Url,
    told: Told<'a>,
    slot: Slot,
    /// The archive that was worked with last.
    seen: Option<Arc<Archive>>,
    /// Bytes of bodies received by requests that were answered.
    pub(super) received: u64,
}

/// Why reading stops.
enum Stop {
    /// The file is another than the one whose directory is known.
    Changed,
    Refused(Refused),
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// What came of asking for a range.
enum Asking {
    Came {
        first: u64,
        version: Version,
        bytes: Vec<u8>,
        is_html: bool,
    },
    /// The server gave the whole file, which wasn't read.
    Whole,
    Status(u16),
}

/// A directory, and whether it was known before.
struct Known {
    archive: Arc<Archive>,
    was_kept: bool,
}

impl<'a> Reading<'a> {
    pub(super) fn new(gate: &'a Gate, caller: &'a Caller, url: &str, told: Told<'a>) -> Result<Self, Refused> {
        let mut url = address::parse(url)?;
        url.set_fragment(None);
        let slot = gate.archives.slot(url.as_str());
        Ok(Self { gate, caller, url, told, slot, seen: None, received: 0 })
    }

    pub(super) async fn list(&mut self) -> Result<Vec<String>, Refused> {
        let mut replaced = 0;
        loop {
            let listed = self.try_list().await;
            match listed {
                Ok(names) => return Ok(names),
                Err(stop) => self.begin_anew(stop, &mut replaced).await?,
            }
        }
    }

    async fn try_list(&mut self) -> Result<Vec<String>, Stop> {
        let known = self.known().await?;
        if known.was_kept {
            self.confirm(&known.archive).await?;
        }
        Ok(known.archive.directory.names())
    }

    pub(super) async fn member(&mut self, name: &str) -> Result<Response, Refused> {
        let mut replaced = 0;
        loop {
            let read = self.try_member(name).await;
            match read {
                Ok(response) => return Ok(response),
                Err(stop) => self.begin_anew(stop, &mut replaced).await?,
            }
        }
    }

    async fn try_member(&mut self, name: &str) -> Result<Response, Stop> {
        let known = self.known().await?;
        let Archive { directory, version } = &*known.archive;
        let about = format!("{name} in {}", self.url);
        let Some(member) = directory.find(name) else {
            if known.was_kept {
                self.confirm(&known.archive).await?;
            }
            return Err(unfit(format!("{} has no member {name}", self.url)).into());
        };
        let of_member = |text: String| unfit(format!("{about}: {text}"));
        let place = directory.place(member).map_err(of_member)?;
        let asked = Asked::Bytes(place.start, place.end.saturating_sub(1));
        loop {
            let spooling = Spooling::new(self.gate.spool(), &self.caller.held);
            let unpacking = Unpacking::new(member, directory.raw_name(member), spooling).map_err(of_member)?;
            let mut receiver = Receiver::new(asked, Some(version), Sink::Member(Box::new(unpacking)), &about);
            let sent = self.send(asked, Some(version), &mut receiver).await;
            // Without a validator, bytes that aren't the member are how another file shows.
            let may_be_another = known.was_kept && !version.has_validator();
            let answer = match sent {
                Err(refused) if receiver.is_unfit && may_be_another => {
                    self.received += refused.bytes_received;
                    return Err(Stop::Changed);
                }
                sent => sent?,
            };
            if receiver.fails_conditions() {
                continue;
            }
            self.judge(&answer, &receiver)?;
            let Sink::Member(unpacking) = receiver.sink else {
                return Err(unfit(format!("{about}: nothing was received")).into());
            };
            return match unpacking.end() {
                Ok(body) => Ok(response(&answer, body)),
                Err(_) if may_be_another => Err(Stop::Changed),
                Err(text) => Err(of_member(text).into()),
            };
        }
    }

    /// Drops what is known of a file that was replaced. An error: that happened too often, or isn't what happened.
    async fn begin_anew(&mut self, stop: Stop, replaced: &mut u32) -> Result<(), Refused> {
        let mut kept = self.slot.lock().await;
        if let (Stop::Changed, Some(archive), Some(seen)) = (&stop, &*kept, &self.seen)
            && Arc::ptr_eq(archive, seen)
        {
            *kept = None;
        }
        match stop {
            Stop::Refused(refused) => Err(refused),
            Stop::Changed if *replaced < REPLACED_MAX => {
                *replaced += 1;
                Ok(())
            }
            Stop::Changed => {
                let text = format!(
                    "{} was replaced by another file while it was read, and again: by its length, ETag or \
                     Last-Modified the server has several; try later",
                    self.url
                );
                Err(Refused::transport(&authority(&self.url), text))
            }
        }
    }

    /// The archive's directory: the one that is kept, or read now. One caller reads it, the others wait for that.
    async fn known(&mut self) -> Result<Known, Stop> {
        (self.told)(Hop::Waits(self.url.as_str()));
        let slot = self.slot.clone();
        let mut kept = slot.lock().await;
        if let Some(archive) = &*kept {
            // Another one than this call has seen was read anew since.
            let is_new = self.seen.replace(archive.clone()).is_some_and(|seen| !Arc::ptr_eq(&seen, archive));
            return Ok(Known { archive: archive.clone(), was_kept: !is_new });
        }
        let archive = Arc::new(self.read_directory().await?);
        self.seen = Some(archive.clone());
        self.gate.archives.note(self.url.as_str(), &slot, archive.directory.memory());
        *kept = Some(archive.clone());
        Ok(Known { archive, was_kept: false })
    }

    /// Makes sure that a kept directory is of the file as it is now, by its first byte.
    async fn confirm(&mut self, archive: &Arc<Archive>) -> Result<(), Stop> {
        let asked = if archive.version.has_validator() {
            self.ask(Asked::Bytes(0, 0), Some(&archive.version)).await
        } else {
            // Nothing but its length would tell.
            Err(Stop::Changed)
        };
        match asked {
            Ok(asking) => self.came(asking).map(drop).map_err(Stop::from),
            Err(stop) => Err(stop),
        }
    }

    async fn read_directory(&mut self) -> Result<Archive, Stop> {
        let (from, version, tail, is_html) = self.read_tail().await?;
        let url = self.url.to_string();
        let no_archive = |text: String| {
            let text = format!("{url} can't be read as a ZIP archive: {text}");
            if is_html {
                Refused::unfit(HttpError::NotContent(format!("{text}. Its server calls it text/html")))
            } else {
                unfit(text)
            }
        };
        let end = End::find(&tail, from).map_err(no_archive)?;
        let place = end.directory.clone();
        // The end that tells of it stands in the tail, so the directory ends there too.
        let in_tail = |at: u64| usize::try_from(at.saturating_sub(from)).unwrap_or(usize::MAX).min(tail.len());
        let of_tail = in_tail(place.start)..in_tail(place.end);
        let bytes = if place.start >= from {
            tail[of_tail].to_vec()
        } else {
            let asking = self.ask(Asked::Bytes(place.start, from - 1), Some(&version)).await?;
            let (_, _, mut bytes, _) = self.came(asking)?;
            bytes.extend_from_slice(&tail[of_tail]);
            bytes
        };
        let directory = Directory::parse(&bytes, &end).map_err(no_archive)?;
        Ok(Archive { directory, version })
    }

    /// The file's last bytes. A server that knows no suffix ranges is asked for a byte first, to learn the length.
    async fn read_tail(&mut self) -> Result<(u64, Version, Vec<u8>, bool), Stop> {
        match self.ask(Asked::Last(TAIL_BYTES), None).await? {
            Asking::Whole | Asking::Status(400 | 405 | 416 | 500 | 501) => {}
            asking => return Ok(self.came(asking)?),
        }
        let asking = self.ask(Asked::Bytes(0, 0), None).await?;
        let (_, version, _, _) = self.came(asking)?;
        let first = version.total.saturating_sub(TAIL_BYTES);
        let asking = self.ask(Asked::Bytes(first, version.total - 1), Some(&version)).await?;
        let (first, _, tail, is_html) = self.came(asking)?;
        Ok((first, version, tail, is_html))
    }

    /// Asks for a range that goes into memory.
    async fn ask(&mut self, asked: Asked, known: Option<&Version>) -> Result<Asking, Stop> {
        let about = self.url.to_string();
        loop {
            let mut receiver = Receiver::new(asked, known, Sink::Memory(Vec::new()), &about);
            let answer = self.send(asked, known, &mut receiver).await?;
            if receiver.fails_conditions() {
                continue;
            }
            match &receiver.verdict {
                Verdict::Whole => return Ok(Asking::Whole),
                Verdict::Status(status) => return Ok(Asking::Status(*status)),
                _ => self.judge(&answer, &receiver)?,
            }
            let is_html = receiver.is_html;
            return match (receiver.verdict, receiver.sink) {
                (Verdict::Range { first, version }, Sink::Memory(bytes)) => {
                    Ok(Asking::Came { first, version, bytes, is_html })
                }
                _ => Err(unfit(format!("{about}: nothing was received")).into()),
            };
        }
    }

    /// The range that came, or why none did.
    fn came(&self, asking: Asking) -> Result<(u64, Version, Vec<u8>, bool), Refused> {
        match asking {
            Asking::Came { first, version, bytes, is_html } => Ok((first, version, bytes, is_html)),
            Asking::Whole => Err(self.ignored()),
            Asking::Status(status) => Err(self.answered(status)),
        }
    }

    async fn send(
        &mut self,
        asked: Asked,
        known: Option<&Version>,
        receiver: &mut Receiver<'_>,
    ) -> Result<Answer, Refused> {
        let headers = asked.headers(known).map_err(|error| Refused::invalid(error.to_string()))?;
        let outgoing = Outgoing { method: Method::GET, headers, body: None };
        let answer = self.gate.send(self.caller, self.url.clone(), outgoing, None, self.told, receiver).await?;
        self.received += answer.received;
        Ok(answer)
    }

    /// Whether the range came, whole.
    fn judge(&self, answer: &Answer, receiver: &Receiver<'_>) -> Result<(), Stop> {
        match &receiver.verdict {
            Verdict::Range { .. } if receiver.left == 0 => Ok(()),
            Verdict::Range { .. } => {
                let text = format!("{}: the answer to a range ended {} bytes before its end", self.url, receiver.left);
                Err(Refused::transport(&answer.address.authority, text).into())
            }
            Verdict::Changed => Err(Stop::Changed),
            Verdict::Whole => Err(self.ignored().into()),
            Verdict::Status(status) => Err(self.answered(*status).into()),
            Verdict::Wrong(text) => Err(unfit(format!("{}: {text}", self.url)).into()),
            Verdict::None => Err(unfit(format!("{}: nothing was received", self.url)).into()),
        }
    }

    fn ignored(&self) -> Refused {
        unfit(format!(
            "{} answered 200 to a range: its server gives the whole file or nothing. Nothing of it was read; fetch all \
             of it if it is small",
            self.url
        ))
    }

    fn answered(&self, status: u16) -> Refused {
        let text = format!("{} answered {status} to a range", self.url);
        if status >= 500 { Refused::server_error(&authority(&self.url), text) } else { unfit(text) }
    }
}

fn unfit(text: String) -> Refused {
    Refused::unfit(HttpError::Other(text))
}

fn authority(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

fn response(answer: &Answer, body: Spooled) -> Response {
    let mut kept = HeaderMap::new();
    for name in [ETAG, LAST_MODIFIED] {
        kept.extend(answer.headers.get(&name).map(|value| (name, value.clone())));
    }
    Response {
        status: 200,
        url: answer.address.url.to_string(),
        headers: headers::for_guest(&kept),
        body,
        bytes_received: answer.received,
        site: answer.address.authority.clone(),
        transport_failure: None,
    }
}
