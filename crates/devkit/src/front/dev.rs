//! Passes requests from the front to the dev cluster.

use http::{HeaderValue, Response, StatusCode, header};

use crate::asked::Asked;
use crate::clock;
use crate::cluster::{self, Answer, Cluster};
use crate::random;
use crate::transcript::{self, Entry, Exchange};

/// Lets the dev cluster answer a request, and records the request and the answer.
pub(super) fn carry_out(cluster: &Cluster, asked: &Asked) -> Response<String> {
    let answer = || {
        let now = cluster.clock.unix_seconds();
        let answer = cluster::answer(cluster, asked);
        if answer.status == StatusCode::NOT_IMPLEMENTED {
            cluster.refuse(&answer.body);
        }
        (now, answer.remembered, response(answer, now))
    };
    let (_, _, response) = cluster.write(answer, |(now, remembered, response)| {
        Entry::Exchange(Box::new(Exchange {
            now: *now,
            by: asked.by.clone(),
            method: asked.method.to_string(),
            path: asked.uri.clone(),
            headers: transcript::of_request(&asked.headers),
            body: transcript::body(&asked.body),
            remembered: *remembered,
            answer: transcript::Answer::of(response),
        }))
    });
    response
}

fn response(answer: Answer, now: i64) -> Response<String> {
    // Go's JSON encoder writes a newline at the end.
    let mut response = Response::new(format!("{}\n", answer.body));
    *response.status_mut() = answer.status;
    for (name, value) in [
        ("audit-id", random::uid()),
        ("cache-control", "no-cache, private".to_owned()),
        ("content-type", "application/json".to_owned()),
        ("date", clock::http_date(now)),
    ] {
        let value = HeaderValue::try_from(value).expect("these are printable");
        response
            .headers_mut()
            .insert(header::HeaderName::from_static(name), value);
    }
    response
}
