/**
 * Block sizes of the matmul. A panel of B (512 x 8 FP32, 16 KiB) stays in L1, a block of A (180 x 512, 360 KiB) in L2, a
 * block of B (512 x 4096, 8 MiB) in L3.
 */
import type { Arena } from './arena.ts';

/** Rows of A. */
export const MC = 180;
/** The same where threads share the work: smaller tasks, so that the slower thread is waited for less. */
const THREAD_MC = 90;
/** Columns of B. */
export const NC = 4096;
/** Terms of the sum at most: a tile costs some 60 cycles beside its terms, of which 512 take 3000 and 128 take 750. */
const KC = 512;
/** Under turbo, where a panel has 16 columns. */
const TURBO_KC = 256;

/**
 * Terms of each block of `k`, but for the last: even, so that none is short, and in fours, which is how they are packed.
 */
export function termsOfBlocks({ build }: Arena, k: number): number {
  const blocks = Math.max(1, Math.ceil(k / (build === 'turbo' ? TURBO_KC : KC)));
  return Math.max(4, Math.ceil(k / blocks / 4) * 4);
}

/** Columns of a task where threads share a block: whole panels, and enough work to pay for packing A again. */
const CHUNK_COLUMNS = 512;

/** Products up to which packing would cost more than the longer way through matrices in place. */
const IN_PLACE_PRODUCTS = { simd: 2 ** 20, relaxed: 2 ** 20, turbo: 2 ** 19 } as const;

/**
 * Scratch of the kernels: a panel of B in FP32, and a panel of C for the right edge. Kept in step with PANEL_BYTES in
 * assembly/matmul.ts.
 */
const PANEL_SCRATCH: number = KC * 16 * 4 + MC * 16 * 4;

/** Scratch of a thread: a packed block of A, the same widened before packing, and the kernels' scratch. */
export const THREAD_SCRATCH: { readonly packedA: number; readonly wideA: number; readonly panel: number } = {
  packedA: 0,
  wideA: MC * KC * 4,
  panel: 2 * MC * KC * 4,
};
export const THREAD_SCRATCH_BYTES: number = THREAD_SCRATCH.panel + PANEL_SCRATCH;

/** Columns of a panel of B: 16 where V8's revectoriser makes 256-bit operations of them. */
export function panelWidth({ build }: Arena): number {
  return build === 'turbo' ? 16 : 8;
}

/** Rows of the tallest tile. Kept in step with MR in assembly/pack.ts. */
function tileRows({ build }: Arena): number {
  return build === 'simd' ? 5 : 6;
}

/**
 * Ranges of rows [first, count] of the blocks of A: even, and of whole tiles. Rows are dealt out to the tiles first, so that
 * all but a few are of full height: 256 rows are 48 tiles of 5 and 4 of 4, in three blocks, and not 120 + 120 + 16.
 */
export function rowBlocks(arena: Arena, m: number): [first: number, count: number][] {
  const mr = tileRows(arena);
  const tiles = Math.ceil(m / mr);
  const most = arena.threads === 1 ? MC : THREAD_MC;
  const blocks = Math.ceil(tiles / Math.floor(most / mr));
  const height = Math.floor(m / tiles);
  const taller = m % tiles;
  const rowOf = (tile: number): number => tile * height + Math.min(tile, taller);
  const ranges: [number, number][] = [];
  for (let i = 0; i < blocks; i++) {
    const first = rowOf(Math.floor((tiles * i) / blocks));
    ranges.push([first, rowOf(Math.floor((tiles * (i + 1)) / blocks)) - first]);
  }
  return ranges;
}

/** Whether a product of FP32 matrices is so small that it is done in place. */
export function isInPlace({ build }: Arena, m: number, n: number, k: number): boolean {
  return k <= KC && m * n * k <= IN_PLACE_PRODUCTS[build];
}

/** Columns that `n` columns take as whole panels. */
export function paddedColumns(n: number, width: number): number {
  return Math.ceil(n / width) * width;
}

/** Ranges of columns [first, count] that tasks are cut by: one, or whole panels for several threads. */
export function columnChunks({ threads }: Arena, nc: number): [first: number, count: number][] {
  const size = threads === 1 ? nc : CHUNK_COLUMNS;
  const ranges: [number, number][] = [];
  for (let first = 0; first < nc; first += size) ranges.push([first, Math.min(size, nc - first)]);
  return ranges;
}
