//! Looks at a jobs.toml and its handlers without running anything or opening the store.

use std::path::{Path, PathBuf};

use tollgate_core::{
    ids::JobName,
    spec::{Deployment, ReadSpec},
};
use tollgate_engine::{CheckedJob, PlanError};
use tollgate_sandbox::{Compiler, HandlerSet, Sandbox, SandboxOptions};

use crate::HostError;

/// What a jobs.toml comes to.
pub struct CheckReport {
    /// The file, read and complete.
    pub deployment: Deployment,
    /// Each job with its handler, or all that stands against it.
    pub jobs: Vec<(JobName, Result<CheckedJob, PlanError>)>,
}

/// A jobs.toml on disk.
pub(crate) struct SpecFile {
    pub(crate) read: ReadSpec,
    pub(crate) text: String,
    /// Its name in messages.
    pub(crate) name: String,
    /// Its folder: relative paths begin there.
    pub(crate) base: PathBuf,
}

impl SpecFile {
    pub(crate) fn read(file: &Path) -> Result<Self, HostError> {
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|error| HostError::Read { file: file.to_owned(), error })?;
        let name = file.display().to_string();
        let read = ReadSpec::parse(&text, &name).map_err(HostError::Spec)?;
        let base = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        Ok(Self { read, text, name, base: base.map_or_else(|| PathBuf::from("."), Path::to_owned) })
    }

    pub(crate) fn deployment(&self) -> &Deployment {
        self.read.deployment()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.base.join(&self.deployment().host.data)
    }

    /// Loads the handlers that the jobs name.
    pub(crate) async fn handlers(&self, cache: PathBuf, compiler: Compiler) -> Result<HandlerSet, HostError> {
        let sandbox = Sandbox::new(SandboxOptions::new(cache, compiler))?;
        let names: Vec<_> = self.deployment().jobs.iter().map(|job| job.handler.clone()).collect();
        Ok(HandlerSet::load(&sandbox, &self.base.join(&self.deployment().host.handlers), names).await)
    }
}

/// Checks a jobs.toml and its handlers. Compiled code is kept in `data`, or in the file's own data folder.
///
/// # Errors
/// The file can't be read or says what can't be, or the sandbox can't be set up. A job that can't run is in the report.
pub async fn check(file: &Path, data: Option<&Path>, compiler: Compiler) -> Result<CheckReport, HostError> {
    let spec = SpecFile::read(file)?;
    let data = data.map_or_else(|| spec.data(), Path::to_owned);
    make_folder(&data)?;
    let handlers = spec.handlers(data.join("compiled"), compiler).await?;
    let jobs = tollgate_engine::check(spec.deployment(), &spec.name, &handlers, None).into_iter();
    let jobs = jobs.map(|(job, checked)| (job.name.clone(), checked)).collect();
    Ok(CheckReport { deployment: spec.read.into_deployment(), jobs })
}

pub(crate) fn make_folder(folder: &Path) -> Result<(), HostError> {
    std::fs::create_dir_all(folder).map_err(|error| HostError::Data { folder: folder.to_owned(), error })
}
