/**
 * Fits the constants of data/fitted.json to the measurements of data/validation and writes them back:
 *   npm run calibrate [-- --layer kernel|collective|llm] [--keep] [--dry-run] [--hold-out family|model|source]
 * Without --layer all layers, in the order in which one builds on the other; --keep leaves the values and computes their errors
 * only, after a model has changed. --hold-out fits without each chip family, each model (training and inference), or each publisher
 * in turn from the present values on, prints how well that predicts what was left out, and writes nothing. Reports on stderr. Fitting
 * takes minutes.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { calibrate, measurements } from '../dist/index.js';

const LAYERS = ['kernel', 'collective', 'llm'];
const file = new URL('../data/fitted.json', import.meta.url);

/** One constant per block of lines, so that a refit shows as the few lines that it changed. */
function format(constants) {
  return `${JSON.stringify({ schemaVersion: 1, constants }, null, 2)}\n`;
}

function percent(value) {
  return value === null ? '-' : `${value.toFixed(2)} %`;
}

const {
  layer,
  keep,
  'dry-run': isDry,
  'hold-out': by,
} = parseArgs({
  options: {
    layer: { type: 'string' },
    keep: { type: 'boolean', default: false },
    'dry-run': { type: 'boolean', default: false },
    'hold-out': { type: 'string' },
  },
}).values;
if (layer !== undefined && !LAYERS.includes(layer)) {
  throw new RangeError(`"layer" expected one of ${LAYERS.join(', ')}, got ${layer}`);
}

const PARTS = {
  family: ({ kind, family }) => `${kind} ${family}`,
  model: ({ kind, family, case: ran }) => (ran.model === undefined ? `${kind} ${family}` : `${kind} ${ran.model.name}`),
  source: ({ kind, source }) => `${kind} ${source.split(/[ (]/, 1)[0]}`,
};
if (by !== undefined && PARTS[by] === undefined) {
  throw new RangeError(`"hold-out" expected one of ${Object.keys(PARTS).join(', ')}, got ${by}`);
}

/** What each part is off by with constants that know nothing of it, and how far these move without it. */
function printHeldOut({ heldOut }, name) {
  for (const { part, rows, fittedPct, heldOutPct, constants: values } of heldOut) {
    const untold = Object.keys(values).filter((each) => values[each] === null);
    console.error(
      `  ${part}: ${rows} rows, fitted ${percent(fittedPct)}, held out ${percent(heldOutPct)}${untold.length > 0 ? `; no other rows tell ${untold.join(', ')}` : ''}`,
    );
  }
  for (const constant of constants.filter(({ layer: of }) => of === name)) {
    const values = heldOut.map((part) => part.constants[constant.name]).filter((value) => value !== null);
    const range = values.length === 0 ? 'told by one part only' : `${Math.min(...values)} to ${Math.max(...values)}`;
    console.error(`  ${constant.name}: ${constant.value} ${constant.unit}, without a part ${range}`);
  }
}

let { constants } = JSON.parse(readFileSync(file, 'utf8'));
for (const name of LAYERS.filter((each) => layer === undefined || each === layer)) {
  if (!constants.some((constant) => constant.layer === name)) continue;
  const start = performance.now();
  const before = constants;
  if (by !== undefined) {
    printHeldOut(calibrate(measurements(), constants, name, { fit: false, partOf: PARTS[by] }), name);
    continue;
  }
  const result = calibrate(measurements(), constants, name, { fit: !keep });
  constants = result.constants;
  const seconds = ((performance.now() - start) / 1e3).toFixed(1);
  console.error(
    `${name}: ${result.rows} rows, ${result.predictions} predictions in ${seconds} s; median absolute error`,
  );
  console.error(
    `  initial ${percent(result.initialPct)}, before ${percent(result.beforePct)}, after ${percent(result.afterPct)}, held out ${percent(result.heldOutPct)}`,
  );
  constants.forEach((constant, i) => {
    if (constant.layer !== name) return;
    const { value, unit, lower, upper, errorBeforePct, errorAfterPct } = constant;
    const atBound = value <= lower || value >= upper ? '  AT ITS BOUND' : '';
    console.error(
      `  ${constant.name}  ${before[i].value} -> ${value} ${unit} in [${lower}, ${upper}]${atBound}; its rows: at its initial value ${percent(errorBeforePct)}, now ${percent(errorAfterPct)}`,
    );
  });
}
if (!isDry && by === undefined) writeFileSync(file, format(constants));
