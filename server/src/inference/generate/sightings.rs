//! Jobs whose images are being taken in, which takes many steps' time: the engine does it beside them. Until it is done a
//! job is neither admitted nor refused, so that what is no image is refused in time.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Engine, Generate, Piece, Seeing, Sight};
use crate::inference::{Error, JobId};

/// The jobs, in the order they came. The loop bounds how many.
#[derive(Default)]
pub(super) struct Sightings(Vec<Looking>);

struct Looking {
    id: JobId,
    job: Generate,
    arrived: Instant,
    /// The image that is being taken in: one of each job at a time.
    now: Seeing,
    /// The files of those behind it.
    next: VecDeque<Vec<u8>>,
    sights: Vec<Sight>,
}

/// A job whose images were seen.
pub(super) struct Seen {
    pub(super) job: Generate,
    /// What its images came to, in their order.
    pub(super) sights: Vec<Sight>,
    pub(super) arrived: Instant,
}

impl Sightings {
    /// Takes a job on that has images, and gives back one that has none.
    pub(super) fn begin(
        &mut self,
        engine: &dyn Engine,
        id: JobId,
        mut job: Generate,
    ) -> Option<Generate> {
        let mut files: VecDeque<Vec<u8>> = (job.prompt.iter_mut())
            .filter_map(|piece| match piece {
                Piece::Image(file) => Some(std::mem::take(file)),
                Piece::Text(_) | Piece::Tokens(_) => None,
            })
            .collect();
        let Some(first) = files.pop_front() else {
            return Some(job);
        };
        self.0.push(Looking {
            id,
            job,
            arrived: Instant::now(),
            now: engine.see(first),
            next: files,
            sights: Vec::new(),
        });
        None
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets a job whose caller has left.
    pub(super) fn cancel(&mut self, id: JobId) {
        self.0.retain(|looking| looking.id != id);
    }

    /// The jobs that are done, and those of which an image is none.
    pub(super) fn finished(&mut self, engine: &dyn Engine) -> Vec<(JobId, Result<Seen, Error>)> {
        let mut finished = Vec::new();
        let mut index = 0;
        while index < self.0.len() {
            match self.0[index].advance(engine) {
                None => index += 1,
                Some(Err(error)) => {
                    let looking = self.0.remove(index);
                    finished.push((looking.id, Err(error)));
                }
                Some(Ok(())) => {
                    let Looking {
                        id,
                        job,
                        sights,
                        arrived,
                        ..
                    } = self.0.remove(index);
                    finished.push((
                        id,
                        Ok(Seen {
                            job,
                            sights,
                            arrived,
                        }),
                    ));
                }
            }
        }
        finished
    }
}

impl Looking {
    /// Goes on to the next image when one is seen, until all are.
    fn advance(&mut self, engine: &dyn Engine) -> Option<Result<(), Error>> {
        loop {
            match self.now.poll()? {
                Err(error) => return Some(Err(error)),
                Ok(sight) => self.sights.push(sight),
            }
            match self.next.pop_front() {
                None => return Some(Ok(())),
                Some(file) => self.now = engine.see(file),
            }
        }
    }
}
