/**
 * 10,000 random instruction streams through the builder, the numeric executor and the clock: whatever is written, it runs or is
 * refused with an error of this package, and soon.
 */
import { expect, test } from 'vitest';
import { clockProgram } from '../src/core/clock.ts';
import {
  type Arena,
  createArena,
  type DType,
  findChip,
  HbmView,
  Index,
  ModelError,
  type Program,
  type ProgramBuilder,
  runProgram,
  type TileView,
  tileProgram,
} from '../src/index.ts';

const STREAMS = 10_000;
const DTYPES: readonly DType[] = [
  'f32',
  'bf16',
  'f16',
  'f8e4m3',
  'f8e4m3fn',
  'f8e5m2',
  'f8e3m4',
  'f4e2m1',
  'e8m0',
  'i8',
  'i32',
];
const ALU = ['add', 'subtract', 'multiply', 'divide', 'max', 'min', 'is_gt', 'is_ge', 'is_equal', 'nonsense'] as const;
const FUNCTIONS = ['copy', 'exp', 'gelu', 'log', 'rsqrt', 'softplus', 'tanh', 'nonsense'] as const;

/** mulberry32: the same streams in every run. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** An error that the package means to throw, with what it expected, and not one of the language's own. */
function isMeant(error: unknown): boolean {
  if (error instanceof ModelError) return true;
  return (error instanceof RangeError || error instanceof TypeError) && error.message.includes('expected');
}

class Writer {
  readonly #random: () => number;
  readonly #nc: ProgramBuilder;
  readonly #tiles: TileView[] = [];
  readonly #indices: Index[] = [];
  refused = 0;

  constructor(nc: ProgramBuilder, random: () => number) {
    this.#nc = nc;
    this.#random = random;
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  #of<T>(choices: readonly T[]): T {
    return choices[this.#below(choices.length)]!;
  }

  #chance(share: number): boolean {
    return this.#random() < share;
  }

  /** Runs what may be refused. */
  #attempt(write: () => void): void {
    try {
      write();
    } catch (error) {
      if (!isMeant(error)) throw error;
      this.refused++;
    }
  }

  tiles(): void {
    this.#tiles.push(this.#nc.sbuf('one', 'f32', 8, 8));
    const count = 2 + this.#below(4);
    // Few shapes, so that operands often fit each other.
    const shapes = Array.from(
      { length: 2 },
      () => [this.#of([1, 4, 8, 32, 64, 128, 129]), this.#of([1, 2, 6, 8, 12, 32, 100000])] as const,
    );
    for (let i = 0; i < count; i++) {
      this.#attempt(() => {
        const [p, f] = this.#of(shapes);
        const startPartition = this.#chance(0.1) ? this.#of([32, 64, 96, 5]) : 0;
        const slots = this.#of([1, 1, 2, 3, 0]);
        const dtype = this.#chance(0.5) ? 'f32' : this.#of(DTYPES);
        const tile = this.#chance(0.7)
          ? this.#nc.sbuf(`t${i}`, dtype, p, f, { slots, startPartition })
          : this.#nc.psum(`t${i}`, p, f, { slots, startPartition, dtype: this.#chance(0.9) ? 'f32' : dtype });
        this.#tiles.push(tile);
        for (let slot = 0; slot < slots; slot++) {
          if (this.#chance(0.9)) this.#attempt(() => this.#nc.memset(tile.slot(slot), this.#of([0, 1, -3.5, 1e30])));
        }
      });
    }
  }

  #index(): number | Index {
    if (this.#indices.length === 0 || this.#chance(0.5)) return this.#of([0, 0, 1, 2, 7, -1]);
    return this.#of(this.#indices)
      .times(this.#of([1, 1, 2, 4, -1]))
      .plus(this.#below(3));
  }

  #view(): TileView {
    let view = this.#of(this.#tiles);
    if (this.#chance(0.4)) view = view.slot(this.#index());
    if (this.#chance(0.2)) view = view.rows(this.#of([0, 32, 64, 1]), this.#of([1, 4, 8, 32]));
    if (this.#chance(0.2)) view = view.columns(this.#index(), 1 + this.#below(8));
    else if (this.#chance(0.15)) {
      view = view.access(this.#index(), [
        [this.#of([0, 2, 4, 8]), this.#of([1, 2, 3])],
        [this.#of([1, 1, 2, 0.5]), this.#of([1, 2, 4])],
      ]);
    }
    return view;
  }

  #scalar(): number | TileView {
    return this.#chance(0.6) ? this.#of([0, 1, -2.5, Infinity]) : this.#view();
  }

  #hbm(role: 'input' | 'output' | 'scratch', like: TileView, count: number): HbmView {
    const tensor = this.#nc[role](`h${count}`, this.#chance(0.7) ? like.dtype : this.#of(DTYPES), [
      like.partitions,
      like.length,
    ]);
    return new HbmView(tensor, new Index(0), like.length, like.partitions, [[1, like.length]]);
  }

  instruction(count: number): void {
    const nc = this.#nc;
    const alu = this.#of(ALU) as 'add';
    const engine = this.#of(['VectorE', 'GpSimdE'] as const);
    const like = this.#of(this.#tiles);
    const near = () => (this.#chance(0.7) ? like : this.#view());
    const kinds = [
      () =>
        nc.matmul(this.#view(), this.#view(), this.#view(), {
          accumulate: this.#chance(0.3),
          mode: this.#of(['normal', 'normal', 'double-row', 'mx']),
        }),
      () => nc.matmul(near(), like, like, { accumulate: this.#indices.slice(0, 1) }),
      () => nc.loadStationary(this.#view()),
      () => nc.transpose(this.#view(), near(), this.#of(['TensorE', 'VectorE'])),
      () =>
        nc.activation(near(), this.#of(FUNCTIONS) as 'exp', near(), {
          scale: this.#scalar(),
          ...(this.#chance(0.2) && { reduced: this.#view() }),
        }),
      () => nc.tensorTensor(near(), near(), alu, near(), engine),
      () =>
        nc.tensorScalar(near(), near(), alu, this.#scalar(), {
          alu1: this.#chance(0.5) ? alu : null,
          operand1: this.#scalar(),
          reverse0: this.#chance(0.5),
          engine,
        }),
      () => nc.tensorReduce(this.#view(), this.#of(['add', 'max', 'min']), near()),
      () => nc.copy(near(), near(), engine),
      () => nc.select(near(), near(), near(), this.#chance(0.5) ? near() : -1),
      () =>
        nc.affineSelect(near(), near(), {
          base: Index.from(this.#index()),
          partitionStep: this.#of([1, -1, 0.5]),
          freeStep: 1,
        }),
      () => nc.iota(near(), { base: Index.from(this.#index()), partitionStep: 3 }),
      () => nc.scan(near(), near(), near(), { alu1: alu, initial: this.#scalar() }),
      () => nc.bnStats(this.#view(), near()),
      () => nc.bnAggregate(this.#view(), near()),
      () => nc.reciprocal(near(), near()),
      () => nc.exponential(near(), near(), this.#view()),
      () => nc.quantizeMx(this.#view(), this.#view(), this.#view(), this.#of(['nki', 'ocp', 'nonsense' as 'nki'])),
      () => nc.memset(near(), this.#of([0, Number.NaN, '1' as unknown as number]), engine),
      () => nc.dmaCopy(near(), near(), { accumulate: this.#chance(0.2) }),
      () => nc.dmaCopy(near(), this.#hbm(this.#of(['input', 'scratch']), like, count)),
      () => nc.dmaCopy(this.#hbm(this.#of(['output', 'scratch']), like, count), near()),
      () => nc.dmaTranspose(this.#view(), near()),
    ];
    this.#attempt(this.#of(kinds));
  }

  body(depth: number): void {
    const count = 2 + this.#below(7);
    for (let i = 0; i < count; i++) {
      if (depth < 2 && this.#chance(0.25)) {
        this.#attempt(() => {
          const loops = this.#chance(0.02) ? 1e12 : this.#below(4);
          this.#nc.loop(loops, (index) => {
            this.#indices.push(index);
            this.body(depth + 1);
            // Sometimes an index outlives its loop, as a mistake would have it.
            if (!this.#chance(0.1)) this.#indices.pop();
          });
        });
      } else this.instruction(100 * depth + i);
    }
  }
}

/** Runs or refuses; says which. */
function execute(arena: Arena, program: Program, rounding: 'nearest' | { seed: number; stream: number }): boolean {
  const inputs = program.tensors
    .filter(({ role }) => role === 'input')
    .map(({ name, dtype, shape }) => {
      const tensor = arena.tensor(dtype, shape);
      tensor.bytesView().fill(1);
      return [name, tensor] as const;
    });
  let isRun = false;
  try {
    const outputs = runProgram(program, Object.fromEntries(inputs), { arena, rounding, maxInstructions: 1e4 });
    for (const tensor of Object.values(outputs)) tensor.dispose();
    isRun = true;
  } catch (error) {
    if (!isMeant(error)) throw error;
  }
  for (const [, tensor] of inputs) tensor.dispose();
  return isRun;
}

test('10,000 random instruction streams run or are refused, and leave no memory behind', { timeout: 300_000 }, () => {
  const arena = createArena({ maximumBytes: 2 ** 28 });
  const cores = (['trn1', 'trn2', 'trn3'] as const).map((id) => findChip(id).core!);
  const tally = { instructions: 0, refused: 0, run: 0 };
  let used: number | undefined;
  for (let seed = 0; seed < STREAMS; seed++) {
    const random = generator(seed);
    let refused = 0;
    const program = tileProgram(`stream ${seed}`, cores[seed % 3]!, (nc) => {
      const writer = new Writer(nc, random);
      writer.tiles();
      writer.body(0);
      refused = writer.refused;
    });
    tally.refused += refused;
    tally.instructions += program.instructions;
    const isRun = execute(arena, program, seed % 2 === 0 ? 'nearest' : { seed, stream: 0 });
    if (isRun) tally.run++;
    // What has numbers has a time; the others may have one or be refused.
    if (isRun) clockProgram(program);
    if (seed === 999) used = arena.usedBytes;
  }
  // The scratch of the kernels stays, whatever ran; nothing else does.
  expect(arena.usedBytes).toBeLessThan(used! + 2 ** 23);
  expect(tally.instructions).toBeGreaterThan(5 * STREAMS);
  expect(tally.run).toBeGreaterThan(STREAMS / 4);
});
