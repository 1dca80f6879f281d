//! Layers that stand beside the graph in files of their own: sentence-transformers' `2_Dense`, and the heads of [`super::heads`].

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// A matrix, a bias and a function.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dense {
    inputs: usize,
    /// A row of `inputs` numbers for each output.
    weights: Vec<f32>,
    bias: Vec<f32>,
    function: Function,
}

/// What is done with a layer's numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Function {
    Identity,
    Tanh,
    Relu,
    Gelu,
    Sigmoid,
    Silu,
}

impl Function {
    /// By its name in PyTorch or transformers, such as `torch.nn.modules.activation.Tanh` or `gelu`.
    pub fn named(name: &str) -> Result<Self, String> {
        let last = name.rsplit('.').next().unwrap_or_default();
        Ok(match last.to_lowercase().as_str() {
            "identity" | "linear" => Self::Identity,
            "tanh" => Self::Tanh,
            "relu" => Self::Relu,
            "gelu" | "geluactivation" => Self::Gelu,
            "sigmoid" => Self::Sigmoid,
            "silu" | "swish" => Self::Silu,
            _ => return Err(format!("the activation function '{name}' is not supported")),
        })
    }

    fn of(self, x: f32) -> f32 {
        match self {
            Self::Identity => x,
            Self::Tanh => x.tanh(),
            Self::Relu => x.max(0.0),
            Self::Gelu => 0.5 * x * (1.0 + error_function(x * std::f32::consts::FRAC_1_SQRT_2)),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Silu => x / (1.0 + (-x).exp()),
        }
    }
}

/// The error function, to 1.5e-7 (Abramowitz and Stegun, 7.1.26).
fn error_function(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let polynomial = ((((1.061_405_4 * t - 1.453_152) * t + 1.421_413_7) * t - 0.284_496_74) * t
        + 0.254_829_6)
        * t;
    (1.0 - polynomial * (-x * x).exp()).copysign(x)
}

impl Dense {
    /// The layer `name` of a file of safetensors, if it has one.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(
        file: &SafeTensors<'_>,
        name: &str,
        function: Function,
    ) -> Result<Option<Self>, String> {
        let Ok(matrix) = file.tensor(&format!("{name}.weight")) else {
            return Ok(None);
        };
        let &[outputs, inputs] = matrix.shape() else {
            return Err(format!("'{name}.weight' is not a matrix"));
        };
        if outputs == 0 || inputs == 0 {
            return Err(format!("'{name}.weight' is empty"));
        }
        let bias = match file.tensor(&format!("{name}.bias")) {
            Ok(bias) => floats(&bias)?,
            Err(_) => vec![0.0; outputs],
        };
        if bias.len() != outputs {
            return Err(format!("'{name}.bias' is not as long as its layer is wide"));
        }
        Ok(Some(Self {
            inputs,
            weights: floats(&matrix)?,
            bias,
            function,
        }))
    }

    /// Numbers that it takes.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Numbers that it gives.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Computes it on `inputs` numbers.
    pub fn apply(&self, input: &[f32]) -> Vec<f32> {
        let rows = self.weights.chunks_exact(self.inputs).zip(&self.bias);
        rows.map(|(row, bias)| {
            let product: f32 = row.iter().zip(input).map(|(weight, x)| weight * x).sum();
            self.function.of(product + bias)
        })
        .collect()
    }
}

/// A tensor's numbers, whatever floats they are.
fn floats(tensor: &TensorView<'_>) -> Result<Vec<f32>, String> {
    let pairs = || {
        let pairs = tensor.data().chunks_exact(2);
        pairs.map(|pair| [pair[0], pair[1]])
    };
    Ok(match tensor.dtype() {
        Dtype::F32 => tensor
            .data()
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("chunks of four")))
            .collect(),
        Dtype::F16 => pairs()
            .map(|pair| f16::from_le_bytes(pair).to_f32())
            .collect(),
        Dtype::BF16 => pairs()
            .map(|pair| bf16::from_le_bytes(pair).to_f32())
            .collect(),
        other => return Err(format!("its numbers are of type {other:?}, not floats")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tensors: &[(&str, Vec<usize>, Vec<f32>)]) -> Vec<u8> {
        let bytes: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(.., numbers)| numbers.iter().flat_map(|x| x.to_le_bytes()).collect())
            .collect();
        let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
            (
                *name,
                TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
            )
        });
        safetensors::serialize(views, None).unwrap()
    }

    #[test]
    fn a_layer_is_a_matrix_a_bias_and_a_function() {
        let bytes = file(&[
            (
                "linear.weight",
                vec![3, 2],
                vec![1.0, 2.0, 3.0, 4.0, -5.0, 6.0],
            ),
            ("linear.bias", vec![3], vec![0.5, 0.0, 0.0]),
        ]);
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let layer = |function| Dense::read(&file, "linear", function).unwrap().unwrap();
        assert_eq!(
            layer(Function::Identity).apply(&[1.0, -1.0]),
            [-0.5, -1.0, -11.0]
        );
        assert_eq!(layer(Function::Relu).apply(&[1.0, 0.0]), [1.5, 3.0, 0.0]);
        assert_eq!(
            (
                layer(Function::Relu).inputs(),
                layer(Function::Relu).outputs()
            ),
            (2, 3)
        );
        assert_eq!(Dense::read(&file, "other", Function::Relu), Ok(None));
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        let bytes = file(&[
            ("a.weight", vec![2], vec![1.0, 2.0]),
            ("b.weight", vec![1, 2], vec![1.0, 2.0]),
            ("b.bias", vec![2], vec![1.0, 2.0]),
        ]);
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let error = |name| Dense::read(&file, name, Function::Identity).unwrap_err();
        assert!(error("a").contains("not a matrix"));
        assert!(error("b").contains("not as long"));
    }

    #[test]
    fn functions_are_what_their_names_say() {
        let check = |name: &str, expected: f32| {
            let found = Function::named(name).unwrap().of(1.5);
            assert!((found - expected).abs() < 1e-6, "{name}: {found}");
        };
        check("torch.nn.modules.linear.Identity", 1.5);
        check("torch.nn.modules.activation.Tanh", 0.905_148_3);
        check("gelu", 1.399_789_2);
        check("Sigmoid", 0.817_574_5);
        check("silu", 1.226_361_7);
        assert!(
            Function::named("Softsign")
                .unwrap_err()
                .contains("'Softsign'")
        );
    }
}
