//! What was captured: packets of a file that tcpdump wrote, and which of them had no business there.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
};

use anyhow::{Context as _, Result, bail, ensure};

/// The kind of file that is asked for, by which each packet says where it was: "Linux cooked, version 2".
pub(super) const LINK_TYPE: &str = "LINUX_SLL2";
const LINK_TYPE_NUMBER: u32 = 276;
/// Seconds and microseconds, in this machine's order of bytes.
const MAGIC: u32 = 0xa1b2_c3d4;
/// The interface's own kind, where it is loopback.
const LOOPBACK: u16 = 772;

/// Where markers go: to every machine of the link, so that none answers.
pub(super) const MARKER: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 1), 4);
/// How a marker begins.
pub(super) const MARKER_TEXT: &str = "tollgate netns: ";

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) is_loopback: bool,
    pub(super) kind: Kind,
}

/// What it is, as far as that decides anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// TCP or UDP, from here to there.
    Ports { name: &'static str, from: SocketAddr, to: SocketAddr },
    /// ARP: who asks, and for whom.
    Arp { sender: Ipv4Addr, target: Ipv4Addr },
    /// A marker of ours, with its text.
    Marker(String),
    /// Anything else, in words.
    Other(String),
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Ports { name, from, to } => write!(f, "{name} {from} to {to}")?,
            Kind::Arp { sender, target } => write!(f, "ARP of {sender} for {target}")?,
            Kind::Marker(text) => write!(f, "our marker {text:?}")?,
            Kind::Other(text) => f.write_str(text)?,
        }
        f.write_str(if self.is_loopback { ", on loopback" } else { ", on the way to the proxy" })
    }
}

/// Where packets may be.
#[derive(Debug, Clone)]
pub(super) struct Allowed {
    /// The two ends of the only way.
    pub(super) ends: [Ipv4Addr; 2],
    /// The proxy at its end. Absent: nothing may go there at all.
    pub(super) proxy: Option<SocketAddr>,
    /// Ports of loopback between which TCP may go. Empty: nothing may be there at all.
    pub(super) loopback: Vec<RangeInclusive<u16>>,
}

impl Allowed {
    /// Whether a packet is where it may be. Neighbours asking for each other are excused.
    pub(super) fn has(&self, packet: &Packet) -> bool {
        match &packet.kind {
            Kind::Marker(_) => true,
            Kind::Arp { sender, target } => {
                !packet.is_loopback && self.ends.contains(sender) && self.ends.contains(target)
            }
            Kind::Ports { name: "TCP", from, to } if packet.is_loopback => {
                let is_own = |end: &SocketAddr| {
                    end.ip().is_loopback() && self.loopback.iter().any(|ports| ports.contains(&end.port()))
                };
                is_own(from) && is_own(to)
            }
            Kind::Ports { name: "TCP", from, to } => self.proxy.is_some_and(|proxy| {
                let is_ours =
                    |end: &SocketAddr| *end != proxy && self.ends.iter().any(|own| end.ip() == IpAddr::V4(*own));
                (*to == proxy && is_ours(from)) || (*from == proxy && is_ours(to))
            }),
            Kind::Ports { .. } | Kind::Other(_) => false,
        }
    }
}

/// Bytes, read from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// As the network has it.
    fn number(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// As this machine has it.
    fn own_number(&mut self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }
}

/// Reads a whole file. What stands behind the last whole packet is being written.
///
/// # Errors
/// It is no capture of the kind that was asked for.
pub(super) fn read(file: &[u8]) -> Result<Vec<Packet>> {
    let mut file = Bytes(file);
    let magic = file.own_number().context("the capture is empty")?;
    ensure!(magic == MAGIC, "the capture begins with {magic:#x}, not as tcpdump's do");
    file.take(16).context("the capture is cut")?;
    let link_type = file.own_number().context("the capture is cut")?;
    ensure!(link_type == LINK_TYPE_NUMBER, "the capture is of kind {link_type}, not of {LINK_TYPE}");
    let mut packets = Vec::new();
    while let Some(head) = file.take(16) {
        let mut head = Bytes(&head[8..]);
        let kept = head.own_number().and_then(|kept| usize::try_from(kept).ok()).context("a packet without a size")?;
        let Some(packet) = file.take(kept) else { break };
        match packet_of(&mut Bytes(packet)) {
            Some(packet) => packets.push(packet),
            None => bail!("packet {} of the capture is cut", packets.len() + 1),
        }
    }
    Ok(packets)
}

fn packet_of(bytes: &mut Bytes<'_>) -> Option<Packet> {
    let protocol = bytes.number()?;
    let _reserved_and_interface = bytes.take(6)?;
    let is_loopback = bytes.number()? == LOOPBACK;
    let _sender = bytes.take(10)?;
    let kind = match protocol {
        0x0800 => v4(bytes)?,
        0x86dd => v6(bytes)?,
        0x0806 => arp(bytes)?,
        other => Kind::Other(format!("a frame of type {other:#06x}")),
    };
    Some(Packet { is_loopback, kind })
}

fn arp(bytes: &mut Bytes<'_>) -> Option<Kind> {
    // Of Ethernet and IPv4: four fields, then two hardware addresses of 6 bytes before an IPv4 address each.
    let _fields = bytes.take(8 + 6)?;
    let sender = Ipv4Addr::from(bytes.array::<4>()?);
    let _hardware = bytes.take(6)?;
    Some(Kind::Arp { sender, target: Ipv4Addr::from(bytes.array::<4>()?) })
}

fn v4(bytes: &mut Bytes<'_>) -> Option<Kind> {
    let first = bytes.take(1)?[0];
    let _service_length_id = bytes.take(5)?;
    let is_fragment = bytes.number()? & 0x1fff != 0;
    let _time = bytes.take(1)?;
    let protocol = bytes.take(1)?[0];
    let _checksum = bytes.take(2)?;
    let (from, to) = (Ipv4Addr::from(bytes.array::<4>()?), Ipv4Addr::from(bytes.array::<4>()?));
    let _options = bytes.take(usize::from(first & 0x0f).checked_mul(4)?.checked_sub(20)?)?;
    if is_fragment {
        return Some(Kind::Other(format!("a later fragment of {from} to {to}")));
    }
    above(protocol, IpAddr::V4(from), IpAddr::V4(to), bytes)
}

fn v6(bytes: &mut Bytes<'_>) -> Option<Kind> {
    let _class_and_length = bytes.take(6)?;
    let next = bytes.take(1)?[0];
    let _hops = bytes.take(1)?;
    let (from, to) = (Ipv6Addr::from(bytes.array::<16>()?), Ipv6Addr::from(bytes.array::<16>()?));
    above(next, IpAddr::V6(from), IpAddr::V6(to), bytes)
}

fn above(protocol: u8, from: IpAddr, to: IpAddr, bytes: &mut Bytes<'_>) -> Option<Kind> {
    let name = match protocol {
        6 => "TCP",
        17 => "UDP",
        other => return Some(Kind::Other(format!("IP protocol {other} of {from} to {to}"))),
    };
    let (from, to) = (SocketAddr::new(from, bytes.number()?), SocketAddr::new(to, bytes.number()?));
    if name == "UDP" && to == SocketAddr::from(MARKER) {
        let _length_and_checksum = bytes.take(4)?;
        if let Some(text) = std::str::from_utf8(bytes.0).ok().and_then(|text| text.strip_prefix(MARKER_TEXT)) {
            return Some(Kind::Marker(text.to_owned()));
        }
    }
    Some(Kind::Ports { name, from, to })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
    const PEER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

    fn allowed() -> Allowed {
        let proxy = Some(SocketAddr::from((PEER, 8080)));
        Allowed { ends: [HOST, PEER], proxy, loopback: vec![40_000..=50_000] }
    }

    /// An IPv4 packet of a protocol with two ports, as tcpdump writes it.
    fn frame(is_loopback: bool, protocol: u8, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), text: &str) -> Vec<u8> {
        let mut frame = vec![0x08, 0, 0, 0, 0, 0, 0, 1];
        frame.extend(if is_loopback { LOOPBACK } else { 1 }.to_be_bytes());
        frame.extend([0; 10]);
        frame.extend([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
        frame.extend(from.0.octets());
        frame.extend(to.0.octets());
        frame.extend(from.1.to_be_bytes());
        frame.extend(to.1.to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        frame
    }

    fn file(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut file = MAGIC.to_ne_bytes().to_vec();
        file.extend([0; 16]);
        file.extend(LINK_TYPE_NUMBER.to_ne_bytes());
        for frame in frames {
            file.extend([0; 8]);
            let size = u32::try_from(frame.len()).unwrap().to_ne_bytes();
            file.extend(size.iter().chain(&size));
            file.extend(frame);
        }
        file
    }

    fn one(frame: Vec<u8>) -> Packet {
        read(&file(&[frame])).unwrap().remove(0)
    }

    #[test]
    fn r09_what_goes_to_the_proxy_is_told_from_all_else() {
        let (tcp, udp) = (6, 17);
        let fine = [
            frame(false, tcp, (HOST, 40_001), (PEER, 8080), ""),
            frame(false, tcp, (PEER, 8080), (HOST, 40_001), ""),
            frame(true, tcp, (Ipv4Addr::LOCALHOST, 40_001), (Ipv4Addr::LOCALHOST, 50_000), ""),
        ];
        for frame in fine {
            let packet = one(frame);
            assert!(allowed().has(&packet), "{packet}");
        }
        let astray = [
            // A look-up, by the resolver and by a stub on this machine.
            frame(false, udp, (HOST, 40_001), (PEER, 53), ""),
            frame(true, udp, (Ipv4Addr::LOCALHOST, 40_001), (Ipv4Addr::new(127, 0, 0, 53), 53), ""),
            frame(false, tcp, (HOST, 40_001), (PEER, 8081), ""),
            frame(false, tcp, (HOST, 40_001), (Ipv4Addr::new(93, 184, 216, 34), 8080), ""),
            frame(false, udp, (HOST, 40_001), (PEER, 8080), ""),
            frame(false, 1, (HOST, 0), (PEER, 0), ""),
            frame(true, tcp, (Ipv4Addr::LOCALHOST, 40_001), (Ipv4Addr::LOCALHOST, 80), ""),
            frame(true, tcp, (HOST, 40_001), (HOST, 40_002), ""),
        ];
        for frame in astray {
            let packet = one(frame);
            assert!(!allowed().has(&packet), "{packet}");
        }
        let without = Allowed { proxy: None, loopback: Vec::new(), ..allowed() };
        assert!(!without.has(&one(frame(false, tcp, (HOST, 40_001), (PEER, 8080), ""))));
    }

    #[test]
    fn markers_and_neighbours_are_known() {
        let text = format!("{MARKER_TEXT}the demo");
        assert_eq!(one(frame(false, 17, (PEER, 4), MARKER, &text)).kind, Kind::Marker("the demo".to_owned()));
        assert!(matches!(one(frame(false, 17, (PEER, 4), MARKER, "another's")).kind, Kind::Ports { .. }));
        let arp = |target: Ipv4Addr| {
            let mut frame = vec![0x08, 0x06, 0, 0, 0, 0, 0, 1, 0, 1];
            frame.extend([0; 10 + 8 + 6]);
            frame.extend(HOST.octets());
            frame.extend([0; 6]);
            frame.extend(target.octets());
            one(frame)
        };
        assert!(allowed().has(&arp(PEER)));
        assert!(!allowed().has(&arp(Ipv4Addr::new(10, 77, 0, 3))), "{}", arp(PEER));
    }

    #[test]
    fn a_file_that_is_being_written_is_read_as_far_as_it_goes() {
        let frames = [frame(false, 6, (HOST, 1), (PEER, 2), ""), frame(false, 6, (HOST, 1), (PEER, 3), "")];
        let whole = file(&frames);
        assert_eq!(read(&whole[..whole.len() - 1]).unwrap().len(), 1);
        assert!(read(&[]).is_err() && read(&[0; 30]).is_err());
    }
}
