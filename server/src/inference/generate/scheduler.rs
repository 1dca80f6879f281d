//! Who advances in the next step: decisions only, no engine, clock, thread or I/O.
