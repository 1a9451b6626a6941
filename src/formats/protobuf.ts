/**
 * The protobuf wire format, read within bounds and written: varints, 4- and 8-byte words, length-delimited fields.
 *
 * Every read is checked against the end of the message it is in, so that a truncated varint or a length of 10 GB is an
 * error at its offset and never a read past the end or an allocation. 64-bit integers that a double cannot hold stay
 * exact as bigint. Groups (wire types 3 and 4) are left out: nothing has written them since 2008.
 * see: protobuf.dev/programming-guides/encoding
 */
import { ModelError } from '../base/errors.ts';

export const WIRE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

const TWO_32 = 2 ** 32;
const utf8 = new TextDecoder();

/** A place in the bytes of one message. `field` and `wire` are those of the field that `next` stepped to. */
export class ProtobufReader {
  field = 0;
  wire = 0;
  at: number;
  end: number;
  readonly #bytes: Uint8Array;
  readonly #words: DataView;
  /** Names the file, in errors. */
  readonly #path: string;

  constructor(bytes: Uint8Array, path: string, at: number = 0, end: number = bytes.length) {
    this.#bytes = bytes;
    this.#words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#path = path;
    this.at = at;
    this.end = end;
  }

  fail(message: string): never {
    throw new ModelError('CONFIG', this.#path, `${message} at byte ${this.at}`);
  }

  /** Steps to the next field; false at the end of the message. */
  next(): boolean {
    if (this.at >= this.end) return false;
    const tag = this.unsigned();
    if (typeof tag === 'bigint' || tag >= TWO_32 || tag < 8) this.fail(`expected a field, got tag ${tag}`);
    this.field = Math.floor(tag / 8);
    this.wire = tag % 8;
    return true;
  }

  /** A varint as an unsigned integer. */
  unsigned(): number | bigint {
    const bytes = this.#bytes;
    // One byte is the common case by far.
    if (this.at < this.end && bytes[this.at]! < 0x80) return bytes[this.at++]!;
    let value = 0;
    let scale = 1;
    for (let at = this.at; at < this.end && at < this.at + 10; at++, scale *= 128) {
      const byte = bytes[at]!;
      value += (byte % 128) * scale;
      if (byte >= 0x80) continue;
      if (value > Number.MAX_SAFE_INTEGER) return this.#large(at + 1);
      this.at = at + 1;
      return value;
    }
    return this.fail(this.end - this.at < 10 ? 'truncated varint' : 'expected a varint of at most 10 bytes');
  }

  #large(end: number): bigint {
    let value = 0n;
    for (let at = end - 1; at >= this.at; at--) value = (value << 7n) | BigInt(this.#bytes[at]! % 128);
    this.at = end;
    return BigInt.asUintN(64, value);
  }

  /** A varint as a two's complement 64-bit integer: -1 is written as 2^64 - 1. */
  signed(): number | bigint {
    const value = this.unsigned();
    return typeof value === 'number' ? value : narrow(BigInt.asIntN(64, value));
  }

  /** A varint in zigzag: 0, -1, 1, -2, ... */
  zigzag(): number | bigint {
    const value = this.unsigned();
    if (typeof value === 'number') return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    return narrow((value >> 1n) ^ -(value & 1n));
  }

  #word(size: 4 | 8): number {
    if (this.end - this.at < size) this.fail(`truncated ${size}-byte word`);
    this.at += size;
    return this.at - size;
  }

  float(): number {
    return this.#words.getFloat32(this.#word(4), true);
  }

  double(): number {
    return this.#words.getFloat64(this.#word(8), true);
  }

  fixed32(): number {
    return this.#words.getUint32(this.#word(4), true);
  }

  sfixed32(): number {
    return this.#words.getInt32(this.#word(4), true);
  }

  fixed64(): number | bigint {
    return narrow(this.#words.getBigUint64(this.#word(8), true));
  }

  sfixed64(): number | bigint {
    return narrow(this.#words.getBigInt64(this.#word(8), true));
  }

  /** Where the length-delimited value at this place ends. */
  delimited(): number {
    const length = this.unsigned();
    if (typeof length === 'bigint' || length > this.end - this.at) {
      this.fail(`expected at most ${this.end - this.at} more bytes, got a length of ${length}`);
    }
    return this.at + length;
  }

  bytes(): Uint8Array {
    const end = this.delimited();
    const value = this.#bytes.subarray(this.at, end);
    this.at = end;
    return value;
  }

  string(): string {
    return utf8.decode(this.bytes());
  }

  /** Runs `read` on the embedded message at this place, and leaves the place behind it. */
  message(read: (reader: this) => void): void {
    const outer = this.end;
    this.end = this.delimited();
    const { end } = this;
    read(this);
    this.at = end;
    this.end = outer;
  }

  /** Values of a repeated scalar, packed or one at a time, appended to `values`. `wire` is that of one value. */
  repeated<T>(wire: number, values: T[], read: () => T): void {
    if (this.wire === wire) values.push(read());
    else if (this.wire === WIRE.bytes) this.message(() => this.#packed(values, read));
    else this.fail(`expected wire type ${wire} of field ${this.field}, got ${this.wire}`);
  }

  #packed<T>(values: T[], read: () => T): void {
    while (this.at < this.end) values.push(read());
  }

  skip(): void {
    if (this.wire === WIRE.varint) this.unsigned();
    else if (this.wire === WIRE.fixed64) this.#word(8);
    else if (this.wire === WIRE.bytes) this.at = this.delimited();
    else if (this.wire === WIRE.fixed32) this.#word(4);
    else this.fail(`expected wire type 0, 1, 2 or 5, got ${this.wire}`);
  }

  /** @throws ModelError if the field is not written as `wire`. */
  expectWire(wire: number): void {
    if (this.wire !== wire) this.fail(`expected wire type ${wire} of field ${this.field}, got ${this.wire}`);
  }
}

function narrow(value: bigint): number | bigint {
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}

/** Bytes of a message, appended field by field. */
export class ProtobufWriter {
  #bytes = new Uint8Array(256);
  #length = 0;

  #reserve(size: number): void {
    if (this.#length + size <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + size));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }

  /** A varint; a negative value is written as two's complement of 64 bits. */
  varint(value: number | bigint): void {
    this.#reserve(10);
    if (typeof value === 'bigint' || value < 0 || value > Number.MAX_SAFE_INTEGER) {
      let rest = BigInt.asUintN(64, BigInt(value));
      for (; rest > 127n; rest >>= 7n) this.#bytes[this.#length++] = Number(rest & 127n) + 128;
      this.#bytes[this.#length++] = Number(rest);
      return;
    }
    let rest = value;
    for (; rest > 127; rest = Math.floor(rest / 128)) this.#bytes[this.#length++] = (rest % 128) + 128;
    this.#bytes[this.#length++] = rest;
  }

  tag(field: number, wire: number): void {
    this.varint(field * 8 + wire);
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** A length and the bytes: of a string, a message, a packed list. */
  delimited(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.raw(bytes);
  }

  word(size: 4 | 8, write: (view: DataView) => void): void {
    const bytes = new Uint8Array(size);
    write(new DataView(bytes.buffer));
    this.raw(bytes);
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }
}
