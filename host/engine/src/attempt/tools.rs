//! Programs that the host runs for one attempt: artifacts in, files out, refusals remembered as those of requests are.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use tollgate_core::{
    ArtifactRef, StageName,
    tool::{ToolContent, ToolError, ToolInput, ToolRequest},
};
use tollgate_egress::{Hop, ToolOutput, ToolRefused};
use tollgate_sandbox::gates::{ArtifactGate as _, ToolCall, ToolGate, ToolRun};
use tollgate_store::{BlobSource, NewArtifact};

use super::{
    Attempt,
    artifacts::{AttemptArtifacts, check_name},
    http::TYPE_UNKNOWN,
};

/// Media types of files that tools leave, by the ending of their names: sound and film pass, and services that hear or
/// read files go by it.
const TYPES: [(&str, &str); 22] = [
    ("vtt", "text/vtt"),
    ("srt", "text/plain"),
    ("txt", "text/plain"),
    ("csv", "text/csv"),
    ("tsv", "text/tab-separated-values"),
    ("md", "text/markdown"),
    ("ass", "text/plain"),
    ("html", "text/html"),
    ("json", "application/json"),
    ("jsonl", "text/plain"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("xml", "application/xml"),
    ("ttml", "application/ttml+xml"),
    ("wav", "audio/wav"),
    ("flac", "audio/flac"),
    ("mp3", "audio/mpeg"),
    ("m4a", "audio/mp4"),
    ("ogg", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
];
/// Bytes of all artifacts that one run is given: they are in memory meanwhile. An hour of audio, a few times over.
const INPUT_BYTES_MAX: u64 = 512 << 20;

pub(super) struct AttemptTools {
    attempt: Arc<Attempt>,
}

impl AttemptTools {
    pub(super) fn new(attempt: Arc<Attempt>) -> Self {
        Self { attempt }
    }

    /// Reads what is laid into the scratch folder.
    async fn inputs(&self, files: Vec<(String, String)>) -> Result<Vec<ToolInput>, ToolError> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let artifacts = AttemptArtifacts::new(self.attempt.clone());
        let known = artifacts.list().await.map_err(|error| ToolError::Failed(error.to_string()))?;
        let (mut inputs, mut bytes_left) = (Vec::with_capacity(files.len()), INPUT_BYTES_MAX);
        for (stage, name) in files {
            let size = known.iter().find(|known| known.stage.as_str() == stage && known.name == name);
            let left = bytes_left.checked_sub(size.map_or(0, |known| known.size));
            bytes_left = left.ok_or_else(|| {
                ToolError::Failed(format!("the tool is given more than {INPUT_BYTES_MAX} bytes of artifacts"))
            })?;
            let missing = || ToolError::Failed(format!("artifact {stage}/{name}, which the tool is given, is missing"));
            let stage_name = StageName::new(&stage).map_err(|_| missing())?;
            let bytes = artifacts.get(stage_name, name.clone(), None).await;
            let bytes = bytes.map_err(|error| ToolError::Failed(format!("artifact {stage}/{name}: {error}")))?;
            inputs.push(ToolInput { name, content: ToolContent::Bytes(bytes) });
        }
        Ok(inputs)
    }

    /// Runs it in a task of its own, as a request is, and takes what came of it into the attempt's account.
    async fn ask(&self, request: ToolRequest) -> Result<ToolOutput, ToolError> {
        let began = self.attempt.notes().begin_tool(&request.tool, request.url.as_deref());
        let tool = request.tool.clone();
        let attempt = self.attempt.clone();
        let run = async move {
            let told = |hop: Hop<'_>| attempt.notes().reached(began, hop);
            attempt.gate.run_tool(&attempt.caller, request, &told).await
        };
        let ended = self.attempt.run_tool(&tool, run).await;
        self.attempt.notes().came(began, ended.map_err(|ToolRefused { error, refusal, .. }| (error, refusal)))
    }

    /// Keeps the files of a run as artifacts of the stage.
    async fn keep(&self, output: &ToolOutput) -> Result<Vec<ArtifactRef>, ToolError> {
        let Some(item) = &self.attempt.item else {
            return if output.files.is_empty() {
                Ok(Vec::new())
            } else {
                Err(ToolError::Failed("discovery has no item to keep a tool's files for".to_owned()))
            };
        };
        let mut kept = Vec::with_capacity(output.files.len());
        for file in &output.files {
            let failed = |error: String| ToolError::Failed(format!("its file {:?} can't be kept: {error}", file.name));
            check_name(&file.name).map_err(|error| failed(error.to_string()))?;
            self.attempt.notes().has_room(&file.name).map_err(|error| failed(error.to_string()))?;
            let blob = self.attempt.put_blob(BlobSource::File(file.path.clone())).await;
            let blob = blob.map_err(|error| failed(error.to_string()))?;
            let (name, content_type) = (file.name.clone(), type_of(&file.name).to_owned());
            let artifact = NewArtifact { name: name.clone(), content_type: content_type.clone(), blob };
            self.attempt.notes().keep(artifact);
            kept.push(ArtifactRef {
                stage: item.stage.clone(),
                name,
                content_type,
                size: blob.size,
                digest: blob.digest,
            });
        }
        Ok(kept)
    }
}

fn type_of(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending).unwrap_or_default();
    let known = TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending));
    known.map_or(TYPE_UNKNOWN, |(_, media_type)| *media_type)
}

impl ToolGate for AttemptTools {
    fn run(&self, call: ToolCall) -> BoxFuture<'_, Result<ToolRun, ToolError>> {
        async move {
            let ToolCall { tool, args, url, files, stdin, timeout } = call;
            let files = self.inputs(files).await?;
            let request = ToolRequest { tool: tool.clone(), args, url, files, stdin, timeout };
            let output = self.ask(request).await?;
            // The scratch folder goes with `output`.
            let files = self.keep(&output).await?;
            tracing::info!(job = %self.attempt.caller.job, tool, profile = output.profile, warnings = output.warnings.len(), "a tool has run");
            Ok(ToolRun {
                exit_code: output.exit_code,
                stdout: output.stdout.clone(),
                stderr: output.stderr.clone(),
                warnings: output.warnings.clone(),
                profile: output.profile.clone(),
                files,
            })
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use tollgate_core::artifact::is_large_binary;

    use super::*;

    #[test]
    fn p06_text_that_a_tool_leaves_is_no_large_binary_whatever_its_size() {
        let endings = [
            "vtt", "srt", "ass", "ttml", "txt", "md", "csv", "tsv", "html", "json", "jsonl", "yaml", "yml", "xml",
            "VTT",
        ];
        for ending in endings {
            assert!(!is_large_binary(type_of(&format!("left.{ending}")), u64::MAX), "{ending}");
        }
        assert!(is_large_binary(type_of("left.wav"), u64::MAX));
        assert!(!is_large_binary(type_of("left"), u64::MAX), "nobody says what it is");
    }
}
