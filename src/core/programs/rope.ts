/**
 * Rotary embedding, halves convention: with x = [x1, x2] and tables of half the width,
 *
 *     y1 = x1 cos - x2 sin        y2 = x2 cos + x1 sin
 *
 * Operands come transposed, the width over the partitions, as the product of queries and keys wants them. Engines combine what
 * lies on the same partitions, so that each half is a tile of its own, from partition 0 on: a head of 128 keeps 64 lanes
 * busy. VectorE takes the first half of the result, GpSimdE the second, unless the two would only wait for each other
 * (`ports.ts`): on NeuronCore-v2, and in 16 bits, where VectorE has its performance mode.
 * see: Neuron nki-library, core/embeddings/rope (RoPE_sbuf), whose layout and six passes these are.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { Index, TileView } from '../access.ts';
import { type Program, tileProgram } from '../program.ts';
import { bytesOf, type Matrix, matrixOf, P, part } from './matrix.ts';
import type { RowOptions } from './softmax.ts';

const PARTITION_BYTES = 4096;

/** Inputs `x` [cols, rows], `cos` and `sin` [cols / 2, rows], output `y` as `x`. `cols` is even. */
export function ropeProgram(core: CoreSpec, { rows, cols, dtype }: RowOptions): Program {
  if (cols % 2 !== 0) throw new RangeError(`"cols" expected an even number, got ${cols}`);
  return tileProgram('rope', core, (nc) => {
    const half = cols / 2;
    const x = matrixOf(nc.input('x', dtype, [cols, rows]));
    const tables = ['cos', 'sin'].map((name) => matrixOf(nc.input(name, dtype, [half, rows])));
    const y = matrixOf(nc.output('y', dtype, [cols, rows]));
    const width = Math.min(rows, PARTITION_BYTES / bytesOf(dtype));
    const tile = (name: string) => nc.sbuf(name, dtype, P, width, { slots: 2 });
    const [x1, x2, cos, sin, y1, y2] = ['x1', 'x2', 'cos', 'sin', 'y1', 'y2'].map(tile);
    const work = nc.sbuf('work', dtype, P, width, { slots: 8 });
    const second = core.version >= 3 && bytesOf(dtype) > 2 ? 'GpSimdE' : 'VectorE';
    const pieces = Math.ceil(rows / width);
    nc.tiles(half, P, (lane, lanes, g) => {
      nc.tiles(rows, width, (start, count, i) => {
        const turn = g.times(pieces).plus(i);
        const cut = (view: TileView, at: Index = turn) => view.slot(at).rows(0, lanes).columns(0, count);
        const load = (view: TileView, from: Matrix, row: Index) => {
          nc.dmaCopy(cut(view), part(from, [row, lanes], [start, count]));
          return cut(view);
        };
        const [a, b] = [load(x1!, x, lane), load(x2!, x, lane.plus(half))];
        const [c, s] = [load(cos!, tables[0]!, lane), load(sin!, tables[1]!, lane)];
        const [ac, bs, bc, as] = [0, 1, 2, 3].map((t) => cut(work, turn.times(4).plus(t)));
        nc.tensorTensor(ac!, a, 'multiply', c);
        nc.tensorTensor(bs!, b, 'multiply', s);
        nc.tensorTensor(cut(y1!), ac!, 'subtract', bs!);
        nc.tensorTensor(bc!, b, 'multiply', c, second);
        nc.tensorTensor(as!, a, 'multiply', s, second);
        nc.tensorTensor(cut(y2!), bc!, 'add', as!, second);
        nc.dmaCopy(part(y, [lane, lanes], [start, count]), cut(y1!));
        nc.dmaCopy(part(y, [lane.plus(half), lanes], [start, count]), cut(y2!));
      });
    });
  });
}
