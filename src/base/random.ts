/**
 * Random numbers by counter: number i of a stream is a function of (seed, stream, i) alone, so that two experiments of
 * one seed do not share numbers and the result is the same on every host.
 *
 * Philox4x32-10, four words a counter. see: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011, 3.3.
 */
import { expectInteger } from './errors.ts';
import { log } from './math.ts';

const ROUNDS = 10;
const MULTIPLIERS = [0xd2511f53, 0xcd9e8d57] as const;
const WEYL = [0x9e3779b9, 0xbb67ae85] as const;

/** Upper 32 bits of the 64-bit product of two unsigned words, by halves: no partial sum passes 2^53. */
function highWord(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  return aHigh * bHigh + Math.floor(middle / 65536) + Math.floor((aLow * bHigh + (middle % 65536)) / 65536);
}

/** Uniform numbers of one stream, each strictly between 0 and 1, with 32 bits. */
export function uniformStream(seed: number, stream: number): () => number {
  expectInteger('seed', seed);
  expectInteger('stream', stream, 0, 2 ** 32 - 1);
  const words = new Uint32Array(4);
  let counter = 0;
  let used = 4;
  return () => {
    if (used === 4) {
      philox(words, counter++, stream, seed);
      used = 0;
    }
    return (words[used++]! + 0.5) / 2 ** 32;
  };
}

/** Waiting times of a memoryless process: exponential with mean 1. By inversion, one uniform number each. */
export function exponentialStream(seed: number, stream: number): () => number {
  const uniform = uniformStream(seed, stream);
  return () => -log(uniform());
}

function philox(out: Uint32Array, counter: number, stream: number, seed: number): void {
  let c0 = counter >>> 0;
  let c1 = Math.floor(counter / 2 ** 32);
  let c2 = stream >>> 0;
  let c3 = 0;
  let k0 = seed >>> 0;
  let k1 = Math.floor(seed / 2 ** 32);
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = highWord(MULTIPLIERS[0], c0);
    const low0 = Math.imul(MULTIPLIERS[0], c0);
    const high1 = highWord(MULTIPLIERS[1], c2);
    const low1 = Math.imul(MULTIPLIERS[1], c2);
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1 >>> 0;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0 >>> 0;
    k0 = (k0 + WEYL[0]) >>> 0;
    k1 = (k1 + WEYL[1]) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}
