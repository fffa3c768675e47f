//! Blocks that zstd has packed.

use super::column::ColumnError;
use std::cell::RefCell;

/// What threads read blocks with. Blocks of more than this are rare, and their memory is not kept.
const KEPT_BYTES: usize = 1 << 20;

thread_local! {
    static UNPACKER: RefCell<Option<Unpacker>> = const { RefCell::new(None) };
}

struct Unpacker {
    context: zstd::bulk::Decompressor<'static>,
    data: Vec<u8>,
}

/// Calls `work` with what a zstd frame has, which must be so many bytes.
///
/// # Errors
/// It is no such frame, or `work` fails.
pub fn unpack<T>(
    packed: &[u8],
    size_bytes: usize,
    work: impl FnOnce(&[u8]) -> Result<T, ColumnError>,
) -> Result<T, ColumnError> {
    // Making the context and its memory anew takes longer than most blocks do.
    let mut unpacker = match UNPACKER.with_borrow_mut(Option::take) {
        Some(unpacker) => unpacker,
        None => {
            let context = zstd::bulk::Decompressor::new();
            let context = context.map_err(|_| ColumnError("no memory for a zstd stream"))?;
            Unpacker { context, data: Vec::new() }
        }
    };
    unpacker.data.clear();
    unpacker.data.reserve(size_bytes);
    let unpacked = unpacker.context.decompress_to_buffer(packed, &mut unpacker.data);
    let result = match unpacked {
        Ok(size) if size == size_bytes => work(&unpacker.data),
        Ok(_) => Err(ColumnError("wrong size")),
        Err(_) => Err(ColumnError("bad zstd stream")),
    };
    if unpacker.data.capacity() <= KEPT_BYTES {
        UNPACKER.set(Some(unpacker));
    }
    result
}
