//! The routes of the API, as the template names them to API Gateway.

use super::event::Event;
use super::problem::Problem;

/// The routes of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ApiRoute {
    /// Tells that the API answers. No token is asked for.
    Health,
    /// Lists the tenant's models.
    Models,
    /// Shows one model.
    Model,
    /// Predicts records.
    Predictions,
}

/// The method and the path of each route.
const ROUTES: [(&str, &str, ApiRoute); 4] = [
    ("GET", "/v1/health", ApiRoute::Health),
    ("GET", "/v1/models", ApiRoute::Models),
    ("GET", "/v1/models/{model}", ApiRoute::Model),
    ("POST", "/v1/models/{model}/predictions", ApiRoute::Predictions),
];

impl ApiRoute {
    /// The route that API Gateway found. What it found none for comes by `$default`, and
    /// the refusal says which methods the path takes.
    pub(super) fn of(event: &Event) -> Result<Self, Problem> {
        let key = event.route_key();
        let found = key.split_once(' ').and_then(|(method, path)| {
            ROUTES.iter().find(|route| (route.0, route.1) == (method, path))
        });
        if let Some((_, _, route)) = found {
            return Ok(*route);
        }
        let methods: Vec<&str> = ROUTES
            .iter()
            .filter(|(_, template, _)| fits(event.path(), template))
            .map(|(method, ..)| *method)
            .collect();
        Err(match methods.as_slice() {
            [] => Problem::no_such_path(),
            methods => Problem::method(methods),
        })
    }
}

/// Tells whether a path is one of a template such as `/v1/models/{model}`.
fn fits(path: &str, template: &str) -> bool {
    let mut segments = path.split('/');
    let fits = template.split('/').all(|expected| {
        segments.next().is_some_and(|found| {
            if expected.starts_with('{') { !found.is_empty() } else { found == expected }
        })
    });
    fits && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn route(key: &str, path: &str) -> Result<ApiRoute, Problem> {
        ApiRoute::of(&serde_json::from_value(json!({"routeKey": key, "rawPath": path})).unwrap())
    }

    #[test]
    fn the_template_gives_api_gateway_these_routes_and_one_for_all_others() {
        let template = include_str!("../../../../infra/saas.yaml");
        let keys = template.lines().filter_map(|line| line.trim().strip_prefix("RouteKey: "));
        let mut keys: Vec<&str> = keys.collect();
        let of = |(method, path, _): &(&str, &str, ApiRoute)| format!("{method} {path}");
        let mut expected: Vec<String> = ROUTES.iter().map(of).chain(["$default".into()]).collect();
        keys.sort_unstable();
        expected.sort_unstable();
        assert_eq!(keys, expected);
        for (method, path, expected) in ROUTES {
            assert_eq!(route(&format!("{method} {path}"), "/odd").unwrap(), expected);
        }
    }

    #[test]
    fn a_path_with_another_method_names_those_that_it_takes_and_an_unknown_one_does_not() {
        for (path, status, allow) in [
            ("/v1/models", 405, Some("GET")),
            ("/v1/models/churn", 405, Some("GET")),
            ("/v1/models/churn/predictions", 405, Some("POST")),
            ("/v1/models/", 404, None),
            ("/v1/models/churn/", 404, None),
            ("/v1/models/a/b/predictions", 404, None),
            ("/", 404, None),
            ("", 404, None),
        ] {
            let response = route("$default", path).unwrap_err().response(path, "id");
            assert_eq!(response.status_code, status, "{path}");
            assert_eq!(response.headers.get("allow").map(String::as_str), allow, "{path}");
        }
    }
}
