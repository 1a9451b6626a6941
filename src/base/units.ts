/**
 * Units. Inside the package every quantity is in SI base units; its type says which.
 * Other units appear only in data files, flags and report text, and then in the name (`latencyNs`).
 * GB is 10^9 bytes, GiB is 2^30, always. (ASTRA-sim's "GB/s" is 2^30: convert at its reader.)
 */

export type Seconds = number;
export type Bytes = number;
export type Flops = number;
export type BytesPerSecond = number;
export type FlopsPerSecond = number;
export type Hertz = number;
export type Watts = number;
export type Joules = number;
export type Dollars = number;
/** Event time. An integer, exact in a double up to 2^53 ps = 2.5 h, so that equal times are equal. */
export type Picoseconds = number;

export const PICOSECONDS_PER_SECOND = 1e12;

/** Seconds to whole picoseconds: the only place where a duration is rounded. */
export function toPicoseconds(t: Seconds): Picoseconds {
  return Math.round(t * PICOSECONDS_PER_SECOND);
}

/** Whole picoseconds to nanoseconds, for reports: at most three decimals, so exact to print. */
export function toNanoseconds(t: Picoseconds): number {
  return t / 1000;
}

const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
  TIB: 2 ** 40,
};

/**
 * Bytes of a size as written on the command line: `64MiB`, `1GB`, `4096`.
 * @throws RangeError if `text` is no size or not a whole number of bytes.
 */
export function parseSize(name: string, text: string): Bytes {
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(text.trim());
  const unit = match ? SIZE_UNITS[match[2]!.toUpperCase()] : undefined;
  const bytes = match && unit !== undefined ? Number(match[1]) * unit : Number.NaN;
  if (!Number.isSafeInteger(bytes)) {
    throw new RangeError(`"${name}" expected a size such as 4096, 64MiB or 1GB, got ${JSON.stringify(text)}`);
  }
  return bytes;
}
