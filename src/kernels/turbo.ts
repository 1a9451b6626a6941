/**
 * Turbo: V8's revectoriser, which fuses pairs of 128-bit operations into 256-bit ones (AVX2). Experimental in V8, and set
 * for the whole process, so never a default. Node 24+ on x64.
 *
 * `enableTurbo()` sets the flag, compiles the kernels anew with tiles of 16 columns, checks them against the plain build
 * and checks that they are faster; otherwise everything stays as it was and the answer says why.
 */
import { createArena } from './arena.ts';
import { matmul } from './matmul.ts';
import { fillUniform } from './random.ts';
import { hasRelaxedSimd, setTurbo } from './wasm.ts';

export interface TurboAnswer {
  readonly enabled: boolean;
  /** Why not, or what was measured. */
  readonly reason: string;
}

const FLAG = '--experimental-wasm-revectorize';
/** First V8 whose revectoriser fuses the products of these kernels: Node 24. */
const FIRST_V8 = 13;
/** Less than this, and the host's processor or V8 does not do it: the wide tiles then only spill. */
const LEAST_GAIN = 1.2;
/** Rounds of the self-test of speed, each of about 1 ms. */
const LEAST_ROUNDS = 60;
const MOST_ROUNDS = 400;

interface NodeProcess {
  readonly arch?: string;
  readonly versions?: { readonly v8?: string; readonly bun?: string };
  getBuiltinModule?(name: string): unknown;
}

let answer: TurboAnswer | undefined;

/** Turns turbo on for arenas that are made from now on, if the host can. Asked again, it gives the same answer. */
export function enableTurbo(): TurboAnswer {
  answer ??= tryTurbo();
  return answer;
}

function tryTurbo(): TurboAnswer {
  const { process } = globalThis as { process?: NodeProcess };
  const v8 = process?.getBuiltinModule?.('node:v8') as { setFlagsFromString(flag: string): void } | undefined;
  const version = Number.parseInt(process?.versions?.v8 ?? '0', 10);
  // Bun reports a V8 version, but runs on another engine.
  const isNode = v8 !== undefined && process?.versions?.bun === undefined;
  if (!isNode || version < FIRST_V8) return no('needs Node 24 or later');
  if (process?.arch !== 'x64') return no(`needs an x64 processor, this one is ${process?.arch}`);
  if (!hasRelaxedSimd()) return no('needs relaxed SIMD');
  try {
    v8.setFlagsFromString(FLAG);
    if (!isCorrect()) return no('the self-test gave other results than the plain build');
    const gain = gainOfTurbo();
    if (gain < LEAST_GAIN) return no(`the self-test ran at ${gain.toFixed(2)} times the speed without it`);
    setTurbo(true);
    return { enabled: true, reason: `${gain.toFixed(2)} times the speed without it` };
  } catch (error) {
    return no(`the self-test failed: ${String(error)}`);
  }
}

function no(reason: string): TurboAnswer {
  return { enabled: false, reason };
}

/** A product of small integers is exact in every build: all edges of the tiles, and sums over several blocks. */
function isCorrect(): boolean {
  const [expected, actual] = (['simd', 'turbo'] as const).map((build) => {
    const arena = createArena({ build });
    const a = arena.tensor('f32', [37, 900]).set(Float32Array.from({ length: 37 * 900 }, (_, i) => (i % 17) - 8));
    const b = arena.tensor('f32', [900, 150]).set(Float32Array.from({ length: 900 * 150 }, (_, i) => (i % 13) - 6));
    const out = arena.tensor('f32', [37, 150]);
    matmul(a, b, out);
    return out.toFloat32();
  });
  return expected!.every((value, i) => value === actual![i]);
}

/**
 * How many times as fast as the relaxed build turbo is, by products of 192 x 192 matrices in turns: the best of each, of as many
 * rounds as it takes to see a gain, since the compiler and other work on the machine may hold up the first ones.
 */
function gainOfTurbo(): number {
  const [turbo, relaxed] = (['turbo', 'relaxed'] as const).map((build) => {
    const arena = createArena({ build });
    const [a, b, out] = [1, 2, 3].map((stream) => {
      const tensor = arena.tensor('f32', [192, 192]);
      fillUniform(tensor, { seed: 1, stream, scale: 1 });
      return tensor;
    });
    return { best: Infinity, run: () => matmul(a!, b!, out!) };
  });
  let gain = 0;
  for (let round = 0; round < MOST_ROUNDS && (round < LEAST_ROUNDS || gain < LEAST_GAIN); round++) {
    for (const candidate of [turbo!, relaxed!]) {
      const begin = performance.now();
      candidate.run();
      candidate.best = Math.min(candidate.best, performance.now() - begin);
    }
    gain = relaxed!.best / turbo!.best;
  }
  return gain;
}
