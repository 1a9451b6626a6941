/**
 * What an instruction may refer to where it stands: tensors of its own program, tiles whose scope is open (later tiles take their
 * memory), and the indices of the loops around it (others have no value there).
 */
import { ModelError } from '../base/errors.ts';
import type { HbmTensor, Index, Loop, Tile, View } from './access.ts';
import type { Instruction } from './instructions.ts';

export interface Scope {
  readonly loops: ReadonlySet<Loop>;
  readonly tiles: ReadonlySet<Tile>;
  readonly tensors: readonly HbmTensor[];
}

/** @throws ModelError (PROGRAM) that names what is out of reach */
export function checkScope({ loops, tiles, tensors }: Scope, where: string, instruction: Instruction): void {
  for (const view of [...instruction.out, ...instruction.in]) {
    if (view.kind === 'hbm' && !tensors.includes(view.tensor))
      refuse(where, 'a tensor of this program', view.tensor.name);
    if (view.kind === 'tile' && !tiles.has(view.tile)) refuse(where, 'a tile whose scope is open', view.tile.name);
  }
  const stranger = indicesOf(instruction)
    .flatMap(({ terms }) => terms)
    .find(({ loop }) => !loops.has(loop));
  if (stranger) refuse(where, 'indices of the loops around it', `one of loop ${stranger.loop.id}`);
}

function indicesOf({ out, in: inputs, attributes }: Instruction): Index[] {
  const ofView = (view: View) => (view.kind === 'tile' ? [view.offset, view.slotIndex] : [view.offset]);
  const indices = [...out, ...inputs].flatMap(ofView);
  if ('base' in attributes) indices.push(attributes.base);
  if ('accumulate' in attributes && typeof attributes.accumulate === 'object') indices.push(...attributes.accumulate);
  return indices;
}

function refuse(where: string, expected: string, got: string): never {
  throw new ModelError('PROGRAM', where, `expected ${expected}, got ${got}`);
}
