/**
 * ASTRA-sim's remote memory: loads and stores that take `latency + floor(bytes / bandwidth)`.
 *
 * Memory of an NPU serves each at once; memory of a node, or one pool for all, serves one after the other in the order
 * in which they ask. What waits starts after the rank that was served has gone on.
 * see: astra-sim/astra-memory-analytical AnalyticalRemoteMemory.cc
 */
import { ModelError } from '../../base/errors.ts';
import type { AstraMemory } from '../../formats/astra-system.ts';
import { type Machine, need } from './executor.ts';

/** Whether ranks wait for each other at this memory. */
export function isShared({ type }: AstraMemory): boolean {
  return type === 'per-node' || type === 'pool';
}

export function remoteMemory(memory: AstraMemory): Machine['memory'] {
  const { type, latencyNs, bytesPerNs, npusPerNode, nodes } = memory;
  /** By unit of memory: what it will do next. Not there: idle. */
  const queues = new Map<number, (() => void)[]>();
  return (rank, node, done) => {
    if (type === 'none') throw new ModelError('WORKLOAD', node.path, 'the memory file says NO_MEMORY_EXPANSION');
    const time = latencyNs + Math.floor(need(node, 'tensorBytes', 'tensor_size') / bytesPerNs);
    if (type === 'per-npu') {
      rank.timers.after(time, done);
      return;
    }
    const unit = type === 'pool' ? 0 : Math.floor(rank.class.rank / npusPerNode);
    if (type === 'per-node' && unit >= nodes) {
      throw new ModelError(
        'CONFIG',
        node.path,
        `rank ${rank.class.rank} is beyond the ${nodes} nodes of the memory file`,
      );
    }
    const serve = () => {
      rank.timers.after(time, done);
      rank.timers.after(time, () => {
        const next = queues.get(unit)!.shift();
        if (next === undefined) queues.delete(unit);
        else next();
      });
    };
    const waiting = queues.get(unit);
    if (waiting !== undefined) waiting.push(serve);
    else {
      queues.set(unit, []);
      serve();
    }
  };
}
