//! Image files to pixels, within bounds: they come from strangers.

use std::io::Cursor;

use image::{ImageFormat, ImageReader, Limits, RgbImage};

use crate::inference::Error;

/// Longest file, in bytes.
const MAX_FILE_BYTES: usize = 32 << 20;
/// Longest side, in pixels.
const MAX_SIDE: u32 = 8192;
/// Most pixels. A projector scales them down to a fraction of this.
const MAX_PIXELS: u64 = 24_000_000;
/// Most memory that a decoder may take, in bytes.
const MAX_DECODER_BYTES: u64 = 512 << 20;

/// The formats that are read.
const FORMATS: [ImageFormat; 5] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::WebP,
    ImageFormat::Gif,
    ImageFormat::Bmp,
];

/// The pixels of an image; of an animation its first picture.
///
/// # Errors
/// [`Error::InvalidJob`] saying what is wrong with it.
pub(super) fn decode(file: &[u8]) -> Result<RgbImage, Error> {
    let refuse = |why: String| Err(Error::InvalidJob(why));
    if file.len() > MAX_FILE_BYTES {
        return refuse(format!(
            "the image has {} bytes; at most {MAX_FILE_BYTES} are supported",
            file.len()
        ));
    }
    let format = match image::guess_format(file) {
        Ok(format) if FORMATS.contains(&format) => format,
        _ => return refuse("invalid image: expected PNG, JPEG, WebP, GIF or BMP".into()),
    };
    let reader = || ImageReader::with_format(Cursor::new(file), format);
    // The size is in the head of the file: a bomb is refused before anything is unpacked.
    let (width, height) = match reader().into_dimensions() {
        Ok(size) => size,
        Err(error) => return refuse(format!("invalid image: {error}")),
    };
    let pixels = u64::from(width) * u64::from(height);
    if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE || pixels > MAX_PIXELS {
        return refuse(format!(
            "the image has {width}x{height} pixels; at most {MAX_PIXELS} in all and {MAX_SIDE} a side are supported"
        ));
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    let mut reader = reader();
    reader.limits(limits);
    match reader.decode() {
        Ok(image) => Ok(image.into_rgb8()),
        Err(error) => refuse(format!("invalid image: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: ImageFormat) -> Vec<u8> {
        let image = RgbImage::from_fn(5, 3, |x, y| image::Rgb([x as u8 * 50, y as u8 * 80, 7]));
        let mut file = Cursor::new(Vec::new());
        image.write_to(&mut file, format).unwrap();
        file.into_inner()
    }

    fn refused(file: &[u8], expected: &str) {
        let Err(Error::InvalidJob(text)) = decode(file) else {
            panic!("it was read");
        };
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn the_usual_formats_are_read() {
        for format in FORMATS {
            let image = decode(&written(format)).unwrap();
            assert_eq!(image.dimensions(), (5, 3), "{format:?}");
        }
    }

    #[test]
    fn what_is_no_image_is_refused() {
        refused(b"", "expected PNG");
        refused(b"no image at all", "expected PNG");
        let whole = written(ImageFormat::Png);
        refused(&whole[..whole.len() / 2], "invalid image");
        let mut changed = whole.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 0xff;
        refused(&changed, "invalid image");
        // A format that is known, but not read.
        refused(b"II*\0\x08\0\0\0", "expected PNG");
    }

    #[test]
    fn bombs_are_refused_by_their_heads() {
        // A bitmap's head that promises more than comes.
        let mut bomb = written(ImageFormat::Bmp);
        bomb[18..22].copy_from_slice(&60_000_u32.to_le_bytes());
        refused(&bomb, "60000x3 pixels");
        bomb[18..22].copy_from_slice(&8_000_u32.to_le_bytes());
        bomb[22..26].copy_from_slice(&8_000_u32.to_le_bytes());
        refused(&bomb, "8000x8000 pixels");
        refused(&vec![0; MAX_FILE_BYTES + 1], "bytes");
    }
}
