/**
 * The text that the command line prints: one function a result. A report computes nothing but shares and sums of what it is
 * given, writes a reason where a figure is unknown, and ends in a newline.
 */
export { chipsReport, entryReport, modelsReport, systemsReport } from './catalogue.ts';
export { claimsMarkdown, claimsReport } from './claims.ts';
export { collectiveReport } from './collective.ts';
export { costsReport, fleetReport, goodputReport, rampReport } from './fleet.ts';
export { inferReport } from './infer.ts';
export { kernelReport } from './kernel.ts';
export { significant } from './numbers.ts';
export { pipelineSvg, pipelineText, pipelineTimeline } from './pipeline.ts';
export { type PlanAnswer, planReport } from './plan.ts';
export { type InferencePlanAnswer, inferencePlanReport } from './plan-infer.ts';
export { runReport } from './run.ts';
export { selfTestReport } from './selftest.ts';
export { type Column, table } from './table.ts';
export { planText, trainReport } from './train.ts';
export { trainingRunReport } from './training-run.ts';
export { validationReport } from './validate.ts';
