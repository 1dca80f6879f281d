//! Attention as ggml states it.

use llama_cpp_sys_2 as sys;

use super::super::Kernels;
use super::super::attention::{Attention, Cells, Form, Mask, Queries, Shares, Sizes};
use super::{ALIGNMENT, Team, is_ordinary};

/// An operation that may be ours.
pub struct Operation(Attention);

/// A tensor that lies where the processor reads it.
///
/// # Safety
/// `tensor` is null or valid.
unsafe fn ordinary<'a>(tensor: *const sys::ggml_tensor) -> Option<&'a sys::ggml_tensor> {
    // SAFETY: the caller's promise.
    unsafe { tensor.as_ref() }.filter(|tensor| is_ordinary(tensor))
}

fn size(number: i64) -> Option<usize> {
    usize::try_from(number).ok()
}

/// Whether a tensor's numbers in a row follow each other, and all begin where one may begin.
fn is_aligned(tensor: &sys::ggml_tensor, number: usize) -> bool {
    tensor.nb[0] == number
        && tensor.nb[1..]
            .iter()
            .all(|stride| stride.is_multiple_of(number))
}

/// How keys or values lie in a tensor `[number, cell, head, stream]`. `None` for what cannot be read.
fn cells(tensor: &sys::ggml_tensor) -> Option<Cells> {
    let form = match tensor.type_ {
        sys::GGML_TYPE_F16 if is_aligned(tensor, size_of::<u16>()) => Form::Halves,
        sys::GGML_TYPE_F16 => return None,
        other => {
            // SAFETY: it is the type of a tensor, and ggml's table lives as long as the process.
            let traits = unsafe { &*sys::ggml_get_type_traits(other) };
            let whole = size(traits.blck_size).is_some_and(|block| {
                block > 0 && size(tensor.ne[0]).is_some_and(|row| row % block == 0)
            });
            Form::Other(
                traits
                    .to_float
                    .filter(|_| whole && tensor.nb[0] == traits.type_size)?,
            )
        }
    };
    Some(Cells {
        form,
        bytes: tensor.data.cast::<u8>().cast_const(),
        strides: [tensor.nb[1], tensor.nb[2], tensor.nb[3]],
    })
}

impl Operation {
    /// `None` for what is left to llama.cpp in any case.
    ///
    /// # Safety
    /// `op` is a valid tensor with valid sources, as ggml passes it.
    pub unsafe fn new(op: *const sys::ggml_tensor) -> Option<Self> {
        // SAFETY: the caller's promise.
        let (output, queries, keys, values) = unsafe {
            let output = ordinary(op)?;
            let source = |n: usize| ordinary(output.src[n]);
            (output, source(0)?, source(1)?, source(2)?)
        };
        let (mask, sinks) = (output.src[3], output.src[4]);
        let sizes = Sizes {
            streams: size(queries.ne[3])?,
            tokens: size(queries.ne[1])?,
            heads: size(queries.ne[2])?,
            shared: size(keys.ne[2])?,
            cells: size(keys.ne[1])?,
            key: size(keys.ne[0])?,
            value: size(values.ne[0])?,
        };
        let float = size_of::<f32>();
        let row = float * sizes.value;
        let row_of_heads = row * sizes.heads;
        let fits = output.op == sys::GGML_OP_FLASH_ATTN_EXT
            && [queries, output]
                .iter()
                .all(|tensor| tensor.type_ == sys::GGML_TYPE_F32)
            && is_aligned(queries, float)
            && output.nb == [float, row, row_of_heads, row_of_heads * sizes.tokens]
            && queries.ne[0] == keys.ne[0]
            && keys.ne[1..] == values.ne[1..]
            && keys.ne[3] == queries.ne[3]
            && sizes.are_known();
        if !fits {
            return None;
        }
        let mask = match mask.is_null() {
            true => None,
            // SAFETY: as above.
            false => Some(mask_of(unsafe { ordinary(mask) }?, &sizes)?),
        };
        let sinks = match sinks.is_null() {
            true => None,
            false => {
                // SAFETY: as above.
                let sinks = unsafe { ordinary(sinks) }?;
                let is_one_each = sinks.type_ == sys::GGML_TYPE_F32
                    && sinks.nb[0] == float
                    && size(sinks.ne[0]) == Some(sizes.heads);
                Some(is_one_each.then_some(sinks.data.cast::<f32>().cast_const())?)
            }
        };
        let number = |n: usize| f32::from_bits(output.op_params[n].cast_unsigned());
        Some(Self(Attention {
            sizes,
            scale: number(0),
            most_bias: number(1),
            softcap: number(2),
            queries: Queries {
                bytes: queries.data.cast::<u8>().cast_const(),
                strides: [queries.nb[1], queries.nb[2], queries.nb[3]],
            },
            keys: cells(keys)?,
            values: cells(values)?,
            mask,
            sinks,
            output: output.data.cast(),
        }))
    }

    /// Bytes of working memory that so many threads need.
    pub fn work_bytes(&self, threads: usize) -> usize {
        Shares::new(self.0.sizes, threads).work_bytes() + ALIGNMENT
    }

    /// A thread's part. False if the working memory is not what was asked for.
    ///
    /// # Safety
    /// The operation is as it was made, and every thread of the team calls this.
    pub unsafe fn compute(&self, kernels: Kernels, team: &Team) -> bool {
        let shares = Shares::new(self.0.sizes, team.threads);
        if team.work_bytes < self.work_bytes(team.threads) {
            return false;
        }
        // SAFETY: ggml gives all threads one working memory of the size asked for. Each looks at its own share, waits for the others,
        // and then computes tasks that no other does.
        unsafe {
            let work = team.work.add(team.work.align_offset(ALIGNMENT));
            self.0.look(&shares, kernels, work, team.thread);
            team.count_from_threads();
            team.meet();
            let mut task = team.thread;
            while task < shares.tasks() {
                self.0.compute(&shares, kernels, work, team.thread, task);
                task = team.next();
            }
        }
        true
    }
}

/// A mask `[cell, token, 1, stream]`, or the same one for all streams.
fn mask_of(mask: &sys::ggml_tensor, sizes: &Sizes) -> Option<Mask> {
    let streams = size(mask.ne[3])?;
    let fits = mask.type_ == sys::GGML_TYPE_F16
        && is_aligned(mask, size_of::<u16>())
        && size(mask.ne[0])? >= sizes.cells
        && size(mask.ne[1])? >= sizes.tokens
        && mask.ne[2] == 1
        && (streams == 1 || streams == sizes.streams);
    fits.then_some(Mask {
        bytes: mask.data.cast::<u8>().cast_const(),
        strides: [mask.nb[1], if streams == 1 { 0 } else { mask.nb[3] }],
    })
}
