/**
 * The int8 product by `i32x4.relaxed_dot_i8x16_i7x16_add_s`: 16 products and their sums to four lanes, in one instruction of
 * x86 with AVX-VNNI and of ARM with the dot product extension, as V8 13 (Node 24) and newer compile it.
 *
 * WebAssembly leaves open how the second operand's bytes beyond 0 .. 127 count, and whether sums of two products may
 * saturate. `quadBias` asks the host. Where bytes are unsigned, A is stored with 128 added (a flipped top bit), and
 *
 *     sum_k (a + 128) b = sum_k a b + 128 sum_k b
 *
 * so that each panel of B begins with -128 times the sums of its columns, which the tile adds. Sums wrap, so this is exact
 * whatever they become on the way.
 *
 * Relaxed build only; assembly/dots.ts has the form for every host.
 */
import { lanePanelCount, multiplyLanes, Quads } from './dots';
import { F32 } from './element';
import { interleave, NR, panelHeight } from './pack';

/** 128 if the second operand of a dot counts as unsigned bytes, 0 if as signed ones, -1 if its sums are not exact. */
export function quadBias(): i32 {
  // -128 four times, with the largest byte and with the first beyond 0 .. 127.
  const bytes = i32x4(0xffffffff, 0x80808080, 0, 0);
  const sums = i32x4.relaxed_dot_i8x16_i7x16_add_s(i8x16.splat(-128), bytes, i32x4.splat(0));
  const first = i32x4.extract_lane(sums, 0);
  const second = i32x4.extract_lane(sums, 1);
  if (first == 4 * -128 * 255 && second == 4 * -128 * 128) return 128;
  if (first == 4 * 128 && second == 4 * 128 * 128) return 0;
  return -1;
}

/** Quads of `lines` strided lines of k bytes: out[quad][width], width >= lines. Lanes beyond are not written. */
function interleaveQuads(lines: i32, k: i32, from: usize, lineStep: usize, step: usize, out: usize, width: i32): void {
  const outStep = usize(width) << 2;
  // Adjacent bytes are moved as lanes of FP32, whatever they hold.
  const whole = step == 1 ? k >> 2 : 0;
  interleave<F32>(lines, whole, from, lineStep, 4, out, width);
  for (let line = 0; line < lines; line++) {
    let p = from + (whole << 2);
    let to = out + usize(whole) * outStep + (line << 2);
    for (let i = whole << 2; i < k; i += 4) {
      let quad: u32 = 0;
      for (let j = 0; j < min(4, k - i); j++) {
        quad |= u32(load<u8>(p)) << (j << 3);
        p += step;
      }
      store<u32>(to, quad);
      to += outStep;
    }
    from += lineStep;
  }
}

/** 16 adjacent columns of four adjacent rows as quads of two panels. */
function quadRows(b: usize, rowStep: usize, out: usize, panelBytes: usize): void {
  const r0 = v128.load(b);
  const r1 = v128.load(b + rowStep);
  const r2 = v128.load(b + 2 * rowStep);
  const r3 = v128.load(b + 3 * rowStep);
  const low01 = v128.shuffle<u8>(r0, r1, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const low23 = v128.shuffle<u8>(r2, r3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const high01 = v128.shuffle<u8>(r0, r1, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  const high23 = v128.shuffle<u8>(r2, r3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  v128.store(out, v128.shuffle<u16>(low01, low23, 0, 8, 1, 9, 2, 10, 3, 11));
  v128.store(out, v128.shuffle<u16>(low01, low23, 4, 12, 5, 13, 6, 14, 7, 15), 16);
  v128.store(out + panelBytes, v128.shuffle<u16>(high01, high23, 0, 8, 1, 9, 2, 10, 3, 11));
  v128.store(out + panelBytes, v128.shuffle<u16>(high01, high23, 4, 12, 5, 13, 6, 14, 7, 15), 16);
}

/** Begins panels of B with -`bias` times the sums of their 8 columns. */
function beginPanels(quads: i32, panel: usize, end: usize, bias: i32): void {
  const ones = i8x16.splat(1);
  const factor = i32x4.splat(-bias);
  while (panel < end) {
    const begin = panel;
    let s0 = i32x4.splat(0);
    let s1 = s0;
    panel += NR * 4;
    for (let quad = 0; quad < quads; quad++) {
      s0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(panel), ones, s0);
      s1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(panel, 16), ones, s1);
      panel += NR * 4;
    }
    v128.store(begin, i32x4.mul(s0, factor));
    v128.store(begin, i32x4.mul(s1, factor), 16);
  }
}

/** Row panels of quads with `bias`, 128 or 0, added to every byte; strides in elements. */
export function packRowQuads_i8(m: i32, k: i32, a: usize, rowStride: i32, colStride: i32, out: usize, bias: i32): void {
  const quads = (k + 3) >> 2;
  const count = lanePanelCount<Quads>(m);
  const end = out + ((usize(m) * quads) << 2);
  let to = out;
  for (let index = 0; index < count; index++) {
    const height = panelHeight(m, count, index);
    interleaveQuads(height, k, a, rowStride, colStride, to, height);
    a += usize(height) * rowStride;
    to += (usize(height) * quads) << 2;
  }
  const flip = i8x16.splat(i8(bias));
  for (; out + 16 <= end; out += 16) v128.store(out, v128.xor(v128.load(out), flip));
  for (; out < end; out += 4) store<i32>(out, load<i32>(out) ^ i32x4.extract_lane(flip, 0));
}

/** Column panels of quads: out[panel][1 + quad][8], 0 beyond n, what is to be added first; strides in elements. */
export function packColumnQuads_i8(
  k: i32,
  n: i32,
  b: usize,
  rowStride: i32,
  colStride: i32,
  out: usize,
  bias: i32,
): void {
  const quads = (k + 3) >> 2;
  const panelBytes = (usize(quads + 1) * NR) << 2;
  const begin = out;
  const whole = colStride == 1 ? k >> 2 : 0;
  let j = 0;
  for (; j + 2 * NR <= n && whole; j += 2 * NR) {
    let row = b;
    let to = out + NR * 4;
    for (let quad = 0; quad < whole; quad++) {
      quadRows(row, rowStride, to, panelBytes);
      row += usize(rowStride) << 2;
      to += NR * 4;
    }
    interleaveQuads(NR, k & 3, row, 1, rowStride, to, NR);
    interleaveQuads(NR, k & 3, row + NR, 1, rowStride, to + panelBytes, NR);
    out += 2 * panelBytes;
    b += 2 * NR;
  }
  for (; j < n; j += NR) {
    const columns = min(NR, n - j);
    if (columns < NR) memory.fill(out, 0, panelBytes);
    interleaveQuads(columns, k, b, colStride, rowStride, out + NR * 4, NR);
    out += panelBytes;
    b += usize(columns) * colStride;
  }
  beginPanels(quads, begin, out, bias);
}

/** As `multiplyLanes` of dots.ts. */
export function multiplyQuads_i8(
  m: i32,
  n: i32,
  quads: i32,
  a: usize,
  b: usize,
  c: usize,
  cStride: i32,
  accumulate: i32,
  edge: usize,
): void {
  multiplyLanes<Quads>(m, n, quads, a, b, c, cStride, accumulate, edge);
}
