//! From what happened to what is said: one [`Report`], shown as a table and a page, written as JSON, raw samples and CSV.
//!
//! `analyse` makes the report from a run's record with the help of `stats`; `model` is the report itself; everything else
//! shows it and computes nothing, so that no figure exists in only one form and a saved report shows what the run showed.
//! A figure that was not measured is absent (`null`, "n/a"), with the reason beside it.

mod across;
mod analyse;
mod benchstat;
mod csv;
mod format;
mod html;
mod json;
mod model;
mod outputs;
mod raw;
mod schema;
mod text;

pub use across::{Side, across};
pub use analyse::analyse;
pub use benchstat::write as write_benchstat;
pub use csv::write as write_csv;
pub use format::{bytes, duration, percent};
pub use html::write as write_html;
pub use json::{read, write as write_json};
pub use model::Report;
pub use outputs::{Outputs, write};
pub use schema::{Form, schema};
pub use text::{Page, render};
