//! Lists of a namespace's objects, one page of them at a time: a namespace may have thousands, and of
//! most of them nothing is kept.
//!
//! Must not know: what is looked for.

use std::ops::ControlFlow;

use kube::{
    api::ListParams,
    core::{ListMeta, Request},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Cluster, Object, RequestError, Resource, Selection, within};

/// How many objects a page of a list has. Whole pods may have 20 kB each, and the text of a page is there
/// at once.
pub(super) const PAGE: u32 = 100;

impl Cluster {
    /// Lists a namespace's objects, as a majority of the store has them.
    pub(crate) async fn list(
        &self,
        resource: Resource,
        namespace: &str,
        which: &Selection,
    ) -> Result<Vec<Value>, RequestError> {
        let mut all = Vec::new();
        let mut keep = |object| {
            all.push(object);
            ControlFlow::Continue(())
        };
        self.visit(resource, namespace, which, &mut keep).await?;
        Ok(all)
    }

    /// Goes through a namespace's objects, as a majority of the store has them, until `visit` has seen
    /// enough. Of each object what a `T` has is read; there is one page of them at a time.
    pub(crate) async fn visit<T: DeserializeOwned>(
        &self,
        resource: Resource,
        namespace: &str,
        which: &Selection,
        visit: impl FnMut(T) -> ControlFlow<()>,
    ) -> Result<(), RequestError> {
        self.pages(Part::Whole, resource, namespace, which, visit)
            .await
    }

    /// Goes through the metadata of all of a namespace's objects, as a majority of the store has it. There
    /// is one page of it at a time.
    pub(crate) async fn visit_metadata(
        &self,
        resource: Resource,
        namespace: &str,
        which: &Selection,
        mut visit: impl FnMut(&Value),
    ) -> Result<(), RequestError> {
        let visit = |object: Described| {
            visit(&object.metadata);
            ControlFlow::Continue(())
        };
        self.pages(Part::Metadata, resource, namespace, which, visit)
            .await
    }

    async fn pages<T: DeserializeOwned>(
        &self,
        part: Part,
        resource: Resource,
        namespace: &str,
        which: &Selection,
        mut visit: impl FnMut(T) -> ControlFlow<()>,
    ) -> Result<(), RequestError> {
        let object = Object {
            resource,
            namespace,
            name: "",
        };
        let requests = Request::new(self.api(resource, namespace).resource_url());
        let mut params = which.page();
        loop {
            let text = async {
                let request = match part {
                    Part::Whole => requests.list(&params),
                    Part::Metadata => requests.list_metadata(&params),
                };
                let request = request.map_err(kube::Error::BuildRequest)?;
                self.client.request_text(request).await
            };
            let text = within("list", &object, text).await?;
            let page: Page<T> =
                serde_json::from_str(&text).map_err(|source| RequestError::Answer {
                    action: "list",
                    object: object.to_string(),
                    source,
                })?;
            for item in page.items.into_iter().flatten() {
                if visit(item).is_break() {
                    return Ok(());
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(()),
            }
        }
    }
}

impl Selection {
    fn page(&self) -> ListParams {
        ListParams {
            label_selector: self.labels.clone(),
            field_selector: self.fields.map(str::to_owned),
            limit: Some(PAGE),
            ..ListParams::default()
        }
    }
}

/// How much of an object the API server sends.
#[derive(Debug, Clone, Copy)]
enum Part {
    Whole,
    Metadata,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page<T> {
    metadata: ListMeta,
    /// Null where there is none.
    items: Option<Vec<T>>,
}

#[derive(Deserialize)]
struct Described {
    metadata: Value,
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{Arc, Mutex},
    };

    use axum::http::{Request, Response};
    use contract::workload::Kind;
    use kube::{Client, client::Body};
    use serde_json::json;
    use tower::service_fn;

    use super::*;

    /// A cluster that answers with the pods `0` and `1`, one a page, and an empty last page, and what it was
    /// asked.
    fn three_pages() -> (Cluster, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let answer = move |request: Request<Body>| {
            let mut log = log.lock().unwrap();
            let page = log.len();
            log.push(request.uri().to_string());
            let next = (page < 2).then(|| format!("page{}", page + 1));
            let pod = json!({ "metadata": { "name": page.to_string() }, "spec": {} });
            let body = json!({
                "metadata": { "resourceVersion": "7", "continue": next },
                "items": (page < 2).then_some([pod]),
            });
            let body = Body::from(body.to_string().into_bytes());
            async { Ok::<_, Infallible>(Response::new(body)) }
        };
        (Cluster::new(Client::new(service_fn(answer), "shop")), asked)
    }

    const PODS: Resource = Resource::Workload(Kind::Pod);

    #[tokio::test]
    async fn all_pages_are_gone_through() {
        let (cluster, asked) = three_pages();
        let which = Selection::default();
        let all = cluster.list(PODS, "shop", &which).await.unwrap();
        let names: Vec<_> = all.iter().map(|pod| &pod["metadata"]["name"]).collect();
        assert_eq!(names, ["0", "1"]);
        let asked = asked.lock().unwrap();
        let continued: Vec<_> = asked
            .iter()
            .filter(|uri| uri.contains("continue="))
            .collect();
        assert_eq!(continued.len(), 2, "{asked:?}");
    }

    #[tokio::test]
    async fn no_page_is_asked_for_once_enough_was_seen() {
        let (cluster, asked) = three_pages();
        let mut seen = Vec::new();
        let look = |pod: Value| {
            seen.push(pod["metadata"]["name"].clone());
            ControlFlow::Break(())
        };
        let which = Selection::default();
        cluster.visit(PODS, "shop", &which, look).await.unwrap();
        assert_eq!((seen, asked.lock().unwrap().len()), (vec![json!("0")], 1));
    }
}
