//! Which of several graphs of one model is meant where nobody says so. Exporters put variants of `model.onnx` beside it, with
//! endings that tell how they were made.

/// Where exporters put the graph that others are variants of.
const USUAL: [&str; 2] = ["onnx/model.onnx", "model.onnx"];

/// Variants that processors compute well, the most exact first. A model of whole floats is the best to begin with: its 8-bit form
/// is made here, and judged.
const VARIANTS: [&str; 9] = [
    "model_optimized",
    "model_O2",
    "model_O1",
    "model_O3",
    "model_int8",
    "model_quantized",
    "model_qint8",
    "model_uint8",
    "model_fp16",
];

/// The graph that is meant: the usual one, or the only one, or the first of the variants. `None` if no name says which.
#[must_use]
pub fn preferred<'a>(graphs: &[&'a str]) -> Option<&'a str> {
    let usual = USUAL
        .iter()
        .find_map(|usual| graphs.iter().find(|graph| *graph == usual));
    match (graphs, usual) {
        ([only], _) => Some(only),
        (_, Some(usual)) => Some(usual),
        _ => VARIANTS.iter().find_map(|variant| {
            let is_it = |graph: &&&str| stem(graph) == *variant;
            graphs.iter().find(is_it).copied()
        }),
    }
}

/// A graph's file name without folder and extension.
#[must_use]
pub fn stem(graph: &str) -> &str {
    let file = graph.rsplit('/').next().unwrap_or(graph);
    file.strip_suffix(".onnx").unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_graph_goes_before_its_variants_and_they_have_an_order() {
        let check = |graphs: &[&str], expected: Option<&str>| {
            assert_eq!(preferred(graphs), expected, "{graphs:?}");
        };
        check(
            &["onnx/model_int8.onnx", "onnx/model.onnx"],
            Some("onnx/model.onnx"),
        );
        check(&["model.onnx", "onnx/model.onnx"], Some("onnx/model.onnx"));
        check(&["a/anything.onnx"], Some("a/anything.onnx"));
        check(
            &[
                "onnx/model_fp16.onnx",
                "onnx/model_quantized.onnx",
                "onnx/model_q4.onnx",
            ],
            Some("onnx/model_quantized.onnx"),
        );
        check(
            &["model_quantized.onnx", "model_int8.onnx"],
            Some("model_int8.onnx"),
        );
        check(&["a.onnx", "b.onnx"], None);
        check(&["model_q4.onnx", "model_bnb4.onnx"], None);
        check(&[], None);
    }
}
