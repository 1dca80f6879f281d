//! Which texts are computed together.
