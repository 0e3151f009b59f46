//! Requests to paid services: what they answer bears no secret that they were sent.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, StatusCode};
use tollgate_core::spec::Secret;
use tollgate_egress::{ServiceKey, ServiceRequest};
use tollgate_sim::sites::scripted::{Scripted, Step};

use crate::world::World;

const SERVICE: &str = "service.example";
const KEY: &str = "sk-right-key-0001";
const TOKEN: &str = "Token of-the-site-0001";

#[tokio::test]
async fn what_a_service_says_again_of_its_key_is_left_out_whatever_its_status() {
    let echo = |status: StatusCode| {
        move |request: &tollgate_sim::Request, _: u64| {
            let said =
                ["authorization", "x-team"].map(|name| request.http.headers()[name].to_str().unwrap().to_owned());
            Step::status(status)
                .header(HeaderName::from_static("x-echo"), &said[0])
                .body(format!("Incorrect API key provided: {}. {}", said[0], said[1]))
        }
    };
    let service = Scripted::new().respond("/no", echo(StatusCode::UNAUTHORIZED)).respond("/yes", echo(StatusCode::OK));
    let site = format!("[site.\"{SERVICE}\"]\nheaders = {{ x-team = {TOKEN:?} }}\n");
    let world = World::new(vec![(SERVICE, Arc::new(service))], &site).await;
    for path in ["no", "yes"] {
        let key = ServiceKey { header: "authorization", before: "Bearer ", secret: Secret::Literal(KEY.to_owned()) };
        let request = ServiceRequest {
            url: format!("http://{SERVICE}/{path}").parse().unwrap(),
            headers: Vec::new(),
            key: Some(key),
            body: None,
            time: Duration::from_secs(30),
            time_min: Duration::from_secs(5),
            body_max: 1_000,
        };
        let mut answer = world.gate.ask_service(request, &|| true).await.unwrap();
        let mut body = Vec::new();
        while let Some(bytes) = answer.chunk().await.unwrap() {
            body.extend_from_slice(&bytes);
        }
        assert_eq!(String::from_utf8(body).unwrap(), "Incorrect API key provided: [secret]. [secret]");
        assert!(answer.headers.contains(&("x-echo".to_owned(), "[secret]".to_owned())), "{:?}", answer.headers);
    }
}
