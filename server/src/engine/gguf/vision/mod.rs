//! Images through llama.cpp's mtmd: a projector turns an image into embeddings that take the place of tokens.
//!
//! In a prompt an image is a run of placeholders, one for each token it takes in the cache: negative numbers that no
//! vocabulary has, the same for the same image. So the scheduler plans with them, and finds them again in its caches, as
//! with tokens. An image comes in three steps: it is prepared (unpacked, scaled, counted) when its job arrives, encoded
//! when its turn has come and no cache has it, and put into the sequence as a whole with its first placeholder. The first
//! two take long: each is done on a thread of its own, so that nobody else's tokens wait for it.

mod decode;
mod gallery;
mod hand;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::mtmd::{
    MtmdBitmap, MtmdContext, MtmdContextParams, MtmdInputChunk, MtmdInputChunkType,
    MtmdInputChunks, MtmdInputText, mtmd_default_marker,
};
use sha2::{Digest, Sha256};

use self::gallery::{Gallery, Hash};
use self::hand::Hand;
use super::complaints;
use super::ffi::context::{Batch, Context, Entry};
use super::ffi::projector::{Place, Projector};
use super::layout::Extent;
use crate::inference::generate::{Seeing, Seen, Sight};
use crate::inference::{Error, Token};

/// What the engine sees with. Dropped, it waits for what its threads are at: they use the model.
pub(super) struct Vision {
    // The threads end before what they work with.
    preparing: Hand<Order>,
    encoding: Hand<Weak<Picture>>,
    eye: Arc<Eye>,
}

/// How a projector is loaded.
pub(super) struct Parts<'a> {
    pub(super) path: &'a Path,
    pub(super) model: &'a LlamaModel,
    pub(super) threads: i32,
    /// Tokens of one micro-batch: where an image's parts see each other, all of them have to be in one.
    pub(super) micro_batch: u32,
}

/// What the threads share.
struct Eye {
    projector: Projector,
    gallery: Mutex<Gallery<Picture>>,
    micro_batch: u32,
}

/// An image to be prepared.
struct Order {
    file: Vec<u8>,
    seen: Seen,
}

/// An image that was taken apart for the projector.
struct Picture {
    chunks: MtmdInputChunks,
    extent: Extent,
    encoded: Mutex<Encoded>,
}

/// How far a picture's encoding is.
enum Encoded {
    No,
    /// It is among the orders, once.
    Ordered,
    /// The embeddings of each chunk; none for text.
    Done(Vec<Vec<f32>>),
    Failed(Error),
}

impl Vision {
    /// Loads a projector for a model, which must outlive this.
    ///
    /// # Errors
    /// [`Error::LoadFailed`] with llama.cpp's reason.
    pub(super) fn new(parts: &Parts<'_>) -> Result<Self, Error> {
        let failed =
            |reason: &str| Error::LoadFailed(format!("failed to load projector: {reason}"));
        let name = (parts.path.to_str()).ok_or_else(|| failed("its path is no UTF-8"))?;
        std::fs::File::open(parts.path).map_err(|error| failed(&error.to_string()))?;
        let params = MtmdContextParams {
            use_gpu: false,
            print_timings: false,
            n_threads: parts.threads,
            ..MtmdContextParams::default()
        };
        let (context, complaints) =
            complaints::heard(|| MtmdContext::init_from_file(name, parts.model, &params));
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
        let eye = Arc::new(Eye {
            projector: Projector::new(context, parts.model),
            gallery: Mutex::new(Gallery::default()),
            micro_batch: parts.micro_batch,
        });
        let preparing = {
            let eye = Arc::clone(&eye);
            Hand::new("images", move |order: Order| {
                if order.seen.is_wanted() {
                    order.seen.tell(eye.prepare(&order.file));
                }
            })
        };
        let encoding = {
            let eye = Arc::clone(&eye);
            Hand::new("projector", move |picture: Weak<Picture>| {
                if let Some(picture) = picture.upgrade() {
                    let encoded = eye.encode(&picture);
                    *picture.encoded() = encoded.map_or_else(Encoded::Failed, Encoded::Done);
                }
            })
        };
        Ok(Self {
            preparing,
            encoding,
            eye,
        })
    }

    /// Has an image prepared. Whoever asks bounds how many are at the same time.
    pub(super) fn see(&self, file: Vec<u8>) -> Seeing {
        let (seeing, seen) = Seeing::begin();
        self.preparing.give(Order { file, seen });
        seeing
    }

    /// How many of these tokens can be computed without waiting for an image to be encoded. The first image that is in
    /// the way is being encoded after this: so at most one for each sequence is, or waits for that.
    pub(super) fn ready(&self, tokens: &[Token]) -> usize {
        let runs = tokens.chunk_by(|one, other| one == other);
        runs.take_while(|run| !is_placeholder(run[0]) || self.is_encoded(run[0]))
            .map(<[Token]>::len)
            .sum()
    }

    fn is_encoded(&self, token: Token) -> bool {
        // That nobody holds it is for the step to say.
        let Some(picture) = self.eye.gallery().held(token) else {
            return true;
        };
        let mut encoded = picture.encoded();
        match *encoded {
            Encoded::Done(_) | Encoded::Failed(_) => true,
            Encoded::Ordered => false,
            Encoded::No => {
                *encoded = Encoded::Ordered;
                self.encoding.give(Arc::downgrade(&picture));
                false
            }
        }
    }

    /// Computes an image into a sequence and says what it takes there. One that was not encoded before is now.
    ///
    /// # Errors
    /// [`Error::Engine`]; the sequence is then in doubt.
    pub(super) fn compute(
        &self,
        token: Token,
        mut place: Place,
        context: &mut Context<'_>,
    ) -> Result<Extent, Error> {
        let picture = (self.eye.gallery().held(token))
            .ok_or_else(|| Error::Engine(format!("nobody holds the image {token}")))?;
        // The embeddings are large, and what is in the cache is not computed again.
        let encoded = std::mem::replace(&mut *picture.encoded(), Encoded::No);
        let encoded = match encoded {
            Encoded::Done(encoded) => encoded,
            Encoded::Failed(error) => return Err(error),
            Encoded::No | Encoded::Ordered => self.eye.encode(&picture)?,
        };
        for (index, mut embeddings) in encoded.into_iter().enumerate() {
            let chunk = picture.chunk(index);
            if is_text(&chunk) {
                compute_text(&chunk, place, context)?;
            } else if !(self.eye.projector).decode(
                &picture.chunks,
                index,
                &mut embeddings,
                place,
                context,
            ) {
                return Err(Error::Engine("computing an image failed".into()));
            }
            place.position += chunk.n_positions();
        }
        Ok(picture.extent)
    }
}

impl Eye {
    /// Takes an image apart and gives its placeholders.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] for what is no image or too large, [`Error::Engine`] if llama.cpp fails.
    fn prepare(&self, file: &[u8]) -> Result<Sight, Error> {
        let hash: Hash = Sha256::digest(file).into();
        let known = self.gallery().known(&hash);
        let picture = match known {
            Some(picture) => picture,
            None => Arc::new(self.take_apart(file)?),
        };
        let token = self.gallery().hang(hash, &picture);
        Ok(Sight {
            tokens: vec![token; picture.extent.tokens as usize],
            hold: picture,
        })
    }

    fn take_apart(&self, file: &[u8]) -> Result<Picture, Error> {
        let pixels = decode::decode(file)?;
        let (width, height) = pixels.dimensions();
        let bitmap = MtmdBitmap::from_image_data(width, height, pixels.as_raw())
            .map_err(|error| Error::Engine(format!("taking an image over: {error}")))?;
        let marker = MtmdInputText {
            text: mtmd_default_marker().to_owned(),
            add_special: false,
            parse_special: true,
        };
        let context = self.projector.context();
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
        let picture = Picture {
            chunks,
            extent,
            encoded: Mutex::new(Encoded::No),
        };
        if context.decode_use_non_causal() {
            let images = picture.chunks().filter(|chunk| !is_text(chunk));
            let largest = images.map(|chunk| chunk.n_tokens()).max();
            // llama.cpp aborts.
            if largest.is_some_and(|tokens| tokens > self.micro_batch as usize) {
                return Err(Error::InvalidJob(format!(
                    "an image of this model needs {} tokens in one batch; ask for a num_batch of as many",
                    largest.unwrap_or_default()
                )));
            }
        }
        Ok(picture)
    }

    /// The embeddings of a picture's chunks.
    fn encode(&self, picture: &Picture) -> Result<Vec<Vec<f32>>, Error> {
        let began = Instant::now();
        let embeddings = |(index, chunk): (usize, MtmdInputChunk<'_>)| {
            if is_text(&chunk) {
                return Ok(Vec::new());
            }
            (self.projector.encode(&picture.chunks, index))
                .ok_or_else(|| Error::Engine("encoding an image failed".into()))
        };
        let encoded = picture.chunks().enumerate().map(embeddings).collect();
        let milliseconds = began.elapsed().as_millis();
        tracing::debug!(tokens = picture.extent.tokens, %milliseconds, "encoded an image");
        encoded
    }

    fn gallery(&self) -> MutexGuard<'_, Gallery<Picture>> {
        // Nothing in it can be left half done.
        self.gallery.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Picture {
    fn chunks(&self) -> impl Iterator<Item = MtmdInputChunk<'_>> {
        (0..self.chunks.len()).map(|index| self.chunk(index))
    }

    fn chunk(&self, index: usize) -> MtmdInputChunk<'_> {
        self.chunks
            .get(index)
            .expect("callers count up to what there is")
    }

    fn encoded(&self) -> MutexGuard<'_, Encoded> {
        // It is set whole.
        self.encoded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Computes the tokens that some projectors put around an image.
fn compute_text(
    chunk: &MtmdInputChunk<'_>,
    place: Place,
    context: &mut Context<'_>,
) -> Result<(), Error> {
    let room = context.batch_tokens();
    let mut batch = Batch::new(room);
    let mut positions = place.position..;
    let tokens = chunk.text_tokens().unwrap_or_default();
    for part in tokens.chunks(room as usize) {
        batch.clear();
        for (token, position) in part.iter().zip(&mut positions) {
            let entry = Entry {
                token: token.0,
                position,
                sequence: place.sequence,
                output: false,
            };
            assert!(batch.add(entry), "it has room for as many");
        }
        context
            .decode(&batch)
            .map_err(|error| Error::Engine(format!("computing the marks of an image: {error}")))?;
    }
    Ok(())
}

fn is_text(chunk: &MtmdInputChunk<'_>) -> bool {
    chunk.chunk_type() == MtmdInputChunkType::Text
}

/// Whether a token stands for a part of an image.
pub(super) fn is_placeholder(token: Token) -> bool {
    token < 0
}
