//! One CloudEvent, made from its attributes.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    InvalidEvent, Kind, Message, SpecVersion,
    names::{CE_PREFIX, CE_SPECVERSION},
    value::to_header,
};

impl Message {
    /// A CloudEvent in binary mode; [`crate::convert::to_structured`] makes a structured one of it.
    ///
    /// The attributes are all but `specversion` and `datacontenttype`, by their names, as canonical
    /// strings.
    ///
    /// # Errors
    ///
    /// With these attributes it is no valid CloudEvent.
    pub fn event<'a>(
        version: SpecVersion,
        attributes: impl IntoIterator<Item = (&'a str, &'a str)>,
        content_type: HeaderValue,
        data: Bytes,
    ) -> Result<Self, InvalidEvent> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(
            CE_SPECVERSION,
            match version {
                SpecVersion::V03 => const { HeaderValue::from_static("0.3") },
                SpecVersion::V1 => const { HeaderValue::from_static("1.0") },
            },
        );
        for (name, value) in attributes {
            let refused = || InvalidEvent::attribute_must(name, "cannot be a header");
            let header = HeaderName::try_from([CE_PREFIX, name].concat()).map_err(|_| refused())?;
            let value = HeaderValue::try_from(to_header(value)).map_err(|_| refused())?;
            headers.try_append(header, value).map_err(|_| refused())?;
        }
        let event = Self::new(headers, data);
        match Kind::of(&event)? {
            Kind::Event { .. } => Ok(event),
            // The content type says that it is something else.
            Kind::Plain | Kind::Batch => Err(InvalidEvent::NotAnEvent),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{AttributeName, attribute};

    const JSON: HeaderValue = HeaderValue::from_static("application/json");

    fn event(attributes: &[(&str, &str)]) -> Result<Message, InvalidEvent> {
        let attributes = attributes.iter().copied();
        Message::event(SpecVersion::V1, attributes, JSON, Bytes::from_static(b"1"))
    }

    #[test]
    fn an_event_of_attributes_reads_back_as_they_were() {
        let type_ = "paid: 100 % \"café\"";
        let made = event(&[("id", "1"), ("source", "/s"), ("type", type_)]).unwrap();
        assert!(matches!(Kind::of(&made), Ok(Kind::Event { .. })));
        let read = attribute(&made, &AttributeName::new("type").unwrap());
        assert_eq!(read.as_deref(), Some(type_));
    }

    #[test]
    fn attributes_that_make_no_event_are_refused_by_name() {
        for (attributes, named) in [
            (&[("id", "1"), ("source", "/s")][..], "type"),
            (&[("id", "1"), ("source", "/s"), ("type", "")], "type"),
            (&[("id", "1"), ("source", "a b"), ("type", "t")], "source"),
            (
                &[
                    ("id", "1"),
                    ("source", "/s"),
                    ("type", "t"),
                    ("flow id", "x"),
                ],
                "flow id",
            ),
            (
                &[("id", "1"), ("id", "2"), ("source", "/s"), ("type", "t")],
                "id",
            ),
            (&[("id", "1\n"), ("source", "/s"), ("type", "t")], "id"),
        ] {
            let refused = event(attributes).unwrap_err();
            assert_eq!(refused.attribute(), Some(named), "{refused}");
        }
    }

    #[test]
    fn a_content_type_of_something_else_is_refused() {
        let batch = HeaderValue::from_static("application/cloudevents-batch+json");
        let attributes = [("id", "1"), ("source", "/s"), ("type", "t")];
        let refused = Message::event(SpecVersion::V1, attributes, batch, Bytes::new());
        assert!(matches!(refused, Err(InvalidEvent::NotAnEvent)));
    }
}
