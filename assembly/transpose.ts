/**
 * y[c, r] = x[r, c] for elements of 4, 2 and 1 bytes, whatever they mean.
 *
 * A block of 4 x 4, 8 x 8 or 16 x 16 elements is as many whole vectors, and log2 of that many rounds of interleaving the
 * first half of the vectors with the second transpose it. Blocks are visited within tiles of 64 x 64 elements, so that the
 * lines of the cache that a column of blocks touches are still there for the next one.
 */

function interleaveLow<E>(a: v128, b: v128): v128 {
  if (sizeof<E>() == 4) return v128.shuffle<i32>(a, b, 0, 4, 1, 5);
  if (sizeof<E>() == 2) return v128.shuffle<i16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  return v128.shuffle<i8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

function interleaveHigh<E>(a: v128, b: v128): v128 {
  if (sizeof<E>() == 4) return v128.shuffle<i32>(a, b, 2, 6, 3, 7);
  if (sizeof<E>() == 2) return v128.shuffle<i16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  return v128.shuffle<i8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/**
 * One round over 2 `half` vectors: from `x`, `xStep` bytes apart, to `y`, `yStep` bytes apart.
 */
function interleave<E>(half: i32, x: usize, xStep: usize, y: usize, yStep: usize): void {
  let other = x + usize(half) * xStep;
  do {
    const a = v128.load(x);
    const b = v128.load(other);
    v128.store(y, interleaveLow<E>(a, b));
    v128.store(y + yStep, interleaveHigh<E>(a, b));
    x += xStep;
    other += xStep;
    y += 2 * yStep;
  } while (--half > 0);
}

/** A block of 16 / sizeof<E> rows and columns. `scratch`: 512 bytes. */
function block<E>(x: usize, xStep: usize, y: usize, yStep: usize, scratch: usize): void {
  if (sizeof<E>() == 4) {
    const r0 = v128.load(x);
    const r1 = v128.load(x + xStep);
    const r2 = v128.load(x + 2 * xStep);
    const r3 = v128.load(x + 3 * xStep);
    const even = interleaveLow<E>(r0, r2);
    const odd = interleaveLow<E>(r1, r3);
    const evenHigh = interleaveHigh<E>(r0, r2);
    const oddHigh = interleaveHigh<E>(r1, r3);
    v128.store(y, interleaveLow<E>(even, odd));
    v128.store(y + yStep, interleaveHigh<E>(even, odd));
    v128.store(y + 2 * yStep, interleaveLow<E>(evenHigh, oddHigh));
    v128.store(y + 3 * yStep, interleaveHigh<E>(evenHigh, oddHigh));
    return;
  }
  const half: i32 = 8 / sizeof<E>();
  interleave<E>(half, x, xStep, scratch, 16);
  interleave<E>(half, scratch, 16, scratch + 256, 16);
  if (sizeof<E>() == 2) {
    interleave<E>(half, scratch + 256, 16, y, yStep);
  } else {
    interleave<E>(half, scratch + 256, 16, scratch, 16);
    interleave<E>(half, scratch, 16, y, yStep);
  }
}

/** The rectangle [row, row + height) x [col, col + width) of x, element by element. */
function edge<E>(height: i32, width: i32, x: usize, xStep: usize, y: usize, yStep: usize): void {
  for (let r = 0; r < height; r++) {
    for (let c = 0; c < width; c++) {
      store<E>(y + usize(c) * yStep + usize(r) * sizeof<E>(), load<E>(x + usize(r) * xStep + usize(c) * sizeof<E>()));
    }
  }
}

function transpose<E>(rows: i32, cols: i32, x: usize, y: usize, scratch: usize): void {
  const side: i32 = 16 / sizeof<E>();
  const xStep = usize(cols) * sizeof<E>();
  const yStep = usize(rows) * sizeof<E>();
  const wholeRows = rows - (rows % side);
  const wholeCols = cols - (cols % side);
  const line: i32 = 64 / sizeof<E>();
  for (let colTile = 0; colTile < wholeCols; colTile += line) {
    const colEnd = min(colTile + line, wholeCols);
    for (let r = 0; r < wholeRows; r += side) {
      for (let c = colTile; c < colEnd; c += side) {
        const from = x + usize(r) * xStep + usize(c) * sizeof<E>();
        block<E>(from, xStep, y + usize(c) * yStep + usize(r) * sizeof<E>(), yStep, scratch);
      }
    }
  }
  const right = usize(wholeCols);
  edge<E>(rows, cols - wholeCols, x + right * sizeof<E>(), xStep, y + right * yStep, yStep);
  const bottom = usize(wholeRows);
  edge<E>(rows - wholeRows, wholeCols, x + bottom * xStep, xStep, y + bottom * sizeof<E>(), yStep);
}

/** `x`: [rows, cols], `y`: [cols, rows], elements of 4 bytes, not overlapping. `scratch`: 512 bytes. */
export function transpose_4(rows: i32, cols: i32, x: usize, y: usize, scratch: usize): void {
  transpose<u32>(rows, cols, x, y, scratch);
}

/** As `transpose_4` for elements of 2 bytes. */
export function transpose_2(rows: i32, cols: i32, x: usize, y: usize, scratch: usize): void {
  transpose<u16>(rows, cols, x, y, scratch);
}

/** As `transpose_4` for elements of 1 byte. */
export function transpose_1(rows: i32, cols: i32, x: usize, y: usize, scratch: usize): void {
  transpose<u8>(rows, cols, x, y, scratch);
}
