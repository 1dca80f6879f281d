//! Images to be shown.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};

use super::qwen::TOKEN_SIDE;

/// Width and height of the images, in pixels.
pub const SIZE: [u32; 2] = [6 * TOKEN_SIDE, 4 * TOKEN_SIDE];

/// An image of stripes in two colours.
pub fn picture(one: [u8; 3], other: [u8; 3], format: ImageFormat) -> Vec<u8> {
    let [width, height] = SIZE;
    let colour = |x: u32| {
        if (x / 8).is_multiple_of(2) {
            one
        } else {
            other
        }
    };
    let image = RgbImage::from_fn(width, height, |x, _| Rgb(colour(x)));
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// Red stripes.
pub fn red() -> Vec<u8> {
    picture([250, 10, 10], [0, 0, 0], ImageFormat::Png)
}

/// Blue stripes.
pub fn blue() -> Vec<u8> {
    picture([10, 10, 250], [255, 255, 255], ImageFormat::Png)
}

/// The head of a PNG file that promises so many pixels a side and gives one.
pub fn bomb(side: u32) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let dot = RgbImage::from_pixel(1, 1, Rgb([1, 2, 3]));
    dot.write_to(&mut file, ImageFormat::Png).unwrap();
    let mut file = file.into_inner();
    // The signature and the length of the first chunk come before its name and what is in it, and its sum behind.
    file[16..20].copy_from_slice(&side.to_be_bytes());
    file[20..24].copy_from_slice(&side.to_be_bytes());
    let sum = checksum(&file[12..29]);
    file[29..33].copy_from_slice(&sum.to_be_bytes());
    file
}

/// The checksum of PNG's chunks (CRC-32).
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}
