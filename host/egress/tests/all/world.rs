//! A gate, a proxy, and the sites behind it.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use tollgate_core::{
    Clock, JobName, Timestamp,
    http::{HttpError, HttpRequest},
    spec,
};
use tollgate_egress::{Caller, Gate, GateOptions, NoMemory, Refused, Response, SiteMemory};
use tollgate_sim::{
    Builder, Sim, Site,
    sites::archive::{Member, ZipFile},
};

/// The archive's host.
pub(crate) const HOST: &str = "files.example";
/// The archive's address.
pub(crate) const URL: &str = "http://files.example/archive.zip";

/// A clock that stands still: nothing here waits.
pub(crate) struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp(1_000_000)
    }

    fn sleep_until(&self, _until: Timestamp) -> BoxFuture<'static, ()> {
        std::future::pending().boxed()
    }
}

pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) gate: Arc<Gate>,
    pub(crate) caller: Caller,
    _scratch: tempfile::TempDir,
}

impl World {
    /// Sites behind a proxy, and what jobs.toml says besides.
    pub(crate) async fn new(sites: Vec<(&str, Arc<dyn Site>)>, more: &str) -> Self {
        let builder = sites.into_iter().fold(Sim::builder(), |builder, (host, site)| builder.site(host, site));
        Self::built(builder, Sim::proxy_url, more).await
    }

    /// A small internet, the proxy's URL, and what jobs.toml says besides. The sim's authority is trusted.
    pub(crate) async fn built(builder: Builder, proxy: impl FnOnce(&Sim) -> String, more: &str) -> Self {
        let sim = builder.start().await.unwrap();
        let url = proxy(&sim);
        Self::over(sim, &url, more)
    }

    /// A gate over a small internet that is there.
    pub(crate) fn over(sim: Sim, proxy: &str, more: &str) -> Self {
        Self::over_at(sim, proxy, more, Arc::new(Still))
    }

    /// The same with a clock of the test's.
    pub(crate) fn over_at(sim: Sim, proxy: &str, more: &str, clock: Arc<dyn Clock>) -> Self {
        Self::over_with(sim, proxy, more, clock, Arc::new(NoMemory))
    }

    /// The same with a memory of the test's.
    pub(crate) fn over_with(
        sim: Sim,
        proxy: &str,
        more: &str,
        clock: Arc<dyn Clock>,
        memory: Arc<dyn SiteMemory>,
    ) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        sim.write_ca(scratch.path().join("ca.pem")).unwrap();
        let text = format!("[proxy.main]\nurl = \"{}\"\nca = \"ca.pem\"\n{more}", proxy);
        let deployment = spec::parse(&text, "jobs.toml").unwrap();
        let (spool, base) = (scratch.path().join("spool"), scratch.path().to_owned());
        let sessions = scratch.path().join("sessions");
        let (remembered, spent) = (Vec::new(), Vec::new());
        let options = GateOptions { spool, clock, base, memory, sessions, remembered, spent };
        let gate = Gate::new(&deployment, options).unwrap();
        let caller = Caller::of(JobName::new("test").unwrap(), Vec::new());
        Self { sim, gate, caller, _scratch: scratch }
    }

    /// The archive by itself.
    pub(crate) async fn of(site: impl Site) -> Self {
        Self::new(vec![(HOST, Arc::new(site))], "[site.\"*\"]\nconcurrency = 4\n").await
    }

    pub(crate) async fn fetch(&self, url: &str) -> Result<Response, Refused> {
        let (method, url) = ("GET".to_owned(), url.to_owned());
        let request = HttpRequest { method, url, headers: Vec::new(), body: None, timeout: None };
        self.gate.fetch(&self.caller, request, &|_| {}).await
    }

    pub(crate) async fn member(&self, name: &str) -> Result<Response, Refused> {
        self.gate.fetch_zip_member(&self.caller, URL, name, &|_| {}).await
    }

    pub(crate) async fn content(&self, name: &str) -> Bytes {
        let response = self.member(name).await.unwrap();
        assert_eq!(response.status, 200);
        response.body.bytes().await.unwrap()
    }

    /// Why a member isn't to be had.
    pub(crate) async fn why(&self, name: &str) -> String {
        self.member(name).await.unwrap_err().error.to_string()
    }

    /// Requests that reached the archive's host.
    pub(crate) fn requests(&self) -> u64 {
        self.sim.counts().of_host(HOST)
    }
}

/// Members of each kind, in front of so many fillers. `word` is what one of them says.
pub(crate) fn file(word: &str, fillers: u32, seed: u8) -> Arc<ZipFile> {
    Arc::new(ZipFile::new(&members(word), fillers, seed))
}

pub(crate) fn members(word: &str) -> Vec<Member> {
    let mut zip64 = Member::deflated("zip64.txt", "sizes in a field of their own\n".repeat(20));
    zip64.is_zip64 = true;
    let long = format!("{word} ").repeat(3_000);
    vec![
        Member::stored("word.txt", word.to_owned()),
        Member::deflated("long.txt", long),
        Member::deflate64("numbers.txt"),
        zip64,
    ]
}

/// Whether an error is of that kind.
pub(crate) fn is_connection(error: &HttpError) -> bool {
    matches!(error, HttpError::Connection(_))
}
