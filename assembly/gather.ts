/**
 * Rows moved by index, and blocks moved by all-to-all: bytes only, so one kernel serves every format.
 *
 *     gather       y[i] = x[index[i]]            scatter      y[index[i]] = x[i], in order: of equal indices the last stays
 *     transpose    y[j, i] = x[i, j]             i < rows, j < cols; an element is a block of `size` bytes
 *
 * A block of up to 256 bytes is moved by the loop here, a larger one by `memory.copy`, whose call costs some 20 ns in V8.
 * Leaves out: overlap of `x` and `y`, and overlapping blocks, which the wrappers refuse.
 */

const LOOP_BYTES: usize = 256;

/** y = x, `size` bytes, not overlapping. */
function move(size: usize, x: usize, y: usize): void {
  if (size > LOOP_BYTES) {
    memory.copy(y, x, size);
    return;
  }
  // Counted down: the address after the last byte of a full memory is 2^32, which is 0.
  while (size >= 16) {
    v128.store(y, v128.load(x));
    x += 16;
    y += 16;
    size -= 16;
  }
  while (size >= 4) {
    store<u32>(y, load<u32>(x));
    x += 4;
    y += 4;
    size -= 4;
  }
  while (size > 0) {
    store<u8>(y, load<u8>(x));
    x++;
    y++;
    size--;
  }
}

/** `indices`: [count] u32; rows of `size` bytes. */
export function gatherRows(count: usize, size: usize, x: usize, indices: usize, y: usize): void {
  for (let i: usize = 0; i < count; i++) {
    move(size, x + usize(load<u32>(indices + (i << 2))) * size, y);
    y += size;
  }
}

/** As `gatherRows`, the other way. */
export function scatterRows(count: usize, size: usize, x: usize, indices: usize, y: usize): void {
  for (let i: usize = 0; i < count; i++) {
    move(size, x, y + usize(load<u32>(indices + (i << 2))) * size);
    x += size;
  }
}

/** `x`: [rows, cols] blocks, `y`: [cols, rows]. Sixteen rows at a time, so that small blocks fill the lines they touch. */
export function transposeBlocks(rows: usize, cols: usize, size: usize, x: usize, y: usize): void {
  for (let top: usize = 0; top < rows; top += 16) {
    const bottom = min(top + 16, rows);
    for (let col: usize = 0; col < cols; col++) {
      for (let row = top; row < bottom; row++) {
        move(size, x + (row * cols + col) * size, y + (col * rows + row) * size);
      }
    }
  }
}
