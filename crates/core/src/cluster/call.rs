//! The requests to an API server. kube-core builds most of them.

use http::{Method, header, request::Builder};
use k8s_openapi::{
    api::{
        authentication::v1::{TokenRequest, TokenRequestSpec},
        core::v1::ServiceAccount,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Resource,
    core::{
        Request,
        params::{ListParams, PostParams},
        request,
    },
};
use serde::Serialize;

use crate::{error::Error, json, text::harmless};

/// The greatest length of an answer that is not a list, in bytes. The answer to a TokenRequest is a few
/// thousand bytes long.
const LONGEST_OBJECT: usize = 1 << 20;
/// The greatest length of a list, in bytes. The metadata of 500 anchors is half a megabyte long.
const LONGEST_LIST: usize = 4 << 20;

/// A request, without the server and without the sender's credentials.
pub(crate) struct Call {
    /// The purpose of the request, as it follows "cannot": `create the anchor`.
    pub(crate) doing: &'static str,
    pub(super) request: http::Request<Vec<u8>>,
    /// The greatest length of the answer, in bytes.
    pub(super) longest: usize,
}

/// Begins a request about the objects of one kind, in a namespace or in the whole cluster.
pub(crate) fn objects<K: Resource<DynamicType = ()>>(namespace: Option<&str>) -> Request {
    Request::new(K::url_path(&(), namespace))
}

impl Call {
    /// Wraps a request that kube-core built.
    ///
    /// # Errors
    /// If kube-core could not build the request. That is a defect in jobpass, which checks every name first.
    pub(crate) fn new(
        doing: &'static str,
        request: Result<http::Request<Vec<u8>>, request::Error>,
    ) -> Result<Self, Error> {
        let request = request.map_err(|error| {
            let why = harmless(&error.to_string());
            Error::defect(format!("cannot {doing}: {why}"))
        })?;
        Ok(Self {
            doing,
            request,
            longest: LONGEST_OBJECT,
        })
    }

    /// Builds a request for a path that does not belong to an object, such as `/version`.
    ///
    /// # Errors
    /// As [`Call::new`].
    pub(crate) fn get(doing: &'static str, path: &str) -> Result<Self, Error> {
        Self::of(doing, http::Request::get(path))
    }

    /// Builds a request for the cluster's public keys. kube-apiserver answers 406 unless the request accepts
    /// the media type of JSON Web Key Sets.
    ///
    /// # Errors
    /// As [`Call::new`].
    pub(crate) fn keys(doing: &'static str) -> Result<Self, Error> {
        let request = http::Request::get("/openid/v1/jwks");
        Self::of(
            doing,
            request.header(header::ACCEPT, "application/jwk-set+json, application/json"),
        )
    }

    /// Builds a request that creates an object. A question such as a SelfSubjectAccessReview also has the
    /// form of an object.
    ///
    /// # Errors
    /// As [`Call::new`], and if JSON cannot represent the object.
    pub(crate) fn create<K>(doing: &'static str, namespace: Option<&str>, object: &K) -> Result<Self, Error>
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        Self::post(doing, namespace, object, &PostParams::default())
    }

    /// Builds a request that creates an object in a dry run: the API server checks the request and applies
    /// its policies, but creates nothing.
    ///
    /// # Errors
    /// As [`Call::new`], and if JSON cannot represent the object.
    pub(crate) fn create_dry<K>(
        doing: &'static str,
        namespace: Option<&str>,
        object: &K,
    ) -> Result<Self, Error>
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        Self::post(doing, namespace, object, &params)
    }

    /// Builds a request for a token of a ServiceAccount. From Kubernetes 1.34 on, an API server refuses the
    /// request if the account has another uid than `account_uid`.
    ///
    /// # Errors
    /// As [`Call::new`], and if JSON cannot represent the object.
    pub(crate) fn request_token(
        doing: &'static str,
        namespace: &str,
        account: &str,
        account_uid: Option<&str>,
        spec: TokenRequestSpec,
    ) -> Result<Self, Error> {
        let body = json::text(&TokenRequest {
            metadata: ObjectMeta {
                uid: account_uid.map(str::to_owned),
                ..ObjectMeta::default()
            },
            spec,
            ..TokenRequest::default()
        })?;
        let accounts = objects::<ServiceAccount>(Some(namespace));
        let params = PostParams::default();
        Self::new(
            doing,
            accounts.create_subresource("token", account, &params, body.into_bytes()),
        )
    }

    /// Builds a request that lists the metadata of objects. No other part of the objects leaves the API
    /// server.
    ///
    /// # Errors
    /// As [`Call::new`].
    pub(crate) fn list_metadata<K: Resource<DynamicType = ()>>(
        doing: &'static str,
        namespace: Option<&str>,
        params: &ListParams,
    ) -> Result<Self, Error> {
        Self::new(doing, objects::<K>(namespace).list_metadata(params)).map(Self::with_room_for_a_list)
    }

    /// Builds a request that lists whole objects.
    ///
    /// # Errors
    /// As [`Call::new`].
    pub(crate) fn list<K: Resource<DynamicType = ()>>(
        doing: &'static str,
        namespace: Option<&str>,
        params: &ListParams,
    ) -> Result<Self, Error> {
        Self::new(doing, objects::<K>(namespace).list(params)).map(Self::with_room_for_a_list)
    }

    fn with_room_for_a_list(self) -> Self {
        let longest = LONGEST_LIST;
        Self { longest, ..self }
    }

    fn post<K>(
        doing: &'static str,
        namespace: Option<&str>,
        object: &K,
        params: &PostParams,
    ) -> Result<Self, Error>
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let body = json::text(object)?.into_bytes();
        Self::new(doing, objects::<K>(namespace).create(params, body))
    }

    fn of(doing: &'static str, request: Builder) -> Result<Self, Error> {
        Self::new(
            doing,
            request.body(Vec::new()).map_err(request::Error::BuildRequest),
        )
    }

    #[cfg(test)]
    pub(crate) fn body(&self) -> &[u8] {
        self.request.body()
    }

    pub(crate) fn method(&self) -> &Method {
        self.request.method()
    }

    /// The path and the query. kube-core writes a superfluous `?` if there is no parameter, and a superfluous
    /// `&` before the first parameter. This function removes them.
    pub(super) fn path(&self) -> String {
        let uri = self.request.uri();
        match uri.query().map_or("", |query| query.trim_start_matches('&')) {
            "" => uri.path().to_owned(),
            query => format!("{}?{query}", uri.path()),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;
    use kube::core::params::{DeleteParams, PropagationPolicy};

    use super::*;
    use crate::Kind;

    #[test]
    fn a_path_without_parameters_has_no_question_mark() {
        let anchor = objects::<Secret>(Some("ci")).delete("jobpass-a", &DeleteParams::background());
        let call = Call::new("delete the anchor", anchor).expect("a call");
        assert_eq!(call.path(), "/api/v1/namespaces/ci/secrets/jobpass-a");
        assert_eq!(call.method(), Method::DELETE);
        let call = Call::create_dry("create a Secret", Some("ci"), &Secret::default()).expect("a call");
        assert_eq!(call.path(), "/api/v1/namespaces/ci/secrets?dryRun=All");
    }

    #[test]
    fn a_list_asks_for_metadata_alone() {
        let params = ListParams::default()
            .fields("type=jobpass.dev/anchor")
            .limit(500)
            .continue_token("a+b=");
        let call = Call::list_metadata::<Secret>("list the anchors", None, &params).expect("a call");
        assert_eq!(
            call.path(),
            "/api/v1/secrets?fieldSelector=type%3Djobpass.dev%2Fanchor&limit=500&continue=a%2Bb%3D"
        );
        assert_eq!(
            call.request.headers()[header::ACCEPT],
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        );
    }

    #[test]
    fn an_object_without_a_name_is_not_all_objects() {
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        let all = objects::<Secret>(Some("ci")).delete("", &params);
        let error = Call::new("delete the anchor", all).err().expect("refused");
        assert_eq!(error.kind(), Kind::Internal);
    }
}
