//! A loaded encoder: tokenizer, session, and what the graph's output means.

use std::path::Path;

use super::folder::{self, AfterTokens, Description, Folder};
use super::judge::{self, Own};
use super::session::{Options, Session, Values};
use super::tokenizer::Tokenizer;
use super::{Computation, Spec};
use crate::inference::encode::{Activation, Company, Encoder, Frame, Head, Tokenized, try_out};
use crate::inference::{Error, Token};

/// Outputs that hold a vector per text, by the names that exporters use.
const TEXT_OUTPUTS: &[&str] = &["sentence_embedding", "text_embeds"];

/// Outputs that hold a vector per token.
const TOKEN_OUTPUTS: &[&str] = &["last_hidden_state", "token_embeddings"];

/// Output of a classifier.
const LOGITS: &str = "logits";

/// A loaded ONNX encoder.
pub(super) struct Model {
    tokenizer: Tokenizer,
    engine: Engine,
    kind: Kind,
    head: Head,
    max_tokens: u32,
    company: Company,
    /// What computes, and why, for people.
    choice: String,
}

/// What computes.
enum Engine {
    /// ONNX Runtime, and the output that is used.
    Graph(Session, String),
    /// Our own encoder, which was found to agree with the graph.
    Own(Box<Own>),
}

/// The output that is used, and what it holds.
#[derive(Clone, Debug, PartialEq)]
struct Output {
    name: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// A vector per text.
    Texts,
    /// A vector per token.
    Tokens(AfterTokens),
    /// A number per label.
    Labels,
}

impl Model {
    /// Loads a model: its stored encoder where it has one, else its graph, or what our own encoder makes of it.
    ///
    /// # Errors
    /// [`Error::LoadFailed`] if a file is missing, damaged, or not of a text encoder.
    pub fn load(spec: &Spec, threads: usize) -> Result<Self, Error> {
        if spec.computation == Computation::Auto
            && let Some(stored) = &spec.stored
        {
            match Self::load_stored(spec, stored, threads) {
                Ok(model) => return Ok(model),
                Err(error) => tracing::warn!(%error, "the stored encoder is not used"),
            }
        }
        let mut model = Self::load_graph(spec, threads)?;
        model.choose_engine(spec, threads);
        Ok(model)
    }

    /// Maps the stored encoder, for which neither the graph nor ONNX Runtime is needed.
    fn load_stored(spec: &Spec, stored: &Path, threads: usize) -> Result<Self, Error> {
        let folder = Folder(&spec.files);
        let description = folder::describe(folder)?;
        let tokenizer = tokenizer(folder)?;
        let after = description.after.clone();
        let own = Own::open(
            stored,
            &spec.source,
            after.clone().unwrap_or_default(),
            threads,
        )
        .map_err(|reason| Error::LoadFailed(reason.to_string()))?;
        let (kind, width) = match &own.classifier {
            None => (
                Kind::Tokens(after.map_err(Error::LoadFailed)?),
                own.encoder.width(),
            ),
            Some(classifier) => (Kind::Labels, classifier.labels()),
        };
        let choice = format!(
            "own 8-bit encoder ({}), made with {} of ONNX Runtime",
            own.encoder.kernels(),
            own.agreement()
        );
        Ok(Self {
            tokenizer,
            max_tokens: description.max_tokens,
            head: head(kind, width, description)?,
            engine: Engine::Own(Box::new(own)),
            kind,
            company: Company::Any,
            choice,
        })
    }

    /// Loads the graph and tries it on two short texts, so that what cannot work fails here and not at the first request.
    pub(super) fn load_graph(spec: &Spec, threads: usize) -> Result<Self, Error> {
        let folder = Folder(&spec.files);
        let description = folder::describe(folder)?;
        let tokenizer = tokenizer(folder)?;
        let library = spec.library.as_deref().ok_or_else(|| {
            Error::LoadFailed(
                "this model needs the ONNX Runtime library, which was not found".into(),
            )
        })?;
        let session = Session::open(&Options {
            library,
            graph: &spec.graph,
            graph_name: &spec.graph_name,
            folder,
            threads,
            padding: tokenizer.padding(),
            first_position: description.first_position,
        })?;
        let outputs: Vec<(&str, usize)> = session
            .outputs()
            .map(|(name, shape)| (name, shape.len()))
            .collect();
        let Output { name, kind } = choose(&outputs, &description)?;
        let mut model = Self {
            tokenizer,
            engine: Engine::Graph(session, name),
            kind,
            head: Head::Embedding { dimensions: 0 },
            max_tokens: description.max_tokens,
            company: Company::Alone,
            choice: String::new(),
        };
        let trial = try_out(&mut model)
            .map_err(|error| Error::LoadFailed(format!("the model does not work: {error}")))?;
        if trial.bears_company {
            model.company = Company::SameWidth;
        }
        model.head = head(model.kind, trial.width, description)?;
        Ok(model)
    }

    /// Leaves the graph to ONNX Runtime, or takes our own encoder where that is as good.
    fn choose_engine(&mut self, spec: &Spec, threads: usize) {
        let library = spec.library.as_deref().and_then(Path::file_name);
        let library = library.unwrap_or_default().display();
        self.choice = if spec.computation == Computation::Graph {
            format!("{library}, as configured")
        } else {
            match judge::own(self, spec, threads) {
                Ok(own) => {
                    let kernels = own.encoder.kernels();
                    let choice = format!(
                        "own 8-bit encoder ({kernels}), {} of {library}",
                        own.agreement()
                    );
                    self.engine = Engine::Own(Box::new(own));
                    self.company = Company::Any;
                    choice
                }
                Err(reason) => format!("{library}, because of the model {reason}"),
            }
        };
    }

    /// What computes, and why, for people.
    pub fn choice(&self) -> &str {
        &self.choice
    }

    /// What happens to the vectors of tokens, where that is left to us.
    pub fn after_tokens(&self) -> Option<AfterTokens> {
        match self.kind {
            Kind::Tokens(after) => Some(after),
            Kind::Texts | Kind::Labels => None,
        }
    }
}

impl Encoder for Model {
    fn head(&self) -> &Head {
        &self.head
    }

    fn max_tokens(&self) -> u32 {
        self.max_tokens
    }

    fn company(&self) -> Company {
        self.company
    }

    fn frame(&self) -> &Frame {
        self.tokenizer.frame()
    }

    fn split(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.tokenizer.split(text)
    }

    fn tokens(
        &mut self,
        text: &str,
        add_special: bool,
        parse_special: bool,
    ) -> Result<Vec<Token>, Error> {
        self.tokenizer.tokens(text, add_special, parse_special)
    }

    fn detokenize(&self, tokens: &[Token]) -> Result<String, Error> {
        self.tokenizer.detokenize(tokens)
    }

    fn pieces(&self, tokens: &[Token]) -> Result<Vec<Vec<u8>>, Error> {
        self.tokenizer.pieces(tokens)
    }

    fn encode(&mut self, batch: &[&Tokenized]) -> Result<Vec<Vec<f32>>, Error> {
        match &mut self.engine {
            Engine::Graph(session, output) => run_graph(session, output, self.kind, batch),
            Engine::Own(own) => run_own(own, self.kind, batch),
        }
    }
}

fn tokenizer(folder: Folder<'_>) -> Result<Tokenizer, Error> {
    let json = folder.read("tokenizer.json")?.ok_or_else(|| {
        Error::LoadFailed("the model has no tokenizer.json, which ONNX models need".into())
    })?;
    Tokenizer::new(&json)
}

/// What the model's results mean, which have `width` numbers.
fn head(kind: Kind, width: usize, description: Description) -> Result<Head, Error> {
    if width == 0 {
        return Err(Error::LoadFailed("the graph's results are empty".into()));
    }
    let Kind::Labels = kind else {
        let dimensions = u32::try_from(width).unwrap_or(u32::MAX);
        return Ok(Head::Embedding { dimensions });
    };
    let mut names = description.labels;
    if names.keys().any(|index| *index >= width) {
        return Err(Error::LoadFailed(format!(
            "config.json names {} labels, but the graph has {width}",
            names.len()
        )));
    }
    Ok(Head::Labels {
        names: (0..width)
            .map(|index| {
                names
                    .remove(&index)
                    .unwrap_or_else(|| format!("LABEL_{index}"))
            })
            .collect(),
        activation: match description.activation {
            // A softmax over a single label would always be 1.
            None | Some(Activation::Softmax) if width == 1 => Activation::Sigmoid,
            None => Activation::Softmax,
            Some(activation) => activation,
        },
    })
}

fn run_own(own: &mut Own, kind: Kind, batch: &[&Tokenized]) -> Result<Vec<Vec<f32>>, Error> {
    let width = own.encoder.width();
    let texts = own.encoder.encode(batch)?.into_iter();
    Ok(match (kind, &own.classifier) {
        (Kind::Tokens(after), _) => texts.map(|tokens| after.apply(&tokens, width)).collect(),
        (_, Some(classifier)) => texts
            .map(|tokens| classifier.logits(&tokens, width))
            .collect(),
        (Kind::Texts | Kind::Labels, None) => unreachable!("the judge passes no such encoder"),
    })
}

fn run_graph(
    session: &mut Session,
    output: &str,
    kind: Kind,
    batch: &[&Tokenized],
) -> Result<Vec<Vec<f32>>, Error> {
    let Values { shape, numbers } = session.run(batch, output)?;
    let unexpected = || {
        Error::Engine(format!(
            "the graph's output '{}' has the shape {shape:?} for {} texts",
            output,
            batch.len()
        ))
    };
    match (kind, &shape[..]) {
        (Kind::Texts | Kind::Labels, &[texts, width]) if texts == batch.len() && width > 0 => {
            Ok(numbers.chunks_exact(width).map(<[f32]>::to_vec).collect())
        }
        (Kind::Tokens(after), &[texts, tokens, width])
            if texts == batch.len()
                && width > 0
                && batch
                    .iter()
                    .all(|text| (1..=tokens).contains(&text.ids.len())) =>
        {
            let rows = numbers.chunks_exact(tokens * width);
            Ok(rows
                .zip(batch)
                .map(|(row, text)| after.apply(&row[..text.ids.len() * width], width))
                .collect())
        }
        _ => Err(unexpected()),
    }
}

/// Chooses the output that answers, from names and ranks.
fn choose(outputs: &[(&str, usize)], description: &Description) -> Result<Output, Error> {
    let named = |names: &[&str], rank: usize| {
        let mut found = outputs.iter().filter(|(name, _)| names.contains(name));
        found
            .find(|output| output.1 == rank)
            .map(|(name, _)| (*name).to_owned())
    };
    let only = |rank: usize| match outputs {
        [(name, only)] if *only == rank => Some((*name).to_owned()),
        _ => None,
    };
    let texts = named(TEXT_OUTPUTS, 2);
    let tokens = named(TOKEN_OUTPUTS, 3).or_else(|| only(3).filter(|name| name != LOGITS));
    let logits = named(&[LOGITS], 2);
    let (name, kind) = if let Some(name) =
        logits.or_else(|| only(2).filter(|_| description.classifier))
        && (description.classifier || (texts.is_none() && tokens.is_none()))
    {
        (name, Kind::Labels)
    } else if let Some(name) = texts {
        (name, Kind::Texts)
    } else if let Some(name) = tokens {
        let after = description.after.clone().map_err(Error::LoadFailed)?;
        (name, Kind::Tokens(after))
    } else if let Some(name) = only(2) {
        (name, Kind::Texts)
    } else {
        let names: Vec<String> = outputs
            .iter()
            .map(|(name, rank)| format!("{name} (rank {rank})"))
            .collect();
        return Err(Error::LoadFailed(format!(
            "no output of the graph is a vector or label scores in 32-bit floats; it has {}",
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        )));
    };
    Ok(Output { name, kind })
}
