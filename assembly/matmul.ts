/**
 * Matrix product  C[m, n] (+)= sum_k A[m, k] B[k, n],  FP32 accumulation, operands f32 or bf16.
 *
 * Goto's scheme: blocks of B (KC x NC) and of A (MC x KC) are packed so that the tile below reads both in order; bf16 is
 * widened while it is packed, exactly, so one tile serves every operand format.
 *
 *     for jc in N by NC                      for pc in K by KC       pack B[pc, jc]: panels of 8 columns
 *       for ic in M by MC                      pack A[ic, pc]: panels of 5 rows
 *         for each panel of B (stays in L1)      for each panel of A (stays in L2)       tile: 5 x 8 of C
 *
 * The tile is 5 x 8 (10 accumulators, 2 of B, 1 of A, 2 products: 15 registers, all that V8 allocates) with one k step
 * an iteration, in a do-while: V8 11 and 12 spill in every other form of this loop.
 * A row or column beyond the edge is packed as 0, computed in the scratch tile and not stored.
 */
import { BF16, bytesOf, F32, load1, load4 } from './element';

const MR = 5;
const NR = 8;
const KC = 384;
const MC = 120;
const NC = 4096;

/** Bytes that `matmul` needs at `scratch` for any shape: a block of A, a block of B, a tile. */
// Kept in step with MATMUL_SCRATCH_BYTES in src/kernels/matmul.ts: 4 (MC KC + KC NC + MR NR).
const TILE_OFFSET: usize = 4 * (MC * KC + KC * NC);

/** Panels of 8 columns: out[panel][k][8]. `rowStride` and `colStride` in elements. */
function packB<T>(k: i32, n: i32, b: usize, rowStride: i32, colStride: i32, out: usize): void {
  const size = bytesOf<T>();
  const rowBytes = usize(rowStride) * size;
  const colBytes = usize(colStride) * size;
  for (let j = 0; j < n; j += NR) {
    const width = min(NR, n - j);
    let row = b + usize(j) * colBytes;
    if (width == NR && colStride == 1) {
      for (let p = 0; p < k; p++) {
        v128.store(out, load4<T>(row));
        v128.store(out, load4<T>(row + 4 * size), 16);
        row += rowBytes;
        out += NR * 4;
      }
    } else {
      for (let p = 0; p < k; p++) {
        let element = row;
        for (let c = 0; c < NR; c++) {
          store<f32>(out + (c << 2), c < width ? load1<T>(element) : 0);
          element += colBytes;
        }
        row += rowBytes;
        out += NR * 4;
      }
    }
  }
}

/** Panels of 5 rows: out[panel][k][5]. */
function packA<T>(m: i32, k: i32, a: usize, rowStride: i32, colStride: i32, out: usize): void {
  const size = bytesOf<T>();
  const rowBytes = usize(rowStride) * size;
  const colBytes = usize(colStride) * size;
  for (let i = 0; i < m; i += MR) {
    const height = min(MR, m - i);
    // Beyond the last row, the last row is read again and its products are dropped with the scratch tile.
    const r0 = a + usize(i) * rowBytes;
    const r1 = r0 + (height > 1 ? rowBytes : 0);
    const r2 = r1 + (height > 2 ? rowBytes : 0);
    const r3 = r2 + (height > 3 ? rowBytes : 0);
    const r4 = r3 + (height > 4 ? rowBytes : 0);
    let offset: usize = 0;
    for (let p = 0; p < k; p++) {
      store<f32>(out, load1<T>(r0 + offset));
      store<f32>(out, load1<T>(r1 + offset), 4);
      store<f32>(out, load1<T>(r2 + offset), 8);
      store<f32>(out, load1<T>(r3 + offset), 12);
      store<f32>(out, load1<T>(r4 + offset), 16);
      offset += colBytes;
      out += MR * 4;
    }
  }
}

/**
 * One tile: C[5, 8] (+)= A[5, k] B[k, 8], `a` and `b` packed, `c` with rows of `stride` bytes; k >= 1.
 * A function of its own, called once a tile, so that V8 gets to compile it with its optimizing compiler early.
 */
export function matmulTile_f32(k: i32, a: usize, b: usize, c: usize, stride: usize, accumulate: i32): void {
  const r1 = c + stride;
  const r2 = r1 + stride;
  const r3 = r2 + stride;
  const r4 = r3 + stride;
  let c00 = f32x4.splat(0);
  let c01 = f32x4.splat(0);
  let c10 = f32x4.splat(0);
  let c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0);
  let c21 = f32x4.splat(0);
  let c30 = f32x4.splat(0);
  let c31 = f32x4.splat(0);
  let c40 = f32x4.splat(0);
  let c41 = f32x4.splat(0);
  if (accumulate) {
    c00 = v128.load(c);
    c01 = v128.load(c, 16);
    c10 = v128.load(r1);
    c11 = v128.load(r1, 16);
    c20 = v128.load(r2);
    c21 = v128.load(r2, 16);
    c30 = v128.load(r3);
    c31 = v128.load(r3, 16);
    c40 = v128.load(r4);
    c41 = v128.load(r4, 16);
  }
  if (k > 0) {
    do {
      const b0 = v128.load(b);
      const b1 = v128.load(b, 16);
      let row = v128.load_splat<f32>(a);
      c00 = f32x4.add(c00, f32x4.mul(row, b0));
      c01 = f32x4.add(c01, f32x4.mul(row, b1));
      row = v128.load_splat<f32>(a, 4);
      c10 = f32x4.add(c10, f32x4.mul(row, b0));
      c11 = f32x4.add(c11, f32x4.mul(row, b1));
      row = v128.load_splat<f32>(a, 8);
      c20 = f32x4.add(c20, f32x4.mul(row, b0));
      c21 = f32x4.add(c21, f32x4.mul(row, b1));
      row = v128.load_splat<f32>(a, 12);
      c30 = f32x4.add(c30, f32x4.mul(row, b0));
      c31 = f32x4.add(c31, f32x4.mul(row, b1));
      row = v128.load_splat<f32>(a, 16);
      c40 = f32x4.add(c40, f32x4.mul(row, b0));
      c41 = f32x4.add(c41, f32x4.mul(row, b1));
      a += MR * 4;
      b += NR * 4;
    } while (--k);
  }
  v128.store(c, c00);
  v128.store(c, c01, 16);
  v128.store(r1, c10);
  v128.store(r1, c11, 16);
  v128.store(r2, c20);
  v128.store(r2, c21, 16);
  v128.store(r3, c30);
  v128.store(r3, c31, 16);
  v128.store(r4, c40);
  v128.store(r4, c41, 16);
}

/** A tile at the edge of C: computed whole in `tile`, of which `height` x `width` go to `c`. */
function edgeTile(
  k: i32,
  a: usize,
  b: usize,
  c: usize,
  stride: usize,
  accumulate: i32,
  height: i32,
  width: i32,
  tile: usize,
): void {
  matmulTile_f32(k, a, b, tile, NR * 4, 0);
  for (let i = 0; i < height; i++) {
    for (let j = 0; j < width; j++) {
      const value = load<f32>(tile + ((i * NR + j) << 2));
      const to = c + (j << 2);
      store<f32>(to, accumulate ? load<f32>(to) + value : value);
    }
    c += stride;
  }
}

/** C[m, n] (+)= A B for one packed block: m <= MC rows, n <= NC columns, k <= KC. */
function multiplyBlock(
  m: i32,
  n: i32,
  k: i32,
  a: usize,
  b: usize,
  c: usize,
  stride: usize,
  accumulate: i32,
  tile: usize,
): void {
  for (let j = 0; j < n; j += NR) {
    const width = min(NR, n - j);
    let panel = a;
    let to = c + (j << 2);
    for (let i = 0; i < m; i += MR) {
      const height = min(MR, m - i);
      if (height == MR && width == NR) matmulTile_f32(k, panel, b, to, stride, accumulate);
      else edgeTile(k, panel, b, to, stride, accumulate, height, width, tile);
      panel += usize(MR * 4) * k;
      to += MR * stride;
    }
    b += usize(NR * 4) * k;
  }
}

function matmul<T>(
  m: i32,
  n: i32,
  k: i32,
  a: usize,
  aRowStride: i32,
  aColStride: i32,
  b: usize,
  bRowStride: i32,
  bColStride: i32,
  c: usize,
  cRowStride: i32,
  accumulate: i32,
  scratch: usize,
): void {
  const size = bytesOf<T>();
  const packedA = scratch;
  const packedB = scratch + 4 * MC * KC;
  const stride = usize(cRowStride) << 2;
  // Even blocks of M: 128 rows are 65 + 63, not 120 + 8, which would stream all of B a second time for 8 rows.
  const blocks = (m + MC - 1) / MC;
  const rowsPerBlock = blocks > 0 ? ((m + blocks * MR - 1) / (blocks * MR)) * MR : MR;
  for (let jc = 0; jc < n; jc += NC) {
    const nc = min(NC, n - jc);
    for (let pc = 0; pc < k; pc += KC) {
      const kc = min(KC, k - pc);
      const blockB = b + (usize(pc) * bRowStride + usize(jc) * bColStride) * size;
      packB<T>(kc, nc, blockB, bRowStride, bColStride, packedB);
      for (let ic = 0; ic < m; ic += rowsPerBlock) {
        const mc = min(rowsPerBlock, m - ic);
        const blockA = a + (usize(ic) * aRowStride + usize(pc) * aColStride) * size;
        packA<T>(mc, kc, blockA, aRowStride, aColStride, packedA);
        const to = c + usize(ic) * stride + (usize(jc) << 2);
        multiplyBlock(mc, nc, kc, packedA, packedB, to, stride, i32(pc > 0 || accumulate != 0), scratch + TILE_OFFSET);
      }
    }
  }
}

/**
 * `a`: [m, k] and `b`: [k, n], f32, any row and column strides (elements); `c`: [m, n] f32 with rows of `cRowStride`
 * elements, not overlapping them. `accumulate` != 0 adds to `c`. k >= 1. `scratch`: see above, 16-byte aligned.
 */
export function matmul_f32(
  m: i32,
  n: i32,
  k: i32,
  a: usize,
  aRowStride: i32,
  aColStride: i32,
  b: usize,
  bRowStride: i32,
  bColStride: i32,
  c: usize,
  cRowStride: i32,
  accumulate: i32,
  scratch: usize,
): void {
  matmul<F32>(m, n, k, a, aRowStride, aColStride, b, bRowStride, bColStride, c, cRowStride, accumulate, scratch);
}

/** As `matmul_f32` with `a` and `b` in BF16: the products are exact in FP32. */
export function matmul_bf16(
  m: i32,
  n: i32,
  k: i32,
  a: usize,
  aRowStride: i32,
  aColStride: i32,
  b: usize,
  bRowStride: i32,
  bColStride: i32,
  c: usize,
  cRowStride: i32,
  accumulate: i32,
  scratch: usize,
): void {
  matmul<BF16>(m, n, k, a, aRowStride, aColStride, b, bRowStride, bColStride, c, cRowStride, accumulate, scratch);
}
