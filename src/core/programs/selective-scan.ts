/**
 * The selective scan of Mamba-1, in the steps of the NKI tutorial. For every channel c, state s and position t:
 *
 *     h[c, s, t] = exp(delta[c, t] A[c, s]) h[c, s, t - 1] + delta[c, t] u[c, t] B[s, t]
 *     y[c, t]    = sum over s of h[c, s, t] C[s, t]
 *
 *   naive       channels over partitions; delta and u loaded again for every state
 *   reordered   loaded once for all states
 *   tiled       the sequence in tiles of 512, the state of each carried over: buffers fit twice, whatever the length, and two
 *               states are interleaved, so that neither waits for the result before; h C goes to PSUM on its way to the sum
 *
 * ScalarE takes the exponentials, VectorE products, scan and sum. TensorE broadcasts B and C to all partitions, as a product with
 * ones, so that VectorE reads one operand from SBUF and one from PSUM: an element a cycle, half the time of two from SBUF.
 * As in the tutorial, delta u is computed for each state.
 * see: Neuron SDK, nki/guides/tutorials/fused_mamba; its kernels mamba_v1, v2 and v3 are the steps.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { DType } from '../../kernels/dtype.ts';
import { Index, type TileView } from '../access.ts';
import { type Program, tileProgram } from '../program.ts';
import { bytesOf, type Matrix, MOVING, matrixOf, P, part, sbufBudget } from './matrix.ts';

export type ScanStep = 'naive' | 'reordered' | 'tiled';
export const SCAN_STEPS: readonly ScanStep[] = ['naive', 'reordered', 'tiled'];

export interface SelectiveScanOptions {
  readonly batch: number;
  readonly channels: number;
  readonly seq: number;
  readonly state: number;
  readonly dtype: DType;
  /** `tiled` if left out. */
  readonly step?: ScanStep;
}

const SEQUENCE_TILE = 512;

/** Bytes of a position: delta, u and the sum, for each state under way B, C, their input and the state; a narrow result. */
function bytesPerPosition(dtype: DType, together: number = 1): number {
  return 2 * bytesOf(dtype) + 4 + together * (2 * bytesOf(dtype) + 8) + (dtype === 'f32' ? 0 : bytesOf(dtype));
}

/** Whether the whole sequence fits in SBUF, as the steps before `tiled` need it. */
export function wholeSequenceFits(core: CoreSpec, seq: number, dtype: DType): boolean {
  return seq * bytesPerPosition(dtype) <= sbufBudget(core);
}

/**
 * Inputs `delta`, `u` [batch, channels, seq], `a` [channels, state], `b`, `c` [batch, state, seq], output `y` as `u`.
 * @throws ModelError (PROGRAM) if the sequence exceeds SBUF in a step that keeps all of it
 */
export function selectiveScanProgram(
  core: CoreSpec,
  { batch, channels, seq, state, dtype, step = 'tiled' }: SelectiveScanOptions,
): Program {
  return tileProgram(`selective-scan ${step}`, core, (nc) => {
    const [delta, u] = ['delta', 'u'].map((name) => nc.input(name, dtype, [batch, channels, seq]));
    const a = matrixOf(nc.input('a', dtype, [channels, state]));
    const [allB, allC] = ['b', 'c'].map((name) => nc.input(name, dtype, [batch, state, seq]));
    const y = nc.output('y', dtype, [batch, channels, seq]);
    const width = step === 'tiled' ? Math.min(SEQUENCE_TILE, seq) : seq;
    // States that are under way together.
    const together = step === 'tiled' ? Math.min(2, state) : 1;
    const slots = 2 * width * bytesPerPosition(dtype, together) <= sbufBudget(core) ? 2 : 1;
    const tile = (name: string, format: DType, copies = 1) =>
      nc.sbuf(name, format, P, width, { slots: copies * slots });
    const [deltas, us, sums] = [tile('delta', dtype), tile('u', dtype), tile('sum', 'f32')];
    const [inputs, decays] = [tile('input', 'f32', together), tile('state', 'f32', together)];
    // Rows of B and C lie on one partition each, before they are broadcast.
    const row = (name: string) => nc.sbuf(name, dtype, 1, width, { slots: together * slots });
    const [bs, cs] = [row('b'), row('c')];
    const bank = (name: string) => nc.psum(name, P, MOVING, { slots: 2 });
    const [spreadB, spreadC] = [bank('b spread'), bank('c spread')];
    const parts = step === 'tiled' ? bank('h c') : null;
    const ones = nc.sbuf('ones', dtype, 1, P);
    nc.memset(ones, 1);
    const result = dtype === 'f32' ? sums : tile('y', dtype);
    const rates = nc.sbuf('raw a', dtype, P, state, { slots: 2 });
    const rate = nc.sbuf('a', 'f32', P, state, { slots: 2 });
    // The state after the last tile of the sequence, a column for each s.
    const carried = nc.sbuf('carried', 'f32', P, state, { slots: 2 });

    nc.loop(batch, (i) => {
      nc.tiles(channels, P, (c0, rows, g) => {
        const channel = i.plus(g);
        const [factor, carry] = [rate.slot(channel).rows(0, rows), carried.slot(channel).rows(0, rows)];
        nc.dmaCopy(rates.slot(channel).rows(0, rows), part(a, [c0, rows], [0, state]));
        nc.copy(factor, rates.slot(channel).rows(0, rows), 'GpSimdE');
        nc.memset(carry, 0, 'GpSimdE');
        nc.tiles(seq, width, (t0, length, t) => {
          const turn = channel.plus(t);
          const cut = (view: TileView, at: Index = turn) => view.slot(at).rows(0, rows).columns(0, length);
          const sum = cut(sums);
          const load = (at: Index) => {
            nc.dmaCopy(cut(deltas, at), part(matrixOf(delta!, i), [c0, rows], [t0, length]));
            nc.dmaCopy(cut(us, at), part(matrixOf(u!, i), [c0, rows], [t0, length]));
          };
          const loadRow = (tile: TileView, from: Matrix, s: Index, at: Index) => {
            const view = tile.slot(at).columns(0, length);
            nc.dmaCopy(view, part(from, [s, 1], [t0, length]));
            return view;
          };
          /** A row on all partitions, a bank of PSUM at a time. */
          const eachSpread = (
            bank: TileView,
            values: TileView,
            write: (spread: TileView, first: Index, count: number, slot: Index) => void,
          ) => {
            nc.tiles(length, MOVING, (first, count, piece) => {
              const spread = bank.slot(piece).rows(0, rows).columns(0, count);
              nc.matmul(spread, ones.columns(0, rows), values.columns(first, count));
              write(spread, first, count, piece);
            });
          };
          if (step !== 'naive') load(turn);
          const visit = (first: Index, count: number, isFirst: boolean) => {
            const states = Array.from({ length: count }, (_, j) => {
              const s = first.plus(j);
              const at = turn.times(state).plus(s);
              if (step === 'naive') load(at);
              const [b, c] = [loadRow(bs, matrixOf(allB!, i), s, at), loadRow(cs, matrixOf(allC!, i), s, at)];
              return { s, b, c, from: step === 'naive' ? at : turn, input: cut(inputs, at), decay: cut(decays, at) };
            });
            for (const { s, decay, from } of states) {
              nc.activation(decay, 'exp', cut(deltas, from), { scale: factor.columns(s, 1) });
            }
            for (const { b, input, from } of states) {
              nc.tensorTensor(input, cut(deltas, from), 'multiply', cut(us, from));
              eachSpread(spreadB, b, (spread, begin, size) => {
                const piece = input.columns(begin, size);
                nc.tensorTensor(piece, piece, 'multiply', spread);
              });
            }
            for (const { s, decay, input } of states) {
              nc.scan(decay, decay, input, { initial: carry.columns(s, 1) });
              if (width < seq) nc.copy(carry.columns(s, 1), decay.columns(length - 1, 1), 'ScalarE');
            }
            states.forEach(({ decay, c }, j) => {
              eachSpread(spreadC, c, (spread, begin, size, slot) => {
                const [piece, total] = [decay.columns(begin, size), sum.columns(begin, size)];
                if (isFirst && j === 0) {
                  nc.tensorTensor(total, piece, 'multiply', spread);
                  return;
                }
                const product = parts === null ? piece : parts.slot(slot.plus(j)).rows(0, rows).columns(0, size);
                nc.tensorTensor(product, piece, 'multiply', spread);
                nc.tensorTensor(total, total, 'add', product);
              });
            });
          };
          visit(new Index(0), together, true);
          nc.tiles(state - together, together, (s, count) => visit(s.plus(together), count, false));
          if (result !== sums) nc.copy(cut(result), sum, 'GpSimdE');
          nc.dmaCopy(part(matrixOf(y, i), [c0, rows], [t0, length]), cut(result));
        });
      });
    });
  });
}
