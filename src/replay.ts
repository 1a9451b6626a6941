/**
 * The package's second entry, `trnsim/replay`: Chakra traces and ASTRA-sim's files in, times of ranks out.
 * Apart from the first so that a program that only replays loads a tenth of the code: ASTRA-sim's answers in a few ms.
 */
export { ModelError, type ModelErrorCode } from './base/errors.ts';
export { toJson } from './base/json.ts';
export {
  type AstraDimension,
  type AstraFile,
  type AstraTopology,
  astraNetwork,
  astraRanks,
  parseAstraNetwork,
} from './formats/astra-network.ts';
export {
  type AstraCollective,
  type AstraGroups,
  type AstraImplementation,
  type AstraMemory,
  type AstraSystem,
  parseAstraGroups,
  parseAstraMemory,
  parseAstraSystem,
} from './formats/astra-system.ts';
export {
  CHAKRA_COLLECTIVES,
  CHAKRA_NODE_TYPES,
  type ChakraAttribute,
  type ChakraCollective,
  type ChakraKind,
  type ChakraNode,
  type ChakraNodeType,
  type ChakraOperands,
  type ChakraScalar,
  type ChakraTrace,
  chakraAttribute,
  readChakra,
} from './formats/chakra.ts';
export { writeChakra } from './formats/chakra-writer.ts';
export { type ReplayRow, replayReport, replayRows } from './report/replay.ts';
export {
  type RankTime,
  type ReplayInputs,
  type ReplayOptions,
  type ReplayResult,
  type ReplayTrace,
  replay,
} from './workloads/replay/replay.ts';
