/**
 * JSON in and out, with nothing lost on the way.
 *
 * `JSON.stringify` turns NaN and infinities into null, typed arrays into objects and a Map into {}: each would let a
 * wrong number pass as a missing one. The writer refuses all of them and names the place. Its output depends on the
 * value alone: keys in insertion order, two spaces, a newline at the end.
 * The reader adds the position that the host's message often lacks and always words differently.
 */
import { ModelError, show } from './errors.ts';

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function refuse(path: string, expected: string, got: string): never {
  throw new TypeError(`"${path === '' ? 'value' : path}" expected ${expected}, got ${got}`);
}

/** `ancestors` are the containers around `value`: meeting one again is a cycle, meeting it elsewhere is not. */
function check(value: unknown, path: string, ancestors: readonly object[]): void {
  if (value === null || typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value)) return;
  if (typeof value === 'number') refuse(path, 'a finite number', String(value));
  if (!Array.isArray(value) && !isPlainObject(value)) {
    refuse(path, 'a JSON value', typeof value === 'object' ? `a ${value?.constructor?.name}` : show(value));
  }
  if (ancestors.includes(value)) refuse(path, 'a tree', 'a cycle');
  const inside = [...ancestors, value];
  if (Array.isArray(value)) {
    // By index: `forEach` would step over the holes of a sparse array.
    for (let i = 0; i < value.length; i++) check(value[i], `${path}[${i}]`, inside);
    return;
  }
  for (const [key, member] of Object.entries(value)) {
    if (member !== undefined) check(member, path === '' ? key : `${path}.${key}`, inside);
  }
}

/**
 * `value` as indented JSON text that ends with a newline. A key whose value is undefined is left out, as in
 * `JSON.stringify`.
 * @throws TypeError that names the path of a NaN or infinity, an undefined in an array, a BigInt, function or symbol, a
 * typed array or other class instance, or a cycle.
 */
export function toJson(value: unknown): string {
  check(value, '', []);
  return `${JSON.stringify(value, null, 2)}\n`;
}

const SPACE = /[ \t\n\r]*/y;
const TOKEN =
  /[{}[\],:]|"[ !#-[\]-\u{10ffff}]*(?:\\(?:["\\/bfnrt]|u[\da-fA-F]{4})[ !#-[\]-\u{10ffff}]*)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/uy;

/**
 * Offset of the first token of `text` that no JSON text can have there; the length of `text` if it only ends too early.
 * `accepted` holds the first characters of the tokens that may come next; `v` stands for a number, true, false, null.
 */
function errorOffset(text: string): number {
  const value = '{["v';
  const closers: string[] = [];
  let accepted = value;
  for (let at = 0; ; at = TOKEN.lastIndex) {
    SPACE.lastIndex = at;
    SPACE.test(text);
    TOKEN.lastIndex = SPACE.lastIndex;
    const start = TOKEN.lastIndex;
    const first = TOKEN.exec(text)?.[0][0];
    if (first === undefined) return start;
    const kind = '{}[],:"'.includes(first) ? first : 'v';
    if (!accepted.includes(kind)) return start;
    const isKey = kind === '"' && !accepted.includes('v');
    if (kind === '{') closers.push('}');
    else if (kind === '[') closers.push(']');
    else if (kind === '}' || kind === ']') closers.pop();
    const closer = closers.at(-1) ?? '';
    if (kind === '{') accepted = '"}';
    else if (kind === '[') accepted = `${value}]`;
    else if (kind === ',') accepted = closer === '}' ? '"' : value;
    else if (kind === ':') accepted = value;
    else if (isKey) accepted = ':';
    else accepted = closer === '' ? '' : `,${closer}`;
  }
}

/**
 * The value of a JSON text. `path` names the file in the error.
 * @throws ModelError CONFIG with line and column if `text` is not JSON.
 */
export function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const offset = errorOffset(text);
    const before = text.slice(0, offset).split('\n');
    const place = `line ${before.length}, column ${before.at(-1)!.length + 1}`;
    const found = offset >= text.length ? 'the text ends' : `unexpected ${show(text.slice(offset, offset + 12))}`;
    throw new ModelError('CONFIG', path, `expected JSON, but ${found} at ${place}`, { cause });
  }
}
