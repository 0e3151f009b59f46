//! squid and tinyproxy as a test starts them: on loopback, with the sim's proxy as their parent, ended by process id.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Mutex,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    net::{TcpSocket, TcpStream},
    process::{Child, Command},
    sync::mpsc,
};
use tollgate_sim::Sim;

/// Names below this one are no business of the parent: the proxy itself finds that they don't resolve.
pub(crate) const LOST: &str = "lost.example";
/// Where Debian has the programs.
const SQUID: &str = "/usr/sbin/squid";
const SQUID_AUTH: &str = "/usr/lib/squid/basic_ncsa_auth";
const TINYPROXY: &str = "/usr/bin/tinyproxy";
/// The one user, and how squid's helper knows the password: `openssl passwd -apr1`.
pub(crate) const USER: &str = "me";
pub(crate) const PASSWORD: &str = "hush-hush";
const HASHED: &str = "$apr1$tollgate$NOrtZ.OpM38p1UwZCcyti.";
/// What both say once they take connections.
const READY: &str = "Accepting";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Squid,
    Tinyproxy,
}

/// A proxy that may be killed and started again, on the same port.
pub(crate) struct RealProxy {
    kind: Kind,
    port: u16,
    config: PathBuf,
    child: Option<Child>,
}

impl RealProxy {
    /// Starts one whose parent is the sim's proxy. `asks`: for the user and password.
    pub(crate) async fn start(kind: Kind, folder: &Path, sim: &Sim, asks: bool) -> Self {
        // squid gives up being root before it reads anything.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        let port = free_port();
        let config = folder.join("proxy.conf");
        let text = match kind {
            Kind::Squid => squid(folder, port, sim.proxy_addr().port(), asks),
            Kind::Tinyproxy => tinyproxy(port, sim.proxy_addr().port(), asks),
        };
        fs::write(&config, text).unwrap();
        let mut proxy = Self { kind, port, config, child: None };
        proxy.again().await;
        proxy
    }

    pub(crate) fn url(&self, password: Option<&str>) -> String {
        let user = password.map(|password| format!("{USER}:{password}@")).unwrap_or_default();
        format!("http://{user}127.0.0.1:{}", self.port)
    }

    /// Starts it, and returns once it takes connections.
    pub(crate) async fn again(&mut self) {
        let mut command = match self.kind {
            Kind::Squid => Command::new(SQUID),
            Kind::Tinyproxy => Command::new(TINYPROXY),
        };
        match self.kind {
            // In front, one process, its log to the terminal.
            Kind::Squid => command.args(["-N", "-d", "1", "-f"]),
            Kind::Tinyproxy => command.args(["-d", "-c"]),
        };
        command.arg(&self.config).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{:?}: {error}; `apt-get install squid tinyproxy`", self.kind);
        });
        let (said, mut lines) = mpsc::unbounded_channel();
        listen(child.stdout.take().unwrap(), said.clone());
        listen(child.stderr.take().unwrap(), said);
        let mut log = Vec::new();
        while let Some(line) = lines.recv().await {
            let is_ready = line.contains(READY);
            log.push(line);
            if is_ready {
                // squid says so a moment before it is so.
                while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                    assert_eq!(child.try_wait().unwrap(), None, "{log:#?}");
                    tokio::task::yield_now().await;
                }
                self.child = Some(child);
                return;
            }
        }
        panic!("{:?} ended at its start: {log:#?}", self.kind);
    }

    /// Kills it, and returns once it is gone.
    pub(crate) async fn kill(&mut self) {
        self.child.take().unwrap().kill().await.unwrap();
    }
}

/// Reads what a proxy says to its end, so that it never waits for a reader.
fn listen(stream: impl AsyncRead + Send + Unpin + 'static, said: mpsc::UnboundedSender<String>) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            // Once it is ready nobody listens any more.
            let _ready = said.send(line);
        }
    });
}

/// A port that was free just now, and that no other test was given: neither program can be given one that is taken already.
fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        if GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

/// Nothing is cached, and nothing is written. What isn't the parent's business goes direct, to loopback alone: names are
/// asked of a name server that isn't there.
fn squid(folder: &Path, port: u16, parent: u16, asks: bool) -> String {
    let access = if asks {
        let passwords = folder.join("passwords");
        fs::write(&passwords, format!("{USER}:{HASHED}\n")).unwrap();
        format!(
            "auth_param basic program {SQUID_AUTH} {}\nauth_param basic children 1 startup=1\n\
             acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all\n",
            passwords.display()
        )
    } else {
        "http_access allow all\n".to_owned()
    };
    format!(
        "http_port 127.0.0.1:{port}\npid_filename none\ncache deny all\ncache_mem 8 MB\naccess_log none\n\
         cache_log /dev/null\ncache_store_log none\nnetdb_filename none\npinger_enable off\n\
         visible_hostname proxy.test\nshutdown_lifetime 0 seconds\nmax_filedescriptors 1024\n\
         dns_nameservers 127.0.0.1\ndns_timeout 1 seconds\ndns_retransmit_interval 200 milliseconds\n\
         cache_peer 127.0.0.1 parent {parent} 0 no-query no-digest no-netdb-exchange default\n\
         acl own dstdomain localhost .{LOST}\nalways_direct allow own\nnever_direct allow all\n{access}"
    )
}

fn tinyproxy(port: u16, parent: u16, asks: bool) -> String {
    let access = if asks { format!("BasicAuth {USER} {PASSWORD}\n") } else { String::new() };
    format!(
        "Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 100\nLogLevel Info\n\
         Upstream http 127.0.0.1:{parent}\nUpstream none \"localhost\"\nUpstream none \".{LOST}\"\n{access}"
    )
}
