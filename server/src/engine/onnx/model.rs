//! A loaded encoder: tokenizer, session, and what the graph's output means.

use std::path::Path;

use super::folder::{self, Description, Folder, Purpose};
use super::heads::{self, LoadedHead};
use super::judge::{self, Own};
use super::modules::AfterTokens;
use super::pool;
use super::session::{Options, Session, Values};
use super::tokenizer::Tokenizer;
use super::{Computation, Spec};
use crate::inference::encode::{
    self, Company, Encoder, Frame, Head, NamedHead, Piece, Prompts, Tokenized, try_out,
};
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
    heads: Vec<LoadedHead>,
    named: Vec<NamedHead>,
    prompts: Prompts,
    max_tokens: u32,
    company: Company,
    /// What computes, and why, for people.
    choice: String,
}

/// What computes.
enum Engine {
    /// ONNX Runtime.
    Graph(Graph),
    /// Our own encoder, which was found to agree with the graph.
    Own(Box<Own>),
}

/// A graph and those of its outputs that are used.
struct Graph {
    session: Session,
    /// The output that answers.
    main: String,
    /// The output with a vector per token, if there is one.
    tokens: Option<String>,
}

/// The output that answers, and what it holds.
#[derive(Clone, Debug, PartialEq)]
struct Output {
    name: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// A vector per text.
    Texts,
    /// A vector per token.
    Tokens(AfterTokens),
    /// A number per label.
    Labels,
    /// A number per token and label.
    TokenLabels,
    /// A number per token and word of the vocabulary.
    Words,
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
        let tokenizer = tokenizer(folder, &description)?;
        let after = description.after.clone();
        let own = Own::open(
            stored,
            &spec.source,
            after.clone().unwrap_or_default(),
            threads,
        )
        .map_err(|reason| Error::LoadFailed(reason.to_string()))?;
        let vectors = own.encoder.width();
        let (kind, width) = match &own.classifier {
            None => {
                let after = after.map_err(Error::LoadFailed)?;
                let width = after.width(vectors).map_err(Error::LoadFailed)?;
                (Kind::Tokens(after), width)
            }
            Some(classifier) => (Kind::Labels, classifier.labels()),
        };
        let heads = heads(folder, &kind, true)?;
        heads.iter().try_for_each(|head| head.check(vectors))?;
        let choice = format!(
            "own 8-bit encoder ({}), made with {} of ONNX Runtime",
            own.encoder.kernels(),
            own.agreement()
        );
        Ok(Self {
            tokenizer,
            head: head(&kind, width, 1, &description)?,
            engine: Engine::Own(Box::new(own)),
            kind,
            named: heads.iter().map(|head| head.named.clone()).collect(),
            heads,
            prompts: description.prompts,
            max_tokens: description.max_tokens,
            company: Company::Any,
            choice,
        })
    }

    /// Loads the graph and tries it on two short texts, so that what cannot work fails here and not at the first request.
    pub(super) fn load_graph(spec: &Spec, threads: usize) -> Result<Self, Error> {
        let folder = Folder(&spec.files);
        let description = folder::describe(folder)?;
        let tokenizer = tokenizer(folder, &description)?;
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
        let Output { name: main, kind } = choose(&outputs, &description)?;
        let tokens = match kind {
            Kind::Tokens(_) => Some(main.clone()),
            _ => named(&outputs, TOKEN_OUTPUTS, 3),
        };
        let heads = heads(folder, &kind, tokens.is_some())?;
        let mut model = Self {
            tokenizer,
            engine: Engine::Graph(Graph {
                session,
                main,
                tokens,
            }),
            kind,
            head: Head::Embedding { dimensions: 0 },
            named: heads.iter().map(|head| head.named.clone()).collect(),
            heads,
            prompts: description.prompts.clone(),
            max_tokens: description.max_tokens,
            company: Company::Alone,
            choice: String::new(),
        };
        let trial = try_out(&mut model)
            .map_err(|error| Error::LoadFailed(format!("the model does not work: {error}")))?;
        if trial.bears_company {
            model.company = Company::SameWidth;
        }
        model.head = head(&model.kind, trial.width, trial.tokens, &description)?;
        model.check_layers()?;
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

    /// Whether our own encoder computes it.
    pub fn is_ours(&self) -> bool {
        matches!(self.engine, Engine::Own(_))
    }

    /// What computes, and why, for people.
    pub fn choice(&self) -> &str {
        &self.choice
    }

    /// What happens to the vectors of tokens, where that is left to us.
    pub fn after_tokens(&self) -> Option<AfterTokens> {
        match &self.kind {
            Kind::Tokens(after) => Some(after.clone()),
            Kind::Texts | Kind::Labels | Kind::TokenLabels | Kind::Words => None,
        }
    }

    /// Whether the layers beside the graph take what it gives.
    fn check_layers(&mut self) -> Result<(), Error> {
        if !self.gives_tokens() {
            return Ok(());
        }
        let token = self.split("x")?;
        let mut text = self.tokenizer.frame().single(&token, self.max_tokens)?;
        text.output = encode::Output::Tokens;
        let vectors = self.encode(&[&text])?.remove(0);
        let width = vectors.len() / text.ids.len();
        if let Kind::Tokens(after) = &self.kind {
            after.width(width).map_err(Error::LoadFailed)?;
        }
        self.heads.iter().try_for_each(|head| head.check(width))
    }
}

fn tokenizer(folder: Folder<'_>, description: &Description) -> Result<Tokenizer, Error> {
    let json = folder.read("tokenizer.json")?.ok_or_else(|| {
        Error::LoadFailed("the model has no tokenizer.json, which ONNX models need".into())
    })?;
    Tokenizer::new(&json, description.cut)
}

/// The heads beside the main output. They stand on the vectors of tokens, which a classifier does not give.
fn heads(folder: Folder<'_>, kind: &Kind, gives_tokens: bool) -> Result<Vec<LoadedHead>, Error> {
    match kind {
        Kind::Tokens(after) => heads::read(folder, after),
        Kind::Texts if gives_tokens => heads::read(folder, &AfterTokens::default()),
        Kind::Texts | Kind::Labels | Kind::TokenLabels | Kind::Words => Ok(Vec::new()),
    }
}

/// What the main output means, of which a text of so many tokens has `numbers`.
fn head(
    kind: &Kind,
    numbers: usize,
    tokens: usize,
    description: &Description,
) -> Result<Head, Error> {
    if numbers == 0 {
        return Err(Error::LoadFailed("the graph's results are empty".into()));
    }
    let dimensions = u32::try_from(numbers).unwrap_or(u32::MAX);
    let labels = &description.head;
    let names = |count| labels.names(count).map_err(Error::LoadFailed);
    Ok(match kind {
        Kind::Texts | Kind::Tokens(_) => Head::Embedding { dimensions },
        Kind::Words => Head::Sparse { dimensions },
        Kind::Labels => Head::Labels {
            names: names(numbers)?,
            activation: labels.activation_of(numbers),
        },
        Kind::TokenLabels => Head::TokenLabels {
            names: names(numbers / tokens)?,
        },
    })
}

impl Encoder for Model {
    fn head(&self) -> &Head {
        &self.head
    }

    fn named_heads(&self) -> &[NamedHead] {
        &self.named
    }

    fn gives_tokens(&self) -> bool {
        match (&self.kind, &self.engine) {
            (Kind::Tokens(_), _) => true,
            (Kind::Texts, Engine::Graph(graph)) => graph.tokens.is_some(),
            _ => false,
        }
    }

    fn prompts(&self) -> &Prompts {
        &self.prompts
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

    fn spell(&self, text: &str) -> Result<Vec<Piece>, Error> {
        self.tokenizer.spell(text)
    }

    fn is_special(&self, id: u32) -> bool {
        self.tokenizer.is_special(id)
    }

    fn join(&self, names: Vec<String>) -> Result<String, Error> {
        self.tokenizer.join(names)
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
        let finish = Finish {
            kind: &self.kind,
            heads: &self.heads,
        };
        match &mut self.engine {
            Engine::Own(own) => run_own(own, finish, batch),
            Engine::Graph(graph) => run_graph(graph, finish, batch),
        }
    }
}

/// What makes a text's result out of what the graph, or our own encoder, gave.
#[derive(Clone, Copy)]
struct Finish<'a> {
    kind: &'a Kind,
    heads: &'a [LoadedHead],
}

impl Finish<'_> {
    /// From the numbers of a text's tokens, `width` for each.
    fn tokens(self, text: &Tokenized, tokens: &[f32], width: usize) -> Vec<f32> {
        let passed_over = text.passed_over as usize * width;
        match (text.output, self.kind) {
            (encode::Output::Tokens, _) => tokens.to_vec(),
            (encode::Output::Named(head), _) => self.heads[head].logits(tokens, width),
            (encode::Output::Head, Kind::Tokens(after)) => {
                after.apply(&tokens[passed_over..], width)
            }
            (encode::Output::Head, Kind::Words) => pool::splade(tokens, width),
            (encode::Output::Head, Kind::TokenLabels | Kind::Texts | Kind::Labels) => {
                tokens.to_vec()
            }
        }
    }

    /// Whether the main output has numbers for each token.
    fn is_of_tokens(self, text: &Tokenized) -> bool {
        let is_main = text.output == encode::Output::Head;
        !(is_main && matches!(self.kind, Kind::Texts | Kind::Labels))
    }
}

fn run_own(
    own: &mut Own,
    finish: Finish<'_>,
    batch: &[&Tokenized],
) -> Result<Vec<Vec<f32>>, Error> {
    let width = own.encoder.width();
    let texts = own.encoder.encode(batch)?.into_iter().zip(batch);
    Ok(texts
        .map(|(tokens, text)| match &own.classifier {
            Some(classifier) if text.output == encode::Output::Head => {
                classifier.logits(&tokens, width)
            }
            _ => finish.tokens(text, &tokens, width),
        })
        .collect())
}

/// Runs the graph once, or twice where texts need different outputs of it.
fn run_graph(
    graph: &mut Graph,
    finish: Finish<'_>,
    batch: &[&Tokenized],
) -> Result<Vec<Vec<f32>>, Error> {
    let Graph {
        session,
        main,
        tokens,
    } = graph;
    let needs = |text: &Tokenized| match text.output {
        encode::Output::Head => main.as_str(),
        encode::Output::Named(_) | encode::Output::Tokens => tokens.as_deref().unwrap_or(main),
    };
    let mut results = vec![Vec::new(); batch.len()];
    let mut names: Vec<&str> = batch.iter().map(|text| needs(text)).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let indices = (0..batch.len()).filter(|&index| needs(batch[index]) == name);
        let indices: Vec<usize> = indices.collect();
        let texts: Vec<&Tokenized> = indices.iter().map(|&index| batch[index]).collect();
        let values = session.run(&texts, name)?;
        for (index, result) in indices
            .into_iter()
            .zip(split(values, name, finish, &texts)?)
        {
            results[index] = result;
        }
    }
    Ok(results)
}

/// The texts' results out of an output for all of them.
fn split(
    values: Values,
    name: &str,
    finish: Finish<'_>,
    texts: &[&Tokenized],
) -> Result<Vec<Vec<f32>>, Error> {
    let Values { shape, numbers } = values;
    let is_of_tokens = texts.first().is_some_and(|text| finish.is_of_tokens(text));
    match shape[..] {
        [count, width] if !is_of_tokens && count == texts.len() && width > 0 => {
            Ok(numbers.chunks_exact(width).map(<[f32]>::to_vec).collect())
        }
        [count, tokens, width]
            if is_of_tokens
                && count == texts.len()
                && width > 0
                && texts
                    .iter()
                    .all(|text| (1..=tokens).contains(&text.ids.len())) =>
        {
            let rows = numbers.chunks_exact(tokens * width).zip(texts);
            Ok(rows
                .map(|(row, text)| finish.tokens(text, &row[..text.ids.len() * width], width))
                .collect())
        }
        _ => Err(Error::Engine(format!(
            "the graph's output '{name}' has the shape {shape:?} for {} texts",
            texts.len()
        ))),
    }
}

/// The output of this rank that has one of these names.
fn named(outputs: &[(&str, usize)], names: &[&str], rank: usize) -> Option<String> {
    let mut found = outputs.iter().filter(|(name, _)| names.contains(name));
    found
        .find(|output| output.1 == rank)
        .map(|(name, _)| (*name).to_owned())
}

/// Chooses the output that answers, from names and ranks.
fn choose(outputs: &[(&str, usize)], description: &Description) -> Result<Output, Error> {
    let only = |rank: usize| match outputs {
        [(name, only)] if *only == rank => Some((*name).to_owned()),
        _ => None,
    };
    let texts = named(outputs, TEXT_OUTPUTS, 2);
    let tokens = named(outputs, TOKEN_OUTPUTS, 3).or_else(|| only(3).filter(|name| name != LOGITS));
    let logits = named(outputs, &[LOGITS], 2);
    let of_tokens = named(outputs, &[LOGITS], 3);
    let is_classifier = description.purpose == Purpose::Labels;
    let (name, kind) = if let Some(name) = logits.or_else(|| only(2).filter(|_| is_classifier))
        && (is_classifier || (texts.is_none() && tokens.is_none()))
    {
        (name, Kind::Labels)
    } else if description.purpose == Purpose::TokenLabels
        && let Some(name) = of_tokens.clone().or_else(|| only(3))
    {
        (name, Kind::TokenLabels)
    } else if description.purpose == Purpose::Words
        && texts.is_none()
        && let Some(name) = of_tokens
    {
        // Embedding models keep this purpose from their training; those have no logits.
        (name, Kind::Words)
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
