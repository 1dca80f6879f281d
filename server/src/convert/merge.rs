//! The parts of a split GGUF file (`model-00001-of-00003.gguf`, …) put together again.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::gguf::{Entries, Tensor, Writer};
use super::{Done, Error};
use crate::store::gguf::{Arrays, Gguf};

/// Copied at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Most metadata, which is held in memory; a vocabulary of 250,000 words with merges has about 12 MB.
const MAX_METADATA_BYTES: u64 = 256 << 20;

/// Metadata that only parts have.
const OF_PARTS: [&str; 3] = ["split.no", "split.count", "split.tensors.count"];

/// Merges `parts` into `output`.
///
/// # Errors
/// When the parts are not all the parts of one file, in order, or a file fails.
pub fn merge(parts: &[PathBuf], output: &Path, told: &mut dyn FnMut(Done)) -> Result<(), Error> {
    let mut opened = Vec::with_capacity(parts.len());
    for (index, path) in parts.iter().enumerate() {
        let mut file = File::open(path).map_err(Error::io("opening a part"))?;
        let gguf = Gguf::read(&mut file, Arrays::Skip)
            .map_err(|error| Error::refused(error.to_string()))?;
        if gguf.part() != Some((index as u64, parts.len() as u64)) {
            let (part, of) = (index + 1, parts.len());
            return Err(Error::refused(format!(
                "a file is not part {part} of {of} of a split model"
            )));
        }
        opened.push((file, gguf));
    }
    let entries = entries(&mut opened)?;
    let tensors: Vec<_> = opened
        .iter()
        .flat_map(|(_, gguf)| &gguf.tensors)
        .map(|tensor| Tensor {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            kind: tensor.kind,
        })
        .collect();
    check(&opened[0].1, &tensors)?;
    let mut writer = Writer::begin(output, &entries, &tensors, told)?;
    let mut piece = vec![0; PIECE_BYTES];
    for (file, gguf) in &mut opened {
        for tensor in &gguf.tensors {
            let start = gguf.data_start + tensor.offset;
            writer.tensor(|put| {
                file.seek(SeekFrom::Start(start))
                    .map_err(Error::io("reading a part"))?;
                let mut left = tensor.bytes;
                while left > 0 {
                    let length = usize::try_from(left)
                        .unwrap_or(PIECE_BYTES)
                        .min(PIECE_BYTES);
                    file.read_exact(&mut piece[..length])
                        .map_err(Error::io("reading a part"))?;
                    put(&piece[..length])?;
                    left -= length as u64;
                }
                Ok(())
            })?;
        }
    }
    writer.finish()
}

/// The first part's metadata as it stands there, less what makes it a part, and with the default alignment.
fn entries(opened: &mut [(File, Gguf)]) -> Result<Entries, Error> {
    let Some((file, first)) = opened.first_mut() else {
        return Err(Error::refused("there are no parts to merge"));
    };
    let metadata = first.places.last().map_or(0, |(_, place)| place.end);
    if metadata > MAX_METADATA_BYTES {
        return Err(Error::refused("the metadata is too large"));
    }
    let mut entries = Entries::default();
    for (key, place) in &first.places {
        if OF_PARTS.contains(&key.as_str()) || key == "general.alignment" {
            continue;
        }
        let length = usize::try_from(place.end - place.start).expect("all of it is not too large");
        let mut entry = vec![0; length];
        file.seek(SeekFrom::Start(place.start))
            .and_then(|_| file.read_exact(&mut entry))
            .map_err(Error::io("reading a part"))?;
        entries.put_encoded(&entry);
    }
    Ok(entries)
}

/// No part and no tensor is missing or there twice.
fn check(first: &Gguf, tensors: &[Tensor]) -> Result<(), Error> {
    let announced = first
        .metadata
        .get("split.tensors.count")
        .and_then(crate::store::gguf::Value::as_unsigned);
    if announced.is_some_and(|count| count != tensors.len() as u64) {
        return Err(Error::refused(
            "the parts do not have as many tensors as the first one says",
        ));
    }
    let mut names = std::collections::HashSet::new();
    for tensor in tensors {
        if !names.insert(&tensor.name) {
            let text = format!("tensor '{}' is in several parts", tensor.name);
            return Err(Error::refused(text));
        }
    }
    Ok(())
}
