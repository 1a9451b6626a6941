/**
 * The port to SBUF that VectorE and GpSimdE share. While one of them reads or writes through it, the other waits:
 *
 *     v2       always
 *     v3, v4   while VectorE works in a performance mode: more than an element a cycle
 *
 * Leaves out that VectorE and ScalarE of v2 "may not access PSUM in parallel": as a lock for whole instructions it would make
 * attention on Trainium1 take longer (the passes of both add up to 305 us at least) than was measured (293 us).
 * see: Neuron SDK, nki/guides/architecture/trainium_inferentia2_arch (parallel access), trainium2_arch (performance mode).
 */
import type { CoreSpec } from '../hardware/spec.ts';
import type { View } from './access.ts';
import type { Instruction } from './instructions.ts';

const isInSbuf = (view: View): boolean => view.kind === 'tile' && view.tile.buffer === 'sbuf';

/** Whether an instruction takes the port; `isFast`: its engine works on more than an element a cycle. */
export function takesSbufPort({ version }: CoreSpec, instruction: Instruction, isFast: boolean): boolean {
  const { engine } = instruction;
  const locks = engine === 'GpSimdE' || (engine === 'VectorE' && (version === 2 || isFast));
  return locks && [...instruction.in, ...instruction.out].some(isInSbuf);
}
