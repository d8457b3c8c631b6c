//! The containers behind a production variant or a transform job.

use crate::records::model::ContainerDefinition;
use crate::serving::artifact::ArtifactError;
use crate::serving::container::{Asked, Container, Payload, Written};
use crate::serving::text::media_type;

/// The content type that is assumed of a request without one.
const UNTYPED: &str = "application/json";

/// The containers behind one production variant, one feeding the next.
pub(crate) struct Pipeline(Vec<Container>);

/// A container's own error answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ContainerError {
    pub(crate) status: u16,
    pub(crate) message: String,
    /// The name of the container.
    pub(crate) container: String,
}

/// The answer of a pipeline.
#[derive(Debug, PartialEq)]
pub(crate) struct ContainerAnswer {
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: &'static str,
}

impl Pipeline {
    /// Starts the containers, each with the artifact that its definition names.
    pub(crate) fn start(
        containers: Vec<(ContainerDefinition, Vec<u8>)>,
    ) -> Result<Self, ArtifactError> {
        let alone = containers.len() == 1;
        let start = |(i, (definition, archive)): (usize, (ContainerDefinition, Vec<u8>))| {
            let name = if alone { "primary".into() } else { format!("container-{}", i + 1) };
            Container::start(name, definition, &archive)
        };
        containers.into_iter().enumerate().map(start).collect::<Result<_, _>>().map(Self)
    }

    /// Answers a request, as the last container writes it.
    ///
    /// A request without a type is refused as JSON: `sagemaker_serve.py` would take
    /// it for CSV, but aws/sagemaker-containers, which calls it, has put
    /// `application/json` there before (`_worker.py`, `Request.content_type`). The
    /// ensemble's container is not published, and is held to be no kinder.
    pub(crate) fn invoke(
        &self,
        content_type: &str,
        accept: &str,
        asked: Asked,
        body: Vec<u8>,
    ) -> Result<ContainerAnswer, ContainerError> {
        let content_type = if content_type.is_empty() { UNTYPED } else { content_type };
        let mut payload = Payload::Csv(body);
        let mut written = Written::Csv;
        for (i, container) in self.0.iter().enumerate() {
            let fail = |(status, message)| ContainerError {
                status,
                message,
                container: container.name.clone(),
            };
            if i == 0 && media_type(content_type) != "text/csv" {
                return Err(fail((
                    415,
                    format!("'{content_type}' is an unsupported content type."),
                )));
            }
            if i + 1 == self.0.len() {
                written = container.written(accept).map_err(fail)?;
            }
            payload = container.serve(payload).map_err(fail)?;
        }
        let last = self.0.last();
        match (payload, last) {
            (Payload::Answers(rows), Some(last)) => Ok(ContainerAnswer {
                body: last.write(&rows, written, asked),
                content_type: written.content_type(),
            }),
            _ => Err(ContainerError {
                status: 406,
                message: "feature-transform answers application/x-recordio-protobuf only".into(),
                container: last.map(|container| container.name.clone()).unwrap_or_default(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::records::model::Environment;
    use crate::serving::artifact::Artifact;

    #[test]
    fn a_pipeline_refuses_what_its_containers_do_not_take() {
        let archive = Artifact::pack_processor(2, &[]).unwrap();
        let definition = ContainerDefinition {
            image: None,
            model_data_url: None,
            container_hostname: None,
            environment: Environment::new(),
        };
        let pipeline = Pipeline::start(vec![(definition, archive)]).unwrap();
        let refused = |content_type: &str, accept: &str, body: &str| {
            let body = body.as_bytes().to_vec();
            pipeline.invoke(content_type, accept, Asked::Online, body).unwrap_err()
        };
        let status = |content_type, accept, body| refused(content_type, accept, body).status;
        assert_eq!(status("application/octet-stream", "text/csv", "1,2"), 415);
        let untyped = refused("", "text/csv", "1,2");
        assert_eq!(untyped.to_string(), "'application/json' is an unsupported content type.");
        assert_eq!(untyped.status, 415);
        assert_eq!(status("text/csv", "text/csv", "1,2,3"), 400);
        assert_eq!(status("text/csv", "text/csv", ""), 400);
        assert_eq!(status("text/csv; charset=utf-8", "", "1,2"), 406);
    }
}
