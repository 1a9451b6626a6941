/**
 * The selective scan of Mamba-1, in the steps of the NKI tutorial. For every channel c, state s and position t:
 *
 *     h[c, s, t] = exp(delta[c, t] A[c, s]) h[c, s, t - 1] + delta[c, t] u[c, t] B[s, t]
 *     y[c, t]    = sum over s of h[c, s, t] C[s, t]
 *
 *   naive       channels over partitions; delta and u loaded again for every state
 *   reordered   loaded once for all states
 *   tiled       the sequence in tiles of 512, the state of each carried over: buffers fit twice, whatever the length
 *
 * ScalarE takes the exponentials, VectorE products, scan and sum; B and C are broadcast to all partitions by DMA.
 * see: Neuron SDK, nki/guides/tutorials/fused_mamba.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { DType } from '../../kernels/dtype.ts';
import { Index, type TileView } from '../access.ts';
import { type Program, tileProgram } from '../program.ts';
import { broadcastRow, bytesOf, matrixOf, P, part, sbufBudget } from './matrix.ts';

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

/** Bytes of a position: delta, u and their product, B, C, the decay and the sum. */
function bytesPerPosition(dtype: DType): number {
  return 5 * bytesOf(dtype) + 12;
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
    const [b, c] = ['b', 'c'].map((name) => nc.input(name, dtype, [batch, state, seq]));
    const y = nc.output('y', dtype, [batch, channels, seq]);
    const width = step === 'tiled' ? Math.min(SEQUENCE_TILE, seq) : seq;
    const slots = 2 * width * bytesPerPosition(dtype) <= sbufBudget(core) ? 2 : 1;
    const tile = (name: string, format: DType) => nc.sbuf(name, format, P, width, { slots });
    const [deltas, us, bs, cs] = [tile('delta', dtype), tile('u', dtype), tile('b', dtype), tile('c', dtype)];
    const [inputs, decays, sums] = [tile('delta u', 'f32'), tile('state', 'f32'), tile('sum', 'f32')];
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
            nc.tensorTensor(cut(inputs, at), cut(deltas, at), 'multiply', cut(us, at));
          };
          if (step !== 'naive') load(turn);
          const visit = (s: Index, isFirst: boolean) => {
            const at = turn.times(state).plus(s);
            if (step === 'naive') load(at);
            const [from, decay] = [step === 'naive' ? at : turn, cut(decays, at)];
            nc.dmaCopy(cut(bs, at), broadcastRow(matrixOf(b!, i), s, [t0, length], rows));
            nc.dmaCopy(cut(cs, at), broadcastRow(matrixOf(c!, i), s, [t0, length], rows));
            nc.activation(decay, 'exp', cut(deltas, from), { scale: factor.columns(s, 1) });
            nc.tensorTensor(cut(bs, at), cut(inputs, from), 'multiply', cut(bs, at));
            nc.scan(decay, decay, cut(bs, at), { initial: carry.columns(s, 1) });
            if (width < seq) nc.copy(carry.columns(s, 1), decay.columns(length - 1, 1), 'ScalarE');
            if (isFirst) nc.tensorTensor(sum, decay, 'multiply', cut(cs, at));
            else {
              nc.tensorTensor(decay, decay, 'multiply', cut(cs, at));
              nc.tensorTensor(sum, sum, 'add', decay);
            }
          };
          visit(new Index(0), true);
          nc.loop(state - 1, (s) => visit(s.plus(1), false));
          if (result !== sums) nc.copy(cut(result), sum, 'GpSimdE');
          nc.dmaCopy(part(matrixOf(y, i), [c0, rows], [t0, length]), cut(result));
        });
      });
    });
  });
}
