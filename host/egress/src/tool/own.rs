//! Tools that the host runs for itself: no job is granted them, and no handler has written their arguments. What bounds
//! a handler's run bounds these too.

use tollgate_core::{spec::tools::OutputKind, tool::ToolRequest};

use super::{Run, ToolOutput, ToolRefused, refused::without_site};
use crate::Gate;

impl Gate {
    /// Runs a tool of jobs.toml that reaches no network, for files. What `accepts` of its entry says is for handlers.
    ///
    /// # Errors
    /// jobs.toml has no such tool, it isn't installed, its own word by the rules of its entry, or its deadline. Dropped
    /// before its end, the program and all that it started are killed.
    pub async fn run_own_tool(&self, request: ToolRequest) -> Result<ToolOutput, ToolRefused> {
        let deployment = self.deployment();
        let name = &request.tool;
        let tool = deployment.tool(name);
        let tool = tool.ok_or_else(|| {
            ToolRefused::denied(format!("jobs.toml has no tool {name}; add [tool.{name}] with `network = false`"))
        })?;
        if tool.network.is_some() {
            return Err(ToolRefused::denied(format!(
                "tool {name} may reach the network, and the host runs it where nothing says how; set `network = false` \
                 in [tool.{name}] of jobs.toml"
            )));
        }
        let run = Run::new(tool, vec![OutputKind::Files], request, &self.options.base)?;
        let handover = self.hand_over(tool, None)?;
        let output = self.run_profiles(&run, &handover, None).await;
        output.map_err(|no_output| without_site(tool, run.time, no_output))
    }
}
