//! The API, spoken to a running host over loopback, or in this process to the store of a stopped one.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Serialize, de::DeserializeOwned};
use tollgate_web::{
    HostFile, Token,
    api::{ApiError, NO_SESSION},
};
use tower::ServiceExt;

use crate::{CliError, Program, args::Global};

/// Largest answer: a page of a thousand items with their outputs.
const ANSWER_BYTES_MAX: usize = 512 << 20;
/// How long a data folder may be in use by a host that doesn't listen: it starts, or stops, or it is another command.
const REACH_TIME: Duration = Duration::from_secs(5);
/// Time between two looks at a data folder in use.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Where the API is.
pub(crate) struct Api {
    reach: Reach,
    token: Token,
}

enum Reach {
    Running { listen: SocketAddr, client: Box<Client<HttpConnector, Body>> },
    Stopped { router: Router },
}

impl Api {
    /// Finds the running host of the data folder, or opens its store.
    pub(crate) async fn find(program: &dyn Program, global: &Global) -> Result<Self, CliError> {
        Self::of(program, global, existing_data_folder(program, global)?).await
    }

    /// The same, for what is of use before the first `run` too: the data folder is made.
    pub(crate) async fn find_or_make(program: &dyn Program, global: &Global) -> Result<Self, CliError> {
        let data = data_folder(program, global)?;
        if !data.is_dir() {
            // A mistyped folder beside no jobs.toml isn't made.
            program.data_folder(&global.file)?;
            std::fs::create_dir_all(&data)
                .map_err(|error| CliError::failed(format!("the data folder {}: {error}", data.display())))?;
        }
        Self::of(program, global, data).await
    }

    async fn of(program: &dyn Program, global: &Global, data: PathBuf) -> Result<Self, CliError> {
        let deadline = Instant::now() + REACH_TIME;
        loop {
            // The lock says whether a host runs. Where one listened once is no sign of it: a killed host leaves that
            // behind, and whoever has the port now must not be shown the token.
            let in_use = match program.open(&data, &global.file) {
                Ok(operations) => {
                    let token = Token::draw()?;
                    let router = tollgate_web::router(operations, token.clone());
                    return Ok(Self { reach: Reach::Stopped { router }, token });
                }
                Err(error) if error.is_in_use() => error,
                Err(error) => return Err(error),
            };
            if let Some(file) = HostFile::read(&data)?
                && tokio::net::TcpStream::connect(file.listen).await.is_ok()
            {
                let client = Box::new(Client::builder(TokioExecutor::new()).build(HttpConnector::new()));
                return Ok(Self { reach: Reach::Running { listen: file.listen, client }, token: Token::read(&data)? });
            }
            if Instant::now() >= deadline {
                return Err(in_use);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Asks for something.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.send(Method::GET, path, Body::empty()).await
    }

    /// Does something.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CliError> {
        self.send(Method::POST, path, Body::from(serde_json::to_vec(body)?)).await
    }

    async fn send<T: DeserializeOwned>(&self, method: Method, path: &str, body: Body) -> Result<T, CliError> {
        let authority = match &self.reach {
            Reach::Running { listen, .. } => listen.to_string(),
            Reach::Stopped { .. } => "localhost".to_owned(),
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{authority}/api/v1{path}"))
            .header(header::HOST, &authority)
            .header(header::AUTHORIZATION, self.token.header())
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| CliError::failed(format!("the request {path}: {error}")))?;
        let lost = |error: &dyn std::fmt::Display| CliError::lost(format!("the host doesn't answer: {error}"));
        let (status, bytes) = match &self.reach {
            Reach::Running { client, .. } => {
                let answer = client.request(request).await.map_err(|error| lost(&error))?;
                let status = answer.status();
                let body = http_body_util::Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
                (status, body.collect().await.map_err(|error| lost(&error))?.to_bytes())
            }
            Reach::Stopped { router } => {
                let answer = router.clone().oneshot(request).await.map_err(|error| lost(&error))?;
                let status = answer.status();
                (status, answer.into_body().collect().await.map_err(|error| lost(&error))?.to_bytes())
            }
        };
        if status.is_success() {
            return Ok(serde_json::from_slice(&bytes)?);
        }
        let said = serde_json::from_slice::<ApiError>(&bytes).map(|error| error.error);
        let said = said.unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned());
        Err(match status {
            StatusCode::NOT_FOUND => CliError::not_found(said),
            NO_SESSION => CliError::no_session(said),
            _ => CliError::failed(said),
        })
    }
}

/// The data folder: as told, or as jobs.toml says.
pub(crate) fn data_folder(program: &dyn Program, global: &Global) -> Result<PathBuf, CliError> {
    match &global.data {
        Some(data) => Ok(data.clone()),
        None => program.data_folder(&global.file),
    }
}

/// The data folder, which must be there.
pub(crate) fn existing_data_folder(program: &dyn Program, global: &Global) -> Result<PathBuf, CliError> {
    let data = data_folder(program, global)?;
    if data.is_dir() {
        return Ok(data);
    }
    Err(CliError::not_found(format!("the data folder {} isn't there; `tollgate run` makes it", data.display())))
}

/// A text as a part of a path or a query.
pub(crate) fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
