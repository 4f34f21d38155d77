//! Source translation: masquerading (A40–A46).

pub mod masquerade;
