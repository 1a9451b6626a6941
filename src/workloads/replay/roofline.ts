/**
 * ASTRA-sim's time of a computation.
 *
 *     duration   in the trace, in us; 0 counts as 1 ns
 *     roofline   t = floor(ops / min(peak, memory bandwidth * ops / bytes))
 *
 * A computation that moves no bytes takes no part in the roofline: the node ends as it is issued. The operations stand
 * in the order of ASTRA-sim's, so that the truncated ns are the same.
 * see: astra-sim/astra-sim workload/Workload.cc issue_replay, issue_comp, system/Roofline.cc
 */
import { ModelError } from '../../base/errors.ts';
import type { AstraSystem } from '../../formats/astra-system.ts';
import { need } from './executor.ts';
import type { ReplayNode } from './graph.ts';

/** Duration in the trace as ASTRA-sim replays it. */
export function replayedTime(node: ReplayNode): number {
  return Math.max(1, node.durationNs);
}

export function astraComputeTime({ replayOnly, roofline, peakFlops, localMemoryBandwidth }: AstraSystem) {
  return (node: ReplayNode): number | undefined => {
    if (replayOnly || !roofline || node.isCpu) return replayedTime(node);
    const bytes = need(node, 'tensorBytes', 'tensor_size');
    if (bytes === 0) return undefined;
    const operations = need(node, 'operations', 'num_ops');
    if (operations === 0) return 0;
    const rate = Math.min(localMemoryBandwidth * (operations / bytes), peakFlops);
    if (rate === 0) {
      throw new ModelError('CONFIG', node.path, 'the roofline needs peak-perf and local-mem-bw > 0 in the system file');
    }
    return Math.floor((operations / rate) * 1e9);
  };
}
