//! A real squid and a real tinyproxy as tests start them: on loopback, with the sim's proxy as their parent, ended by
//! process id.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tokio::process::{Child, Command};

use crate::{
    real_program::{HeldPort, start},
    sim::Sim,
};

/// Names below this one are no business of the parent: the proxy itself finds that they don't resolve.
pub const LOST: &str = "lost.example";
/// Where Debian has the programs.
const SQUID: &str = "/usr/sbin/squid";
const SQUID_AUTH: &str = "/usr/lib/squid/basic_ncsa_auth";
const TINYPROXY: &str = "/usr/bin/tinyproxy";
/// The one user's name.
const USER: &str = "me";
/// The one user's password.
pub const PASSWORD: &str = "hush-hush";
/// How squid's helper knows it: `openssl passwd -apr1`.
const HASHED: &str = "$apr1$tollgate$NOrtZ.OpM38p1UwZCcyti.";
/// What both say once they take connections.
const READY: &str = "Accepting";

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RealKind {
    /// squid, of Debian's package of that name.
    Squid,
    /// tinyproxy, of Debian's package `tinyproxy-bin`.
    Tinyproxy,
}

/// A proxy that may be killed and started again, on the same port. Dropped, it is killed.
pub struct RealProxy {
    kind: RealKind,
    port: u16,
    config: PathBuf,
    child: Option<Child>,
    /// Whether the program runs or not.
    _held: HeldPort,
}

impl RealProxy {
    /// Starts one whose parent is the sim's proxy. `asks`: for the user and password. Its files lie in `folder`, which
    /// everybody may look into then: squid gives up being root before it reads anything.
    ///
    /// # Errors
    /// The folder can't be used, or the program isn't there or doesn't start.
    pub async fn start(kind: RealKind, folder: &Path, sim: &Sim, asks: bool) -> io::Result<Self> {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        let held = HeldPort::new()?;
        let port = held.number()?;
        let config = folder.join("proxy.conf");
        let text = match kind {
            RealKind::Squid => squid(folder, port, sim.proxy_addr().port(), asks)?,
            RealKind::Tinyproxy => tinyproxy(port, sim.proxy_addr().port(), asks),
        };
        fs::write(&config, text)?;
        let mut proxy = Self { kind, port, config, child: None, _held: held };
        proxy.again().await?;
        Ok(proxy)
    }

    /// Its URL, with the user and that password if there is one.
    #[must_use]
    pub fn url(&self, password: Option<&str>) -> String {
        let user = password.map(|password| format!("{USER}:{password}@")).unwrap_or_default();
        format!("http://{user}127.0.0.1:{}", self.port)
    }

    /// Starts it, and returns once it takes connections.
    ///
    /// # Errors
    /// The program isn't there, or ends at its start: with what it said.
    pub async fn again(&mut self) -> io::Result<()> {
        let mut command = match self.kind {
            RealKind::Squid => Command::new(SQUID),
            RealKind::Tinyproxy => Command::new(TINYPROXY),
        };
        match self.kind {
            // In front, one process, its log to the terminal.
            RealKind::Squid => command.args(["-N", "-d", "1", "-f"]),
            RealKind::Tinyproxy => command.args(["-d", "-c"]),
        };
        command.arg(&self.config);
        let started = start(&mut command, &format!("{:?}", self.kind), self.port, READY).await;
        self.child =
            Some(started.map_err(|error| io::Error::other(format!("{error}; `apt-get install squid tinyproxy-bin`")))?);
        Ok(())
    }

    /// Kills it, and returns once it is gone.
    ///
    /// # Errors
    /// It can't be killed.
    pub async fn kill(&mut self) -> io::Result<()> {
        match self.child.take() {
            Some(mut child) => child.kill().await,
            None => Ok(()),
        }
    }
}

/// Nothing is cached, and nothing is written. What isn't the parent's business goes direct, to loopback alone: names
/// are asked of a name server that isn't there.
fn squid(folder: &Path, port: u16, parent: u16, asks: bool) -> io::Result<String> {
    let access = if asks {
        let passwords = folder.join("passwords");
        fs::write(&passwords, format!("{USER}:{HASHED}\n"))?;
        format!(
            "auth_param basic program {SQUID_AUTH} {}\nauth_param basic children 1 startup=1\n\
             acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all\n",
            passwords.display()
        )
    } else {
        "http_access allow all\n".to_owned()
    };
    Ok(format!(
        "http_port 127.0.0.1:{port}\npid_filename none\ncache deny all\ncache_mem 8 MB\naccess_log none\n\
         cache_log /dev/null\ncache_store_log none\nnetdb_filename none\npinger_enable off\n\
         visible_hostname proxy.test\nshutdown_lifetime 0 seconds\nmax_filedescriptors 1024\n\
         dns_nameservers 127.0.0.1\ndns_timeout 1 seconds\ndns_retransmit_interval 200 milliseconds\n\
         cache_peer 127.0.0.1 parent {parent} 0 no-query no-digest no-netdb-exchange default\n\
         acl own dstdomain localhost .{LOST}\nalways_direct allow own\nnever_direct allow all\n{access}"
    ))
}

fn tinyproxy(port: u16, parent: u16, asks: bool) -> String {
    let access = if asks { format!("BasicAuth {USER} {PASSWORD}\n") } else { String::new() };
    format!(
        "Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 100\nLogLevel Info\n\
         Upstream http 127.0.0.1:{parent}\nUpstream none \"localhost\"\nUpstream none \".{LOST}\"\n{access}"
    )
}
