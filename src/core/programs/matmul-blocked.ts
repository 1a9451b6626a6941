/**
 * The last step of the tutorial: a matmul whose three dimensions are blocked.
 *
 *     for rows of C that leave their partial sums in SBUF
 *       for blockN columns                    B: each block is loaded once per such rows
 *         for blockK of the contraction
 *           for blockM rows                   A: loaded once per blockN columns
 *             128 x 512 results in PSUM over the block's K, then added to the partial sums by VectorE
 *
 * Blocks follow from SBUF: rows of a DMA of 4 KiB for A and at least 2 KiB for B, both double-buffered, the rest of the
 * memory for partial sums in FP32. The last block of K adds and stores at once.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { Index, TileView } from '../access.ts';
import type { ProgramBuilder } from '../program.ts';
import type { MatmulOperands } from './matmul.ts';
import { bytesOf, evacuate, groupsOf, loadPanel, MOVING, P, panelTile, part, sbufBudget } from './matrix.ts';

/** Rows of the contraction in a block: 8 tiles, after which one visit of VectorE adds a result to its partial sum. */
const BLOCK_K = 1024;
const BLOCK_N = 1024;
const LHS_ROW_BYTES = 4096;

interface MatmulBlocks {
  readonly blockM: number;
  readonly blockN: number;
  readonly blockK: number;
  /** Rows of C whose partial sums fit in SBUF together. */
  readonly heldRows: number;
}

function matmulBlocks(
  core: CoreSpec,
  { m, k, n }: { readonly m: number; readonly k: number; readonly n: number },
  bytes: number,
  outBytes: number,
): MatmulBlocks {
  const blockK = Math.min(BLOCK_K, k);
  const blockN = Math.min(BLOCK_N, n);
  const operands = (rows: number): number => 2 * groupsOf(blockK) * (rows + blockN) * bytes + 2 * blockN * outBytes;
  const sums = (rows: number): number => (k > blockK ? groupsOf(rows) * blockN * 4 : 0);
  let blockM = Math.min(LHS_ROW_BYTES / bytes, groupsOf(m) * P);
  // Rows of 4 KiB are many rows of narrow formats: their partial sums have to fit as well.
  while (blockM > P && operands(blockM) + sums(blockM) > sbufBudget(core)) blockM = groupsOf(blockM / 2) * P;
  const held = Math.floor((sbufBudget(core) - operands(blockM)) / (sums(P) || 1)) * P;
  return { blockM, blockN, blockK, heldRows: k > blockK ? Math.min(m, held - (held % blockM)) : m };
}

export function writeBlockedMatmul(nc: ProgramBuilder, { aT, b, c }: MatmulOperands): void {
  const [m, k, n] = [aT.columns, aT.rows, b.columns];
  const [dtype, outDtype] = [aT.tensor.dtype, c.tensor.dtype];
  const bytes = Math.max(bytesOf(dtype), bytesOf(b.tensor.dtype));
  const { blockM, blockN, blockK, heldRows } = matmulBlocks(nc.core, { m, k, n }, bytes, bytesOf(outDtype));
  const groups = groupsOf(blockK);
  const blocks = Math.ceil(k / blockK);
  const tilesM = groupsOf(blockM);
  const strips = Math.ceil(blockN / MOVING);
  nc.scope(() => {
    const lhs = nc.sbuf('lhs', dtype, P, groups * blockM, { slots: 2 });
    const rhs = nc.sbuf('rhs', b.tensor.dtype, P, groups * blockN, { slots: 2 });
    const out = nc.sbuf('out', outDtype, P, blockN, { slots: 2 });
    // VectorE alone adds to the sums, in order, so that one slot holds them all; and the loops repeat sooner.
    const sums = blocks > 1 ? nc.sbuf('sums', 'f32', P, groupsOf(heldRows) * blockN) : null;
    const psum = nc.psum('psum', P, MOVING, { slots: 2 * strips });

    nc.tiles(m, heldRows, (h0, hl) => {
      nc.tiles(n, blockN, (n0, nl, j) => {
        const visit = (i: Index, kl: number, isFirst: boolean, isLast: boolean) => {
          const turn = j.times(blocks).plus(i);
          const k0 = i.times(blockK);
          const moving = rhs.slot(turn);
          loadPanel(nc, moving, blockN, b, [k0, kl], [n0, nl]);
          nc.tiles(hl, blockM, (m0, ml, x) => {
            const stationary = lhs.slot(turn.times(Math.ceil(hl / blockM)).plus(x));
            loadPanel(nc, stationary, blockM, aT, [k0, kl], [h0.plus(m0), ml]);
            nc.tiles(ml, P, (row, rows, y) => {
              const tile = x.times(tilesM).plus(y);
              const result = out.slot(tile).rows(0, rows).columns(0, nl);
              const held = sums?.rows(0, rows).columns(tile.times(blockN), nl);
              for (let strip = 0; strip * MOVING < nl; strip++) {
                const [column, columns] = [strip * MOVING, Math.min(MOVING, nl - strip * MOVING)];
                const sum = psum.slot(tile.times(strips).plus(strip)).rows(0, rows).columns(0, columns);
                nc.tiles(kl, P, (_row, depth, t) => {
                  const left = panelTile(stationary, blockM, t, depth, row, rows);
                  nc.matmul(sum, left, panelTile(moving, blockN, t, depth, column, columns), { accumulate: [t] });
                });
                const at = (view: TileView) => view.columns(column, columns);
                if (held && !isFirst) nc.tensorTensor(at(isLast ? result : held), at(held), 'add', sum);
                else evacuate(nc, at(held && !isLast ? held : result), sum, strip);
              }
              if (isLast) nc.dmaCopy(part(c, [h0.plus(m0).plus(row), rows], [n0, nl]), result);
            });
          });
        };
        const lastRows = k - (blocks - 1) * blockK;
        const first = j.times(0);
        if (blocks === 1) visit(first, k, true, true);
        else {
          visit(first, blockK, true, false);
          nc.loop(blocks - 2, (i) => visit(i.plus(1), blockK, false, false));
          visit(first.plus(blocks - 1), lastRows, false, true);
        }
      });
    });
  });
}
