//! Images through llama.cpp's mtmd: a projector turns an image into embeddings that take the place of tokens.
//!
//! In a prompt an image is a run of placeholders, one for each token it takes in the cache: negative numbers that no vocabulary
//! has, the same for the same image. So the scheduler plans with them, and finds them again in its caches, as with tokens.
//! An image is computed as a whole when its first placeholder is fed.

mod decode;

use std::any::Any;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::rc::{Rc, Weak};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::mtmd::{
    MtmdBitmap, MtmdContext, MtmdContextParams, MtmdInputChunkType, MtmdInputChunks, MtmdInputText,
    mtmd_default_marker,
};
use sha2::{Digest, Sha256};

use super::complaints;
use super::layout::Extent;
use crate::inference::generate::Sight;
use crate::inference::{Error, Token};

/// Images whose numbers are remembered. One that is forgotten and comes again is only computed again.
const KNOWN_IMAGES: usize = 4096;

type Hash = [u8; 32];

/// What the engine sees with.
pub(super) struct Vision {
    state: RefCell<State>,
    /// Tokens of one micro-batch: where an image's parts see each other, all of them have to be in one.
    micro_batch: u32,
}

struct State {
    context: MtmdContext,
    /// The placeholder of each known image.
    known: HashMap<Hash, Token>,
    /// The same images, the oldest first.
    order: VecDeque<Hash>,
    /// Images that a job holds, by placeholder.
    held: HashMap<Token, Weak<Picture>>,
    /// Placeholders given so far.
    given: i32,
}

/// An image that was taken apart for the projector.
struct Picture {
    chunks: MtmdInputChunks,
    extent: Extent,
}

impl Vision {
    /// Loads a projector for a model.
    ///
    /// # Errors
    /// [`Error::LoadFailed`] with llama.cpp's reason.
    pub(super) fn new(
        path: &Path,
        model: &LlamaModel,
        threads: i32,
        micro_batch: u32,
    ) -> Result<Self, Error> {
        let failed =
            |reason: &str| Error::LoadFailed(format!("failed to load projector: {reason}"));
        let name = path
            .to_str()
            .ok_or_else(|| failed("its path is no UTF-8"))?;
        std::fs::File::open(path).map_err(|error| failed(&error.to_string()))?;
        let params = MtmdContextParams {
            use_gpu: false,
            print_timings: false,
            n_threads: threads,
            ..MtmdContextParams::default()
        };
        let (context, complaints) =
            complaints::heard(|| MtmdContext::init_from_file(name, model, &params));
        let context = context.map_err(|_| {
            failed(
                complaints
                    .first()
                    .map_or("llama.cpp gave no reason", String::as_str),
            )
        })?;
        if !context.support_vision() {
            return Err(failed("it does not see images"));
        }
        Ok(Self {
            state: RefCell::new(State {
                context,
                known: HashMap::new(),
                order: VecDeque::new(),
                held: HashMap::new(),
                given: 0,
            }),
            micro_batch,
        })
    }

    /// Takes an image apart and gives its placeholders.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] for what is no image or too large, [`Error::Unsupported`] for a projector that does what
    /// this engine cannot.
    pub(super) fn see(&self, file: &[u8]) -> Result<Sight, Error> {
        let state = &mut *self.state.borrow_mut();
        let hash: Hash = Sha256::digest(file).into();
        let known = state.known.get(&hash).copied();
        let held = known.and_then(|token| state.held.get(&token)?.upgrade());
        let picture = match held {
            Some(picture) => picture,
            None => Rc::new(self.take_apart(&state.context, file)?),
        };
        let token = known.unwrap_or_else(|| state.number(hash));
        state.held.retain(|_, picture| picture.strong_count() > 0);
        state.held.insert(token, Rc::downgrade(&picture));
        Ok(Sight {
            tokens: vec![token; picture.extent.tokens as usize],
            hold: picture as Rc<dyn Any>,
        })
    }

    fn take_apart(&self, context: &MtmdContext, file: &[u8]) -> Result<Picture, Error> {
        let pixels = decode::decode(file)?;
        let (width, height) = pixels.dimensions();
        let bitmap = MtmdBitmap::from_image_data(width, height, pixels.as_raw())
            .map_err(|error| Error::Engine(format!("taking an image over: {error}")))?;
        let marker = MtmdInputText {
            text: mtmd_default_marker().to_owned(),
            add_special: false,
            parse_special: true,
        };
        let chunks = context
            .tokenize(marker, &[&bitmap])
            .map_err(|error| Error::InvalidJob(format!("the image cannot be prepared: {error}")))?;
        let extent = Extent {
            tokens: u32::try_from(chunks.total_tokens()).unwrap_or(0),
            positions: u32::try_from(chunks.total_positions()).unwrap_or(0),
        };
        if extent.tokens == 0 || extent.positions == 0 {
            return Err(Error::Engine(
                "the projector makes nothing of an image".into(),
            ));
        }
        if context.decode_use_non_causal() {
            let largest = (0..chunks.len())
                .filter_map(|index| chunks.get(index))
                .filter(|chunk| chunk.chunk_type() != MtmdInputChunkType::Text)
                .map(|chunk| chunk.n_tokens())
                .max();
            // llama.cpp aborts.
            if largest.is_some_and(|tokens| tokens > self.micro_batch as usize) {
                return Err(Error::InvalidJob(format!(
                    "an image of this model needs {} tokens in one batch; ask for a num_batch of as many",
                    largest.unwrap_or_default()
                )));
            }
        }
        Ok(Picture { chunks, extent })
    }

    /// Computes an image into a sequence and says what it takes there.
    ///
    /// # Errors
    /// [`Error::Engine`]; the sequence is then in doubt.
    pub(super) fn compute(
        &self,
        token: Token,
        place: Place,
        context: &mut LlamaContext<'_>,
    ) -> Result<Extent, Error> {
        let state = &mut *self.state.borrow_mut();
        let picture = state.picture(token)?;
        let batch = i32::try_from(context.n_batch()).unwrap_or(i32::MAX);
        picture
            .chunks
            .eval_chunks(
                &mut state.context,
                context,
                place.position,
                place.sequence,
                batch,
                false,
            )
            .map(|_| picture.extent)
            .map_err(|error| Error::Engine(format!("computing an image: {error}")))
    }
}

/// Where an image comes to lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) sequence: i32,
    pub(super) position: i32,
}

/// Whether a token stands for a part of an image.
pub(super) fn is_placeholder(token: Token) -> bool {
    token < 0
}

impl State {
    fn picture(&self, token: Token) -> Result<Rc<Picture>, Error> {
        self.held
            .get(&token)
            .and_then(Weak::upgrade)
            .ok_or_else(|| Error::Engine(format!("nobody holds the image {token}")))
    }

    /// A placeholder for an image that has none. They come round after two billion images, when nothing of the first is
    /// left in a cache.
    fn number(&mut self, hash: Hash) -> Token {
        if self.order.len() >= KNOWN_IMAGES
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.given = self.given.checked_add(1).unwrap_or(1);
        let token = -self.given;
        self.known.insert(hash, token);
        self.order.push_back(hash);
        token
    }
}
