/**
 * trnsim: a Trainium machine. Everything that the command line does is here, as functions on plain data.
 */

// Units, errors and JSON: what every answer is made of.
export { ModelError, type ModelErrorCode } from './base/errors.ts';
export { parseJson, toJson } from './base/json.ts';
export * from './base/units.ts';

// Collectives: algorithms, schedules, what comes out and how long it takes. docs/collectives.md
export type { Algorithm, AlgorithmOptions } from './collectives/algorithms/algorithm.ts';
export { collectiveAlgorithms, collectivesOf } from './collectives/algorithms/registry.ts';
export { buildSchedule, type ScheduleOptions, whyNot } from './collectives/build.ts';
export {
  CollectiveModel,
  type CollectiveTiming,
  collectiveClock,
  type PlanCost,
} from './collectives/collective-clock.ts';
export type { CollectiveCase, CollectiveClock, CollectiveCost, RankGroup } from './collectives/cost.ts';
export { reductionErrorBound } from './collectives/error-bound.ts';
export type { Fidelity, ResourceUse } from './collectives/execute.ts';
export { type Explanation, explainCollective } from './collectives/explain.ts';
export { algorithmBandwidth, busBandwidth } from './collectives/formula.ts';
export { circularPairs, stridedGroups } from './collectives/groups.ts';
export {
  type CollectiveRunOptions,
  executeNumeric,
  type Reduction,
  type ReductionOptions,
  runCollective,
} from './collectives/numeric.ts';
export { type CollectiveDefinition, referenceOutputs } from './collectives/reference.ts';
export {
  type Action,
  ADD,
  COLLECTIVES,
  COPY,
  type Collective,
  DUPLICATE,
  type RankRanges,
  type Schedule,
  type Transfers,
} from './collectives/schedule.ts';
export { type ScheduleTemplate, templateSchedule, verifyTemplate } from './collectives/template.ts';
export { type Effort, theoreticalEffort, theoryText } from './collectives/theory.ts';
export { type Traffic, trafficOf } from './collectives/traffic.ts';

// The NeuronCore: tile programs, their numbers and their time; the cost of an operator. docs/core.md
export {
  block,
  type HbmTensor,
  HbmView,
  Index,
  type Loop,
  type Pattern,
  type Tile,
  TileView,
  type View,
} from './core/access.ts';
export { clockProgram, type Interval, type ProgramOptions, type ProgramTime } from './core/clock.ts';
export {
  type ActivationFunction,
  type AluOperator,
  type Attributes,
  ENGINES,
  type Engine,
  type Instruction,
  type InstructionOf,
  type Opcode,
} from './core/instructions.ts';
export { type RunProgramOptions, runProgram } from './core/numeric.ts';
export type {
  Implementation,
  OperandFormat,
  OperatorCase,
  OperatorClock,
  OperatorCost,
  OperatorName,
} from './core/operator-case.ts';
export { type OperatorDetail, operatorClock, timeOperator } from './core/operator-clock.ts';
export { DIMENSION_NAMES, OPERATOR_NAMES, operatorDims } from './core/operator-dims.ts';
export { operatorProgram } from './core/operator-program.ts';
export { type LoopNode, type Program, ProgramBuilder, type ProgramNode, tileProgram } from './core/program.ts';
export { attentionProgram } from './core/programs/attention.ts';
export type { AttentionOptions } from './core/programs/attention-keys.ts';
export { dmaCopyProgram, type EmbeddingOptions, embeddingProgram } from './core/programs/copies.ts';
export { type Conv1dOptions, depthwiseConv1dProgram } from './core/programs/depthwise-conv1d.ts';
export { ADAMW, type ElementwiseName, elementwiseProgram } from './core/programs/elementwise.ts';
export { type GatedMlpOptions, gatedMlpProgram } from './core/programs/gated-mlp.ts';
export { MATMUL_STEPS, type MatmulOptions, type MatmulStep, matmulProgram } from './core/programs/matmul.ts';
export {
  loraProgram,
  matmulNormProgram,
  matmulSoftmaxProgram,
  normMatmulProgram,
} from './core/programs/matmul-fused.ts';
export { type QuantisedMatmulOptions, quantisedMatmulProgram } from './core/programs/matmul-quantised.ts';
export { layernormProgram, rmsnormProgram } from './core/programs/norm.ts';
export { ropeProgram } from './core/programs/rope.ts';
export {
  SCAN_STEPS,
  type ScanStep,
  type SelectiveScanOptions,
  selectiveScanProgram,
} from './core/programs/selective-scan.ts';
export { softmaxProgram } from './core/programs/softmax.ts';
export { type TransposeOptions, transposeProgram } from './core/programs/transpose.ts';
export {
  type EngineStream,
  interleave,
  type SemaphoreSignal,
  type SemaphoreWait,
  type StreamStep,
} from './core/streams.ts';

// Money, power, failures and fleets. docs/fleet.md
export * from './economics/index.ts';

// Links, routes, rings, networks and faults, up to a million chips. docs/fabric.md
export {
  type ClusterClasses,
  clusterClasses,
  fabricClasses,
  type LinkClass,
  linkClasses,
  type NodeClass,
  nodeClasses,
  type RankClass,
  rankClasses,
} from './fabric/classes.ts';
export {
  appendClosRoute,
  buildClos,
  type Clos,
  type ClosSize,
  type ClosTier,
  type ClosTierSize,
  closLinks,
  closSize,
  closStage,
  meetingTier,
} from './fabric/clos.ts';
export {
  appendClusterRoute,
  type Cluster,
  clusterLinks,
  clusterPathCount,
  linkBandwidth,
  linkLatency,
  longestClusterRoute,
  nodeTopology,
} from './fabric/cluster.ts';
export { applyFaults, degradeTopology } from './fabric/degrade.ts';
export { type Fault, parseFault } from './fabric/faults.ts';
export { edgeDisjointRings, ringBandwidth } from './fabric/hamiltonian.ts';
export { hypercubeOrder } from './fabric/hypercube.ts';
export { type FabricMetrics, fabricMetrics, networkBisection } from './fabric/metrics.ts';
export { clusterLinkName, findLinks, type NamedLink } from './fabric/names.ts';
export { randomDeadLinks } from './fabric/random-faults.ts';
export { ringOrder } from './fabric/rings.ts';
export { appendRoute, hops, longestRoute, pathCount, type Route, route, routes } from './fabric/routes.ts';
export { buildTopology, type LinkRate, linkName, type Topology } from './fabric/topology.ts';

// Other tools' files, read and written.
export { parseMsccl } from './formats/msccl.ts';
export {
  type NeuronProfile,
  type ProfileCollective,
  type ProfileInstruction,
  type ProfileOptions,
  type ProfileResidency,
  type ProfileThrottle,
  type ProfileTransfer,
  profileProgram,
  type TransferSide,
} from './formats/neuron-profile/profile.ts';
export { PROFILE_SCHEMA_VERSION } from './formats/neuron-profile/schema.ts';
export { type ProfileRow, profileTables } from './formats/neuron-profile/tables.ts';
export { writeNeuronProfile } from './formats/neuron-profile.ts';
export { type Counter, type Slice, type Timeline, type Track, writePerfetto } from './formats/perfetto.ts';
export { profileTimeline } from './formats/profile-timeline.ts';
export { parseScheduleJson } from './formats/schedule-json.ts';

// The catalogue: chips, systems, prices, each number with its source. data/README.md
export { alternativeNames, chooseAlternatives } from './hardware/alternatives.ts';
export {
  type CatalogueEntry,
  catalogueEntry,
  chipFromJson,
  chips,
  defaultPrice,
  fabricFromJson,
  facility,
  findChip,
  findNetwork,
  findSystem,
  networkFromJson,
  networks,
  prices,
  systemFromJson,
  systems,
  withAlternatives,
} from './hardware/catalog.ts';
export {
  type Constants,
  type FittedConstant,
  type FittedLayer,
  fittedConstants,
  fittedList,
} from './hardware/fitted.ts';
export type * from './hardware/spec.ts';

// Tensors and kernels in WebAssembly; also on their own as `trnsim/kernels`. docs/kernels.md
export * from './kernels/index.ts';

// Ranks on one system or on a cluster of them.
export { type ClusterOptions, createCluster } from './machine/cluster.ts';
export { placeInHbm } from './machine/memory.ts';
export type { RankOptions } from './machine/ranks.ts';

// Language models as numbers and operator graphs. docs/models.md
export { graphFlops } from './models/builder.ts';
export {
  type DecoderConfig,
  type ModelFamily,
  parseModelConfig,
  parseModelText,
  type RopeScaling,
} from './models/config.ts';
export { type OptimizerShare, optimizerGraph } from './models/edge-graph.ts';
export { parseModelSpec, parseModelSpecText } from './models/families.ts';
export { attentionPairs, type ModelFlops, modelFlops } from './models/flops.ts';
export { formatsOf } from './models/formats.ts';
export { modelFromFields } from './models/from-fields.ts';
export type * from './models/graph.ts';
export { microBatchesInFlight, type PipelineSchedule, SCHEDULES } from './models/in-flight.ts';
export {
  type InferenceMemoryOptions,
  inferenceMemory,
  kvCacheBytes,
  kvElements,
  kvElementsPerToken,
  kvPositions,
} from './models/inference-memory.ts';
export {
  type LayerShard,
  type LayerStep,
  layerSteps,
  rankWeights,
  shardLayer,
  type WeightBlock,
} from './models/layer.ts';
export {
  checkMemory,
  emptyMemory,
  type MemoryUse,
  type PreparedMemory,
  prepareTrainingMemory,
  type TrainingMemoryOptions,
  type TrainingPlan,
  trainingMemory,
} from './models/memory.ts';
export {
  embeddingGraph,
  type GraphPart,
  headGraph,
  type LayerPhase,
  layerGraph,
  modelGraph,
  partsFlops,
  stageBytes,
  stepOf,
} from './models/model-graph.ts';
export { type LayerParameters, layerParameters, type ParameterCounts, parameterCounts } from './models/parameters.ts';
export { findEntryOfAny, findModel, type ModelPreset, modelEntry, modelSpec, models } from './models/presets.ts';
export { parallelism, rankEdgeParameters } from './models/shard.ts';
export type * from './models/spec.ts';
export { kindCounts, layerCount } from './models/spec.ts';
export * from './replay.ts';

// The text that the command line prints.
export * from './report/index.ts';

// Published measurements and claims beside predictions; calibration. docs/validation.md
export { type CalibrateOptions, type Calibration, calibrate, type HeldOutPart } from './validation/calibrate.ts';
export { type ClaimOptions, type ClaimRow, evaluateClaims, type Sensitivity } from './validation/claims/claims.ts';
export type { Change } from './validation/claims/world.ts';
export type * from './validation/measurement.ts';
export { MEASUREMENT_KINDS } from './validation/measurement.ts';
export { measurements, parseMeasurements } from './validation/schema.ts';
export {
  type ErrorSummary,
  type KindSummary,
  type PartSummary,
  type ValidatedConstant,
  type ValidatedRow,
  type ValidateOptions,
  type Validation,
  validate,
} from './validation/validate.ts';

// Jobs: a layer, a training step, a batch of requests, a search, a bring-up.
export {
  type CollectiveOptions,
  type CollectiveResult,
  type TimedCollective,
  timeCollective,
} from './workloads/collective.ts';
export { economics } from './workloads/economics.ts';
export { type BitFlip, Executor } from './workloads/execution/executor.ts';
export { ADAMW_DEFAULTS, type Optimizer } from './workloads/execution/optimizer.ts';
export { openSession, type Session, type SessionOptions } from './workloads/execution/session.ts';
export type { StepOptions } from './workloads/execution/transformer.ts';
export type { StepBreakdown } from './workloads/inference/breakdown.ts';
export {
  decodeStep,
  evaluateInference,
  type InferenceClocks,
  type InferenceTime,
  inferenceClocks,
  prefill,
} from './workloads/inference/evaluate.ts';
export { type InferenceResult, infer, inferencePlanMemory } from './workloads/inference/infer.ts';
export {
  type CompiledShapes,
  type InferenceOptions,
  type InferencePlan,
  inferencePlan,
  planRanks,
  type Speculation,
} from './workloads/inference/plan.ts';
export {
  type InferenceCut,
  type InferenceLimits,
  type InferenceObjective,
  type InferenceRow,
  InferenceSearch,
  type InferenceSpace,
  inferenceCuts,
  inferenceFront,
  rankInference,
} from './workloads/inference/search.ts';
export { tokensPerStep } from './workloads/inference/speculation.ts';
export { StepTable } from './workloads/inference/step-table.ts';
export { StepClock, type StepTime } from './workloads/inference/steps.ts';
export {
  type InferenceTables,
  inferenceTables,
  type MachineClocks,
  machineClocks,
} from './workloads/inference/tables.ts';
export {
  type KernelOptions,
  type KernelResult,
  OPERAND_FORMATS,
  parseOperandFormat,
  profileKernel,
  runKernel,
} from './workloads/kernel.ts';
export { type PipelineWork, pipelineTime, pipelineWork } from './workloads/pipeline/closed-form.ts';
export {
  makespan,
  type PipelineRun,
  runPipeline,
  type StageTimes,
  type TimedPass,
} from './workloads/pipeline/engine.ts';
export { type PipelineOrder, type PipelineShape, pipelineOrder } from './workloads/pipeline/order.ts';
export { BACKWARD, FORWARD, INPUT, type Pass, WEIGHT } from './workloads/pipeline/pass.ts';
export { type PlanRow, paretoFront, type SearchResult, searchResult } from './workloads/plan/result.ts';
export {
  addUnit,
  NOTHING_FOUND,
  type RankedPlan,
  type SearchState,
  searchLimit,
  searchTraining,
  type TrainingSearch,
  trainingSearch,
  type UnitResult,
  UnitSearcher,
} from './workloads/plan/search.ts';
export { SPACE_AXES, type Space, type SpaceOptions, type Unit } from './workloads/plan/space.ts';
export {
  type BreakdownRow,
  errorBound,
  type LayerRun,
  type RunOptions,
  type RunResult,
  runLayer,
} from './workloads/run.ts';
export {
  type SelfTestCheck,
  type SelfTestOptions,
  type SelfTestResult,
  selfTest,
} from './workloads/selftest/selftest.ts';
export { type PlanOptions, stepPlan, type TrainingJobOptions, trainingSetup } from './workloads/training/options.ts';
export { PLACEMENTS, type Placement } from './workloads/training/placement.ts';
export {
  emptyCost,
  type Overlap,
  type StepCost,
  type StepPlan,
  type TrainingSetup,
} from './workloads/training/setup.ts';
export { StepModel } from './workloads/training/step-model.ts';
export { pipelineRun, type TrainingResult, trainStep } from './workloads/training/train.ts';
export {
  type FlipReport,
  gradientBound,
  runTraining,
  type TrainingRun,
  type TrainingRunOptions,
  type TrainingRunResult,
} from './workloads/training-run.ts';
