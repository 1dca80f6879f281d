//! Routes that document themselves.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::routing::{MethodRouter, delete, get, head, post};
use utoipa::ToSchema;

use super::{About, Documented, document, reply};
use crate::api::App;

/// Routes of one family of clients.
pub struct Routes {
    family: &'static str,
    /// Adds the bodies of errors, which are the same all over a family.
    failing: fn(About) -> About,
    router: Router<Arc<App>>,
    documented: Vec<Documented>,
}

impl Routes {
    /// No routes yet. `family` is the tag of those to come, `E` how they fail.
    #[must_use]
    pub fn of<E: ToSchema>(family: &'static str) -> Self {
        Self {
            family,
            failing: About::fails_with::<E>,
            router: Router::new(),
            documented: Vec::new(),
        }
    }

    /// A route that is read; HEAD is answered too.
    #[must_use]
    pub fn get<H: Handler<T, Arc<App>>, T: 'static>(
        self,
        path: &str,
        handler: H,
        about: About,
    ) -> Self {
        self.route(path, "get", get(handler), about)
    }

    /// A route that is asked with a body.
    #[must_use]
    pub fn post<H: Handler<T, Arc<App>>, T: 'static>(
        self,
        path: &str,
        handler: H,
        about: About,
    ) -> Self {
        self.route(path, "post", post(handler), about)
    }

    /// A route that removes something.
    #[must_use]
    pub fn delete<H: Handler<T, Arc<App>>, T: 'static>(
        self,
        path: &str,
        handler: H,
        about: About,
    ) -> Self {
        self.route(path, "delete", delete(handler), about)
    }

    /// A route that only tells whether something is there.
    #[must_use]
    pub fn head<H: Handler<T, Arc<App>>, T: 'static>(
        self,
        path: &str,
        handler: H,
        about: About,
    ) -> Self {
        self.route(path, "head", head(handler), about)
    }

    /// A page for people: it is not in the document.
    #[must_use]
    pub fn page<H: Handler<T, Arc<App>>, T: 'static>(mut self, path: &str, handler: H) -> Self {
        self.router = self.router.route(path, get(handler));
        self
    }

    /// The same, with a bound for the bodies of the routes so far.
    #[must_use]
    pub fn bounded(mut self, bodies: DefaultBodyLimit) -> Self {
        self.router = self.router.layer(bodies);
        self
    }

    /// These and those.
    #[must_use]
    pub fn merge(mut self, others: Self) -> Self {
        self.router = self.router.merge(others.router);
        self.documented.extend(others.documented);
        self
    }

    /// The router, with the document of all its routes at `/openapi.json`.
    pub fn into_router(self) -> Router<Arc<App>> {
        let reply = reply(document(self.documented));
        self.router
            .route("/openapi.json", get(move || std::future::ready(reply())))
    }

    fn route(
        mut self,
        path: &str,
        method: &'static str,
        handler: MethodRouter<Arc<App>>,
        about: About,
    ) -> Self {
        self.router = self.router.route(path, handler);
        // A wildcard of the router takes slashes too, which OpenAPI has no word for.
        let path = path.replace("{*", "{");
        let about = (self.failing)(about);
        self.documented
            .push(Documented::of(self.family, path, method, about));
        self
    }
}
