/**
 * What drives a collective on a cluster, apart from the wires: the CC-cores and DMA queues of a NeuronCore, or the copy
 * kernels of a GPU library, with what they cost per call and per step.
 *
 *     start       once per collective: the CC-core reads its program and the ranks meet, or a kernel is launched
 *     step        from the arrival of a step's data to the next step's first byte, beside the latency of the links
 *     message     for each further transfer that a rank starts in the same step: a descriptor, a work request
 *     channel     bytes that a rank's collective engines move per second, in and out together
 *     efficiency  payload of a link / its rate: headers, acknowledgements, flow control
 *
 * A GPU library has three protocols and takes the fastest: LL and LL128 send a flag with every 4 or 120 bytes of data and so
 * trade bandwidth for latency, Simple synchronises by chunks. Their latencies are the tuning constants of NCCL itself, a hop of
 * which includes the link's. see: NVIDIA nccl, src/graph/tuning.cc.
 * Leaves out: CC-cores shared with other collectives, and channels that are limited by other work of the chip.
 */
import type { BytesPerSecond, Seconds } from '../base/units.ts';
import type { Cluster } from '../fabric/cluster.ts';
import type { Constants } from '../hardware/fitted.ts';

export interface Protocol {
  readonly name: string;
  readonly start: Seconds;
  /** Least latency of a step inside a node and between nodes; longer routes take their own. */
  readonly hop: Seconds;
  readonly networkHop: Seconds;
  /** Part of the bandwidth that carries data. */
  readonly efficiency: number;
}

export interface CollectiveEngine {
  /** The collective library that the constants are of. */
  readonly library: 'neuron' | 'nccl';
  readonly protocols: readonly Protocol[];
  /** Beside the latency of the links, each step. */
  readonly step: Seconds;
  /** For each further message that a rank starts in the same step, inside a node and between nodes. */
  readonly message: Seconds;
  readonly networkMessage: Seconds;
  /** Of a rank, in and out together. */
  readonly channel: BytesPerSecond;
  readonly linkEfficiency: number;
  readonly networkEfficiency: number;
  /** Rate of a switch that reduces on the way / that of its links. */
  readonly switchReduction: number;
  /** Whether the phases of a hierarchical collective overlap, chunk by chunk. */
  readonly overlapsPhases: boolean;
  /** Launch by an eager call and by a framework's dispatch. */
  readonly launch: Seconds;
  readonly dispatch: Seconds;
}

const US = 1e-6;
/**
 * A DMA takes as long for a smaller descriptor as for one of this size. see: facts of aws-neuron-sdk,
 * nki/get-started/about/nki-dma-overview.rst, chart of bandwidth over size: the knee.
 */
const DESCRIPTOR_BYTES = 2500;
/** Of a network adapter; an assumption of the order of 10 million messages a second, not measured. */
const NETWORK_MESSAGE = 0.1 * US;

/** see: NVIDIA nccl, src/graph/tuning.cc, `baseLat` and `hwLat` of ring on NVLink and network; efficiency: data bytes of a line. */
function ncclProtocols(launch: Seconds): Protocol[] {
  return [
    { name: 'LL', start: launch + 6.6 * US, hop: 0.6 * US, networkHop: 2.7 * US, efficiency: 4 / 8 },
    { name: 'LL128', start: launch + 14 * US, hop: 1.9 * US, networkHop: 4 * US, efficiency: 120 / 128 },
    { name: 'Simple', start: launch + 8.4 * US, hop: 3.4 * US, networkHop: 14 * US, efficiency: 1 },
  ];
}

/** The engine of the cluster's ranks; `constants` has the fitted ones by name. */
export function collectiveEngine({ system, rank, lnc }: Cluster, constants: Constants): CollectiveEngine {
  const { chip } = system;
  const fitted = (name: string): number => {
    const value = constants[name];
    if (value === undefined) throw new RangeError(`"constants" expected a value of ${name}`);
    return value;
  };
  const networkEfficiency = fitted('networkEfficiency');
  if (chip.cores === null) {
    return {
      library: 'nccl',
      protocols: ncclProtocols(fitted('gpuCollectiveStart')),
      step: 0,
      message: 0,
      networkMessage: NETWORK_MESSAGE,
      channel: fitted('gpuCopyRate'),
      linkEfficiency: fitted('nvlinkEfficiency'),
      networkEfficiency,
      switchReduction: fitted('switchReductionEfficiency'),
      overlapsPhases: true,
      launch: 0,
      dispatch: 0,
    };
  }
  const cores = rank === 'chip' ? chip.cores : lnc;
  const channel = (cores / chip.cores) * fitted('neuronDmaShare') * (chip.dmaBandwidth ?? 0);
  return {
    library: 'neuron',
    protocols: [{ name: 'DMA', start: fitted('neuronCollectiveStart'), hop: 0, networkHop: 0, efficiency: 1 }],
    step: fitted('neuronStepLatency'),
    message: DESCRIPTOR_BYTES / channel,
    networkMessage: NETWORK_MESSAGE,
    channel,
    linkEfficiency: 1,
    networkEfficiency,
    switchReduction: 1,
    overlapsPhases: false,
    launch: fitted('neuronLaunch'),
    dispatch: fitted('frameworkDispatch'),
  };
}
