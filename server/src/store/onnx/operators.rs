//! The operators that a graph may use: those that encoders of text are made of, as PyTorch, Optimum and ONNX Runtime's own
//! optimiser and quantiser write them.
//!
//! ONNX Runtime knows hundreds more, for trees, support vector machines, images, sound and strings. No model that is served
//! here needs them, few people have ever tried them with malice, and several have read what is not theirs
//! (`ArrayFeatureExtractor`, `SVMClassifier` and their kin). A file that names one is refused before the runtime sees it.
//!
//! Names: <https://onnx.ai/onnx/operators/> and
//! <https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>.

use std::collections::BTreeSet;

use super::{StoreError, broken};

/// Kinds of operators that a graph may use; real ones have some tens.
const MAX_OPERATORS: usize = 1024;

/// An operator, or a function of the model's own that stands for one.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Operator {
    /// Whose it is; empty for ONNX's own.
    pub(super) domain: String,
    pub(super) name: String,
}

/// What a model uses, and what it brings along.
#[derive(Debug, Default)]
pub(super) struct Operators {
    used: BTreeSet<Operator>,
    functions: BTreeSet<Operator>,
}

impl Operators {
    /// Takes note of an operator that a node names.
    ///
    /// # Errors
    /// If there are too many kinds.
    pub(super) fn note_use(&mut self, operator: Operator) -> Result<(), StoreError> {
        insert_bounded(&mut self.used, operator)
    }

    /// Takes note of a function that the model brings, whose nodes are looked at like any others.
    ///
    /// # Errors
    /// If there are too many.
    pub(super) fn note_function(&mut self, function: Operator) -> Result<(), StoreError> {
        insert_bounded(&mut self.functions, function)
    }

    /// Whether everything that is used may be.
    ///
    /// # Errors
    /// With the name of the first operator that may not.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let refused = |operator: &&Operator| !operator.is_allowed() && !self.brings(operator);
        match self.used.iter().find(refused) {
            None => Ok(()),
            Some(Operator { domain, name }) if domain.is_empty() => Err(broken(format!(
                "it uses the operator '{name}', which is none that encoders of text need"
            ))),
            Some(Operator { domain, name }) => Err(broken(format!(
                "it uses the operator '{name}' of '{domain}', which is none that encoders of text need"
            ))),
        }
    }

    /// Whether the model brings a function of this name. One that is named like an operator of the runtime's does not count:
    /// the runtime prefers its own.
    fn brings(&self, operator: &Operator) -> bool {
        !operator.has_runtimes_domain() && self.functions.contains(operator)
    }
}

impl Operator {
    fn is_allowed(&self) -> bool {
        let list: &[&str] = match self.domain.as_str() {
            "" | "ai.onnx" => STANDARD,
            "com.microsoft" => RUNTIMES_OWN,
            _ => return false,
        };
        list.binary_search(&self.name.as_str()).is_ok()
    }

    fn has_runtimes_domain(&self) -> bool {
        let domain = self.domain.as_str();
        let is_within = |family: &str| {
            domain
                .strip_prefix(family)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        domain.is_empty()
            || ["ai.onnx", "com.microsoft", "com.ms", "org.pytorch"]
                .into_iter()
                .any(is_within)
    }
}

fn insert_bounded(set: &mut BTreeSet<Operator>, operator: Operator) -> Result<(), StoreError> {
    set.insert(operator);
    if set.len() > MAX_OPERATORS {
        return Err(broken(format!(
            "it has more than {MAX_OPERATORS} kinds of operators"
        )));
    }
    Ok(())
}

/// ONNX's own, in the order of their names.
const STANDARD: &[&str] = &[
    "Abs",
    "Acos",
    "Add",
    "And",
    "ArgMax",
    "ArgMin",
    "Atan",
    "Attention",
    "AveragePool",
    "BatchNormalization",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Compress",
    "Concat",
    "ConcatFromSequence",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvInteger",
    "Cos",
    "CumSum",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "DynamicQuantizeLinear",
    "Einsum",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "EyeLike",
    "Flatten",
    "Floor",
    "GRU",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Greater",
    "GreaterOrEqual",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "If",
    "InstanceNormalization",
    "IsInf",
    "IsNaN",
    "LSTM",
    "LayerNormalization",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "LogSoftmax",
    "Loop",
    "LpNormalization",
    "MatMul",
    "MatMulInteger",
    "Max",
    "MaxPool",
    "Mean",
    "MeanVarianceNormalization",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "NonZero",
    "Not",
    "OneHot",
    "Or",
    "PRelu",
    "Pad",
    "Pow",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
    "RMSNormalization",
    "Range",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "RotaryEmbedding",
    "Round",
    "Scan",
    "ScatterElements",
    "ScatterND",
    "Selu",
    "SequenceAt",
    "SequenceConstruct",
    "SequenceEmpty",
    "SequenceInsert",
    "SequenceLength",
    "Shape",
    "Sigmoid",
    "Sign",
    "SimplifiedLayerNormalization",
    "Sin",
    "Size",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "Split",
    "SplitToSequence",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Swish",
    "Tan",
    "Tanh",
    "Tile",
    "TopK",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Where",
    "Xor",
];

/// ONNX Runtime's, which its optimiser and quantiser put in the place of several standard ones, in the order of their names.
const RUNTIMES_OWN: &[&str] = &[
    "Attention",
    "BiasAdd",
    "BiasGelu",
    "DequantizeLinear",
    "DynamicQuantizeLSTM",
    "DynamicQuantizeMatMul",
    "EmbedLayerNormalization",
    "FastGelu",
    "FusedConv",
    "FusedGemm",
    "FusedMatMul",
    "GatedRelativePositionBias",
    "GatherBlockQuantized",
    "Gelu",
    "GroupQueryAttention",
    "MatMulInteger16",
    "MatMulIntegerToFloat",
    "MatMulNBits",
    "MultiHeadAttention",
    "QAttention",
    "QEmbedLayerNormalization",
    "QGemm",
    "QLinearAdd",
    "QLinearConcat",
    "QLinearLeakyRelu",
    "QLinearMul",
    "QLinearReduceMean",
    "QLinearSigmoid",
    "QLinearSoftmax",
    "QLinearWhere",
    "QuantizeLinear",
    "QuickGelu",
    "ReduceSumInteger",
    "RelativePositionBias",
    "RotaryEmbedding",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
    "TransposeMatMul",
    "Trilu",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(domain: &str, name: &str) -> Operator {
        Operator {
            domain: domain.into(),
            name: name.into(),
        }
    }

    #[test]
    fn the_lists_are_in_order() {
        for list in [STANDARD, RUNTIMES_OWN] {
            let out_of_order = list.windows(2).find(|pair| pair[0] >= pair[1]);
            assert_eq!(out_of_order, None);
        }
    }

    #[test]
    fn a_function_stands_for_what_the_runtime_has_not_and_for_nothing_else() {
        for (domain, is_fine) in [
            ("pkg.torch", true),
            ("ai.onnxed", true),
            ("", false),
            ("ai.onnx", false),
            ("ai.onnx.ml", false),
            ("com.microsoft", false),
            ("com.microsoft.nchwc", false),
        ] {
            let mut operators = Operators::default();
            operators
                .note_use(operator(domain, "SVMClassifier"))
                .unwrap();
            assert!(operators.check().is_err(), "{domain}");
            operators
                .note_function(operator(domain, "SVMClassifier"))
                .unwrap();
            assert_eq!(operators.check().is_ok(), is_fine, "{domain}");
        }
    }

    #[test]
    fn kinds_are_bounded() {
        let mut operators = Operators::default();
        let mut note = |number: usize| operators.note_use(operator("x", &number.to_string()));
        (0..MAX_OPERATORS).for_each(|number| note(number).unwrap());
        note(0).unwrap();
        assert!(note(MAX_OPERATORS).is_err());
    }
}
