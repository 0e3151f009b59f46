//! The capture: tcpdump on every interface of the host's namespace, with markers between what is run.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::packet::{self, Kind, LINK_TYPE, MARKER, MARKER_TEXT, Packet};

/// Time for the capture to begin, to show a marker, and to end.
const TIME: Duration = Duration::from_secs(20);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// Bytes of a packet that are kept: its headers, or the whole of a marker.
const PACKET_BYTES: &str = "160";
/// KiB that the system keeps for tcpdump. What it loses all the same is counted, and fails the run.
const BUFFER_KIB: &str = "65536";
/// The last marker.
const END: &str = "the end";

/// A capture at work. Dropped, it ends.
pub(super) struct Capture {
    process: Child,
    file: PathBuf,
    said: PathBuf,
    /// Where markers come from: the proxy's end, so that the host's has nothing to do with them.
    marker: UdpSocket,
}

impl Capture {
    /// Begins; `tcpdump` is the program, in the host's namespace. Returns once every packet from now on is seen.
    pub(super) fn begin(mut tcpdump: Command, from: Ipv4Addr, folder: &Path) -> Result<Self> {
        // Some systems let tcpdump write files of this ending alone.
        let (file, said) = (folder.join("capture.pcap"), folder.join("tcpdump.txt"));
        tcpdump.args(["-i", "any", "-y", LINK_TYPE, "-n", "-U", "--immediate-mode", "-Z", "root"]);
        tcpdump.args(["-s", PACKET_BYTES, "-B", BUFFER_KIB, "-w"]).arg(&file);
        let process = tcpdump.stdin(Stdio::null()).stderr(File::create(&said)?).spawn().context("tcpdump")?;
        let marker = UdpSocket::bind((from, MARKER.1)).context("the markers' port")?;
        let mut capture = Self { process, file, said, marker };
        capture.wait("begin", |capture| Ok(capture.said()?.contains("listening on")))?;
        Ok(capture)
    }

    fn said(&self) -> io::Result<String> {
        fs::read_to_string(&self.said)
    }

    fn wait(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + TIME;
        while !is_so(self)? {
            if let Some(status) = self.process.try_wait()? {
                bail!("tcpdump ended with {status}: {}", self.said()?.trim());
            }
            ensure!(Instant::now() < deadline, "tcpdump did not {what} within {TIME:?}: {}", self.said()?.trim());
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn has_marker(&self, text: &str) -> Result<bool> {
        let packets = packet::read(&fs::read(&self.file)?)?;
        Ok(packets.iter().any(|packet| matches!(&packet.kind, Kind::Marker(marker) if marker == text)))
    }

    /// Marks that something begins, and returns once the mark is in the file: all that was before it is there too.
    pub(super) fn mark(&mut self, text: &str) -> Result<()> {
        self.marker.send_to(format!("{MARKER_TEXT}{text}").as_bytes(), MARKER).context("a marker can't be sent")?;
        self.wait(&format!("show the marker {text:?}"), |capture| capture.has_marker(text))
    }

    /// Ends, and gives all packets in their order.
    ///
    /// # Errors
    /// The system could not keep up with tcpdump, so that packets may be missing.
    pub(super) fn end(mut self) -> Result<Vec<Packet>> {
        self.mark(END)?;
        let mut interrupt = Command::new("sh");
        interrupt.args(["-c", &format!("kill -INT {}", self.process.id())]);
        ensure!(interrupt.status()?.success(), "tcpdump can't be interrupted");
        let deadline = Instant::now() + TIME;
        while self.process.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "tcpdump did not end within {TIME:?}");
            thread::sleep(PAUSE);
        }
        let said = self.said()?;
        ensure!(said.contains("\n0 packets dropped by kernel"), "packets may be missing: {}", said.trim());
        packet::read(&fs::read(&self.file)?)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait()
            && let Err(error) = self.process.kill().and_then(|()| self.process.wait().map(drop))
        {
            eprintln!("tcpdump, process {}, could not be ended: {error}", self.process.id());
        }
    }
}
