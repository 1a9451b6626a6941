/** Streams with semaphores: the order that they allow, and what is said when they allow none. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  block,
  createArena,
  type EngineStream,
  findChip,
  interleave,
  ModelError,
  type Program,
  runProgram,
  tileProgram,
} from '../src/index.ts';

const core = findChip('trn2').core!;

/** `count` instructions that write one element each. */
function memsets(count: number): Program {
  return tileProgram('memsets', core, (nc) => {
    const a = nc.sbuf('a', 'f32', 1, count);
    for (let i = 0; i < count; i++) nc.memset(a.columns(i, 1), i);
  });
}

const ids = (program: Program) => program.body.map((node) => (node.op === 'loop' ? -1 : node.id));

describe('interleave', () => {
  test('streams run in order, and a wait holds a stream back until its semaphore is there', () => {
    const streams: EngineStream[] = [
      { name: 'VectorE', steps: [{ node: 0, waits: [{ semaphore: 's', atLeast: 3 }] }, { node: 3 }] },
      {
        name: 'GpSimdE',
        steps: [
          { node: 1, signals: [{ semaphore: 's' }] },
          { node: 2, signals: [{ semaphore: 's', by: 2 }] },
        ],
      },
    ];
    expect(ids(interleave(memsets(4), streams))).toEqual([1, 2, 0, 3]);
  });

  test('a program in its own order comes back as it was', () => {
    const streams: EngineStream[] = [0, 1, 2].map((part) => ({
      name: `engine ${part}`,
      steps: [0, 1, 2, 3].map((i) => ({ node: 3 * i + part })),
    }));
    expect(ids(interleave(memsets(12), streams))).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  });

  test('the result runs: a load, a product and a store, written down backwards', () => {
    const arena = createArena();
    const program = tileProgram('backwards', core, (nc) => {
      const [x, y] = [nc.input('x', 'f32', [4, 4]), nc.output('y', 'f32', [4, 4])];
      const tile = nc.sbuf('tile', 'f32', 4, 4);
      nc.dmaCopy(block(y, [0, 4], [0, 4]), tile);
      nc.tensorScalar(tile, tile, 'multiply', 2);
      nc.dmaCopy(tile, block(x, [0, 4], [0, 4]));
    });
    const ordered = interleave(program, [
      { name: 'load', steps: [{ node: 2, signals: [{ semaphore: 'loaded' }] }] },
      {
        name: 'VectorE',
        steps: [{ node: 1, waits: [{ semaphore: 'loaded', atLeast: 1 }], signals: [{ semaphore: 'done' }] }],
      },
      { name: 'store', steps: [{ node: 0, waits: [{ semaphore: 'done', atLeast: 1 }] }] },
    ]);
    const x = arena.tensor('f32', [4, 4]).set(Array(16).fill(3));
    expect(runProgram(ordered, { x }).y!.toFloat32()[5]).toBe(6);
    expect(() => runProgram(program, { x })).toThrow('instruction 0 (dma_copy): reads tile "tile"[0]');
  });

  test('a wait that nobody signals enough names the instruction and how far the signals go', () => {
    const streams: EngineStream[] = [
      { name: 'VectorE', steps: [{ node: 0, waits: [{ semaphore: 's', atLeast: 3 }] }] },
      { name: 'GpSimdE', steps: [{ node: 1, signals: [{ semaphore: 's', by: 2 }] }] },
    ];
    expect(() => interleave(memsets(2), streams)).toThrow(
      'memsets: instruction 0 (memset) of VectorE waits for "s" >= 3, which all signals take to 2 only',
    );
  });

  test('a cycle names the instructions in it, and only those', () => {
    const wait = (semaphore: string) => ({ waits: [{ semaphore, atLeast: 1 }], signals: [] });
    const streams: EngineStream[] = [
      { name: 'bystander', steps: [{ node: 6, ...wait('a') }] },
      {
        name: 'A',
        steps: [
          { node: 0, ...wait('c') },
          { node: 1, signals: [{ semaphore: 'a' }] },
        ],
      },
      {
        name: 'B',
        steps: [
          { node: 2, ...wait('a') },
          { node: 3, signals: [{ semaphore: 'b' }] },
        ],
      },
      {
        name: 'C',
        steps: [
          { node: 4, ...wait('b') },
          { node: 5, signals: [{ semaphore: 'c' }] },
        ],
      },
    ];
    const error = (() => {
      try {
        interleave(memsets(7), streams);
      } catch (thrown) {
        return thrown as ModelError;
      }
      return undefined;
    })();
    expect(error).toBeInstanceOf(ModelError);
    expect(error!.code).toBe('PROGRAM');
    for (const node of [0, 2, 4]) expect(error!.message).toContain(`instruction ${node} (memset)`);
    expect(error!.message).not.toContain('bystander');
  });

  test('a stream that waits for its own later signal is a cycle of one', () => {
    const streams: EngineStream[] = [
      {
        name: 'A',
        steps: [
          { node: 0, waits: [{ semaphore: 's', atLeast: 1 }] },
          { node: 1, signals: [{ semaphore: 's' }] },
        ],
      },
    ];
    expect(() => interleave(memsets(2), streams)).toThrow(
      'a cycle of waits: instruction 0 (memset) of A waits for "s" >= 1',
    );
  });

  test('nodes that are missing, double or unknown, and wrong numbers, are errors', () => {
    const run = (...streams: EngineStream[]) => interleave(memsets(2), streams);
    expect(() => run({ name: 'A', steps: [{ node: 0 }] })).toThrow('got none with node 1');
    expect(() => run({ name: 'A', steps: [{ node: 0 }, { node: 0 }] })).toThrow('got 0 again');
    expect(() => run({ name: 'A', steps: [{ node: 2 }] })).toThrow('"A[0].node" expected integer in 0..1, got 2');
    const signals = [{ semaphore: 's', by: 0 }];
    expect(() => run({ name: 'A', steps: [{ node: 0, signals }, { node: 1 }] })).toThrow(
      'expected integer >= 1, got 0',
    );
    const many = Array.from({ length: 257 }, (_, i) => ({ semaphore: `s${i}` }));
    expect(() => run({ name: 'A', steps: [{ node: 0, signals: many }, { node: 1 }] })).toThrow(
      'at most 256 semaphores',
    );
  });

  test('whatever the streams: an order that keeps every wait, or an error', () => {
    const step = fc.record({
      waits: fc.array(fc.record({ semaphore: fc.constantFrom('a', 'b', 'c'), atLeast: fc.nat(4) }), { maxLength: 2 }),
      signals: fc.array(fc.record({ semaphore: fc.constantFrom('a', 'b', 'c'), by: fc.integer({ min: 1, max: 2 }) }), {
        maxLength: 2,
      }),
      stream: fc.nat(3),
    });
    let [ordered, refused] = [0, 0];
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
        const streams = [0, 1, 2, 3].map((stream) => ({
          name: `engine ${stream}`,
          steps: steps.flatMap((entry, node) => (entry.stream === stream ? [{ ...entry, node }] : [])),
        }));
        const program = memsets(steps.length);
        let order: number[];
        try {
          order = ids(interleave(program, streams));
        } catch (error) {
          expect(error).toBeInstanceOf(ModelError);
          refused++;
          return;
        }
        ordered++;
        const values = new Map<string, number>();
        const place = new Map(order.map((node, i) => [node, i]));
        for (const node of order) {
          for (const { semaphore, atLeast } of steps[node]!.waits) {
            expect(values.get(semaphore) ?? 0).toBeGreaterThanOrEqual(atLeast);
          }
          for (const { semaphore, by } of steps[node]!.signals)
            values.set(semaphore, (values.get(semaphore) ?? 0) + by);
        }
        for (const { steps: own } of streams) {
          const places = own.map(({ node }) => place.get(node)!);
          expect(places).toEqual([...places].sort((a, b) => a - b));
        }
      }),
      { seed: 4, numRuns: 500 },
    );
    expect(Math.min(ordered, refused)).toBeGreaterThan(50);
  });
});
