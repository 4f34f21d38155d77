//! Bad input is a value, not a failure: it names the object and what to do about it.

use std::fmt;

use super::spec::ObjectName;

/// The object that a problem is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A Service.
    Service(ObjectName),
    /// An EndpointSlice.
    Slice(ObjectName),
    /// A manifest file, by path.
    File(String),
    /// The own Node, or something without a better name.
    Other(String),
}

impl Subject {
    /// What kind of thing it is, for a metric's label.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Service(_) => "service",
            Self::Slice(_) => "endpointslice",
            Self::File(_) => "file",
            Self::Other(_) => "other",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => write!(f, "Service {name}"),
            Self::Slice(name) => write!(f, "EndpointSlice {name}"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// Something that could not be used. The rest of the object, and every other object, is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The object.
    pub subject: Subject,
    /// What is wrong, what was done instead, what to do.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.text)
    }
}
