/**
 * DMA: elements of one side to those of the other, in the order partition by partition. Between different formats it
 * converts; with `accumulate` it adds to the destination in FP32 and rounds once.
 */
import type { InstructionOf } from '../instructions.ts';
import { type EngineMemory, isSameMemory, type Step } from './engine.ts';

/** Also the copies of the other engines, which convert in the same way. */
export function prepareCopy(
  memory: EngineMemory,
  where: string,
  instruction: InstructionOf<'dma_copy' | 'tensor_copy'>,
): Step {
  const [out, x] = [instruction.out[0]!, instruction.in[0]!];
  const [to, from] = [memory.operand(where, out), memory.operand(where, x)];
  const { arena } = memory;
  if (to.dtype !== from.dtype) {
    const read = memory.reader(where, x, 'x');
    const write = memory.writer(where, out, 'out', instruction.in);
    return () => {
      const [source, target] = [read(), write.open()];
      memory.bytes.copyWithin(target, source, source + to.elements * 4);
      write.close();
    };
  }
  const isOneRun = to.isContiguous && from.isContiguous;
  const isDirect = !isOneRun && to.partitions === from.partitions && !isSameMemory(x, out);
  const move = isDirect ? memory.mover(from, to) : null;
  if (isOneRun || move) {
    // From place to place: most DMAs. Only a copy of one run may overlap itself.
    return () => {
      from.expectWritten();
      const [source, target] = [from.address(arena), to.address(arena)];
      if (move) move(source, target);
      else memory.bytes.copyWithin(target, source, source + to.bytes);
      to.markWritten();
    };
  }
  const read = memory.rawReader(where, x, 'x');
  const write = memory.rawWriter(where, out, 'out', instruction.in);
  return () => {
    const [source, target] = [read(), write.open()];
    memory.bytes.copyWithin(target, source, source + to.bytes);
    write.close();
  };
}

/** out += x, summed in FP32. */
export function prepareAccumulate(
  memory: EngineMemory,
  where: string,
  { out: [out], in: [x] }: InstructionOf<'dma_copy'>,
): Step {
  const read = memory.reader(where, x!, 'x');
  const readOld = memory.reader(where, out!, 'y');
  const write = memory.writer(where, out!, 'out', [x!, out!]);
  const count = out!.partitions * out!.length;
  return () => {
    memory.arena.kernels.add_f32(count, read(), readOld(), write.open());
    write.close();
  };
}
