/**
 * Numbers as people read them: three or four significant digits and a unit that fits. For text only; JSON carries the
 * numbers themselves.
 */
import type { Bytes } from '../base/units.ts';

const TIMES: readonly (readonly [number, string])[] = [
  [1e9, 's'],
  [1e6, 'ms'],
  [1e3, 'us'],
  [1, 'ns'],
];
const SIZES: readonly (readonly [number, string])[] = [
  [2 ** 40, 'TiB'],
  [2 ** 30, 'GiB'],
  [2 ** 20, 'MiB'],
  [2 ** 10, 'KiB'],
  [1, 'B'],
];

function scaled(value: number, units: readonly (readonly [number, string])[]): string {
  const [size, name] = units.find(([limit]) => Math.abs(value) >= limit) ?? units.at(-1)!;
  return `${significant(value / size)} ${name}`;
}

/** Four significant digits, without an exponent from 0.001 to 10^6. */
export function significant(value: number): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) return value.toExponential(3);
  const digits = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : size >= 1 ? 3 : 4;
  return value.toFixed(digits);
}

/** `1.234 us` of a time in nanoseconds. */
export function formatTime(timeNs: number): string {
  return scaled(timeNs, TIMES);
}

/** `1.5 MiB` of a size in bytes. */
export function formatBytes(bytes: Bytes): string {
  return scaled(bytes, SIZES);
}
