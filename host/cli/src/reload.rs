//! `tollgate reload`: a running host reads jobs.toml again, and says what came of it.

use tollgate_engine::ConfigurationStatus;

use crate::{CliError, Program, api::Api, args::Global, output};

/// Exit code 2 where the file says what can't be; the host goes on by what it read before.
pub(crate) async fn reload(program: &dyn Program, global: &Global) -> Result<(), CliError> {
    let status: ConfigurationStatus = Api::find(program, global).await?.post("/reload", &()).await?;
    output::one(global.output, &status, text)?;
    match status.error {
        None => Ok(()),
        Some(error) => Err(CliError::configuration(format!("the host goes on by what it read before: {error}"))),
    }
}

fn text(status: &ConfigurationStatus) -> String {
    let ConfigurationStatus { file, taken, waiting, error, .. } = status;
    let mut text = String::new();
    if error.is_none() && taken.is_empty() && waiting.is_empty() {
        text.push_str(&format!("{file} says what the host goes by\n"));
    }
    if !taken.is_empty() {
        text.push_str(&format!("holds since it was last read: {}\n", taken.join(", ")));
    }
    if !waiting.is_empty() {
        text.push_str(&format!("waits for the host's next start: {}\n", waiting.join(", ")));
    }
    text
}
