//! Listens on loopback, and leaves word in the data folder of where.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tollgate_engine::Operations;

use crate::{Token, router};

/// Its name in the data folder: where the running host listens.
pub const HOST_FILE: &str = "host.json";

/// Where a running host listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFile {
    /// Loopback address.
    pub listen: SocketAddr,
    /// The process.
    pub pid: u32,
}

impl HostFile {
    /// Reads where the host of a data folder listens; absent: none runs there, or it stopped in good order.
    ///
    /// # Errors
    /// The file is there and can't be read.
    pub fn read(data: &Path) -> io::Result<Option<Self>> {
        match std::fs::read_to_string(data.join(HOST_FILE)) {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes what a killed host left. Only who has the store may say so: no host runs then.
    ///
    /// # Errors
    /// The file is there and can't be removed.
    pub fn forget(data: &Path) -> io::Result<()> {
        match std::fs::remove_file(data.join(HOST_FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes it beside and renames, so that a reader never sees half of it.
    fn write(&self, file: &Path) -> io::Result<()> {
        let beside = file.with_extension("json.new");
        std::fs::write(&beside, serde_json::to_string(self).map_err(io::Error::other)?)?;
        std::fs::rename(&beside, file)
    }
}

/// A listening API.
pub struct Server {
    /// Where it listens.
    pub listen: SocketAddr,
    file: PathBuf,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
    /// Serving ended by itself, and was told about.
    has_failed: bool,
}

/// Listens and serves until [`Server::stop`].
///
/// # Errors
/// The address is taken or no loopback one ([`io::ErrorKind::InvalidInput`]), or a file of the data folder can't be
/// written.
pub async fn serve(operations: Arc<Operations>, data: &Path, listen: SocketAddr) -> io::Result<Server> {
    if !listen.ip().is_loopback() {
        let text =
            format!("{listen} is no loopback address, and the host listens on no other; name 127.0.0.1 or [::1]");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let token = Token::read_or_make(data)?;
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        let text = format!("can't listen on {listen}: {error}; name another address under [host] listen in jobs.toml");
        io::Error::new(error.kind(), text)
    })?;
    let listen = listener.local_addr()?;
    let file = data.join(HOST_FILE);
    HostFile { listen, pid: std::process::id() }.write(&file)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let app = router(operations, token);
    let task = tokio::spawn(async move {
        // Dropping the sender counts as a stop too, so both answers mean the same.
        let until = async { drop(stopped.await) };
        axum::serve(listener, app).with_graceful_shutdown(until).await
    });
    Ok(Server { listen, file, stop, task, has_failed: false })
}

impl Server {
    /// Waits until serving ends by itself, which it should not; says why.
    pub async fn failed(&mut self) -> io::Error {
        if self.has_failed {
            return std::future::pending().await;
        }
        let ended = (&mut self.task).await;
        self.has_failed = true;
        match ended {
            Ok(Ok(())) => io::Error::other("serving ended by itself"),
            Ok(Err(error)) => error,
            Err(error) => io::Error::other(error),
        }
    }

    /// Stops listening. Open event streams are cut.
    ///
    /// # Errors
    /// Serving had failed and nobody was told, or the host file can't be removed.
    pub async fn stop(self) -> io::Result<()> {
        // The receiver is gone only if serving ended already; its result says why.
        let _gone = self.stop.send(());
        let served = if self.has_failed {
            Ok(())
        } else {
            self.task.abort();
            match self.task.await {
                Ok(served) => served,
                Err(error) if error.is_cancelled() => Ok(()),
                Err(error) => Err(io::Error::other(error)),
            }
        };
        std::fs::remove_file(&self.file)?;
        served
    }
}
