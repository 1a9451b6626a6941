/**
 * Block sizes of the matmul. A panel of B (KC x 8 FP32, 12 KiB) stays in L1, a block of A (MC x KC, 180 KiB) in L2, a
 * block of B (KC x NC, 6 MiB) in L3. Measured on Zen 4: KC 192 to 512, MC 60 to 240 and NC 512 to 4096 differ by 3 %.
 */
import type { Arena } from './arena.ts';

/** Terms of the sum. */
export const KC = 384;
/** Rows of A. */
export const MC = 120;
/** Columns of B. */
export const NC = 4096;

/** Columns of a task where threads share a block: whole panels, and enough work to pay for packing A again. */
export const CHUNK_COLUMNS = 512;

/** A problem of at most this many terms and columns may be done in place, unpacked. */
const IN_PLACE_TERMS = 512;
const IN_PLACE_COLUMNS = 128;
/** Products up to which the plain build works in place: six row pointers cost it 15 %, packing 64 x 64 x 128 less. */
const PLAIN_IN_PLACE_PRODUCTS = 2 ** 19;

/** Scratch of the kernels: a panel of B in FP32 and an edge tile. Kept in step with PANEL_BYTES in assembly/matmul.ts. */
const PANEL_SCRATCH: number = IN_PLACE_TERMS * 16 * 4 + 512;

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
  const blocks = Math.ceil(tiles / Math.floor(MC / mr));
  const height = Math.floor(m / tiles);
  const taller = m % tiles;
  const rowOf = (tile: number): number => tile * height + Math.min(tile, taller);
  return Array.from({ length: blocks }, (_, i) => {
    const first = rowOf(Math.floor((tiles * i) / blocks));
    return [first, rowOf(Math.floor((tiles * (i + 1)) / blocks)) - first];
  });
}

/** Whether a product of plain FP32 matrices is done in place. */
export function isInPlace({ build }: Arena, m: number, n: number, k: number): boolean {
  if (n > IN_PLACE_COLUMNS || k > IN_PLACE_TERMS) return false;
  return build !== 'simd' || m * n * k <= PLAIN_IN_PLACE_PRODUCTS;
}

/** Columns that `n` columns take as whole panels. */
export function paddedColumns(n: number, width: number): number {
  return Math.ceil(n / width) * width;
}
