/**
 * The memory of a program as it is written: tensors in HBM, tiles in SBUF and PSUM one after another, and scopes after which the
 * tiles declared inside are free again.
 */
import { expectInteger, expectOneOf, ModelError } from '../base/errors.ts';
import type { CoreSpec } from '../hardware/spec.ts';
import { DTYPES, type DType } from '../kernels/dtype.ts';
import { type HbmTensor, Index, type Tile, TileView } from './access.ts';
import { checkRows, checkTile } from './constraints-memory.ts';

export class ProgramMemory {
  readonly tensors: HbmTensor[] = [];
  readonly tiles: Tile[] = [];
  /** Tiles whose scope is open. */
  readonly open: Set<Tile> = new Set();
  /** Most bytes per partition of SBUF, and banks of PSUM, in use at once. */
  sbufMost = 0;
  banksMost = 0;
  readonly #program: string;
  readonly #core: CoreSpec;
  #sbuf = 0;
  #banks = 0;

  constructor(program: string, core: CoreSpec) {
    this.#program = program;
    this.#core = core;
  }

  /** Tiles declared inside are free again afterwards. */
  scope(write: () => void): void {
    const [sbuf, banks, tiles] = [this.#sbuf, this.#banks, this.tiles.length];
    write();
    [this.#sbuf, this.#banks] = [sbuf, banks];
    for (const tile of this.tiles.slice(tiles)) this.open.delete(tile);
  }

  /** @throws RangeError for a shape or a format that there is none of; ModelError (PROGRAM) for a name that is taken */
  tensor(name: string, dtype: DType, shape: readonly number[], role: HbmTensor['role']): HbmTensor {
    shape.forEach((size, d) => {
      expectInteger(`${name}.shape[${d}]`, size, 1);
    });
    expectOneOf(`${name}.dtype`, dtype, Object.keys(DTYPES) as DType[]);
    expectInteger(
      `${name} elements`,
      shape.reduce((product, size) => product * size, 1),
    );
    checkRows(`${this.#program}: tensor ${name}`, dtype, shape.at(-1) ?? 1);
    if (this.tensors.some((tensor) => tensor.name === name)) {
      throw new ModelError('PROGRAM', this.#program, `expected tensors of different names, got a second ${name}`);
    }
    const tensor: HbmTensor = { id: this.tensors.length, name, dtype, shape: [...shape], role };
    this.tensors.push(tensor);
    return tensor;
  }

  /** @throws ModelError (PROGRAM) if the buffer does not hold it beside what is declared already */
  tile(
    buffer: Tile['buffer'],
    name: string,
    dtype: DType,
    partitions: number,
    free: number,
    slots: number,
    startPartition: number,
  ): TileView {
    const bankBytes = this.#core.psum! / this.#core.partitions / this.#core.psumBanks;
    expectOneOf(`${name}.dtype`, dtype, Object.keys(DTYPES) as DType[]);
    const bytes = free * DTYPES[dtype].bytes;
    const slotBytes = buffer === 'psum' ? Math.ceil(bytes / bankBytes) * bankBytes : bytes;
    const address = buffer === 'psum' ? this.#banks * bankBytes : this.#sbuf;
    const tile: Tile = {
      id: this.tiles.length,
      name,
      buffer,
      dtype,
      partitions,
      free,
      slots,
      startPartition,
      address,
      slotBytes,
    };
    checkTile(this.#core, `${this.#program}: tile ${name}`, tile);
    if (buffer === 'psum') {
      this.#banks += (slots * slotBytes) / bankBytes;
      this.banksMost = Math.max(this.banksMost, this.#banks);
    } else {
      this.#sbuf += slots * slotBytes;
      this.sbufMost = Math.max(this.sbufMost, this.#sbuf);
    }
    this.tiles.push(tile);
    this.open.add(tile);
    return new TileView(tile, new Index(0), 0, partitions, new Index(0), [[1, free]]);
  }
}
