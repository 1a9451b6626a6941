/**
 * The public claims, each computed from this package's data beside the figure claimed, with what it is sensitive to.
 *
 *     sensitivity to an input = d ln(computed) / d ln(input), from doubling that input (1: in proportion)
 *
 * Nothing that is computed is stored: the same function runs on changed data. Statements of kind CHK are features; their row
 * names the command that shows them.
 */
import { log } from '../../base/math.ts';
import { capacityClaims } from './capacity.ts';
import { type Claim, type ClaimModel, publicClaims, type Relation, type Scenario } from './claim.ts';
import { featureDefinition } from './features.ts';
import { moneyClaims } from './money.ts';
import { networkClaims } from './networks.ts';
import { servingClaims } from './serving.ts';
import { speedClaims } from './speed.ts';
import { type Change, createWorld } from './world.ts';

export interface Sensitivity {
  readonly input: string;
  /** The figure with the input doubled. */
  readonly doubled: number;
  /** Relative change of the figure / relative change of the input; null where the figure is not positive before and after. */
  readonly elasticity: number | null;
}

export interface ClaimRow {
  readonly id: string;
  readonly seed: number;
  readonly kind: 'CALC' | 'CHK';
  /** Verbatim, as in `data/claims.json`. */
  readonly quote: string;
  /** What the statement gives, and what was assumed beside it: the inputs of the computation. */
  readonly stated: Scenario;
  readonly assumed: Scenario;
  /** The figure in the statement that the computed one can be set beside; null where it has none. */
  readonly claimed: number | null;
  readonly relation: Relation | null;
  /** Null for a feature. */
  readonly computed: number | null;
  readonly unit: string | null;
  /** What exactly is computed, or what has to run for a feature. */
  readonly definition: string;
  /** Null where there is no figure to agree with. */
  readonly agrees: boolean | null;
  /** What has to be known to judge the agreement; empty where nothing has. */
  readonly explanation: string;
  readonly sensitivity: readonly Sensitivity[];
  /** What else comes out of the same computation, units in the names. */
  readonly details: Readonly<Record<string, number | string>>;
  /** What shows the row; empty for a feature that is not built. */
  readonly command: string;
}

const MODELS: readonly ClaimModel[] = [
  ...capacityClaims,
  ...speedClaims,
  ...networkClaims,
  ...moneyClaims,
  ...servingClaims,
];
/** Doubling keeps counts whole. */
const STEP = 2;

/** The scenario with the changes that name it; those of the data are `createWorld`'s. */
function scenarioWith(scenario: Scenario, changes: readonly Change[]): Scenario {
  const changed = { ...scenario };
  for (const { datum, factor } of changes) {
    const [kind, name = ''] = datum.split('/');
    if (kind === 'scenario' && name in changed) changed[name]! *= factor;
  }
  return changed;
}

/** A row of kind CALC: its figure, and the figure again with each input doubled. */
function calculated(claim: Claim, model: ClaimModel, changes: readonly Change[], withSensitivity: boolean): ClaimRow {
  const figure = (more: readonly Change[]) => {
    const all = [...changes, ...more];
    return model.compute(
      createWorld(all.filter(({ datum }) => !datum.startsWith('scenario/'))),
      scenarioWith(claim.scenario, all),
    );
  };
  const { value, details, note = '' } = figure([]);
  const { claimed } = claim;
  const sensitivity = (withSensitivity ? model.inputs : []).map((input): Sensitivity => {
    const doubled = figure([{ datum: input, factor: STEP }]).value;
    // A logarithm needs both figures positive: a saving that doubling turns negative has no elasticity, only a value.
    return { input, doubled, elasticity: value > 0 && doubled > 0 ? log(doubled / value) / log(STEP) : null };
  });
  return {
    ...head(claim),
    computed: value,
    unit: model.unit,
    definition: model.definition,
    agrees: claimed === null ? null : agrees(value, claimed),
    explanation: note,
    sensitivity,
    details,
    command: `trnsim claims --id ${claim.id}`,
  };
}

/** What a row has of the statement, whether it is computed or counted. The scenario is parted into given and assumed. */
function head({ id, seed, kind, quote, claimed, scenario, stated }: Claim) {
  const part = (isStated: boolean): Scenario =>
    Object.fromEntries(Object.entries(scenario).filter(([name]) => stated.includes(name) === isStated));
  return {
    id,
    seed,
    kind,
    quote,
    stated: part(true),
    assumed: part(false),
    claimed: claimed?.value ?? null,
    relation: claimed?.relation ?? null,
  };
}

/** `equals` holds up to the rounding of the statement; the other relations are a direction. */
function agrees(computed: number, { value, relation, within = 0 }: NonNullable<Claim['claimed']>): boolean {
  if (relation === 'equals') return Math.abs(computed - value) <= within;
  return relation === 'at-least' ? computed >= value : computed <= value;
}

/** A row of kind CHK: what has to run, how many of it there are, and the command. There is no figure to agree with. */
function feature(claim: Claim): ClaimRow {
  const { definition, count, unit, note } = featureDefinition(claim.id);
  return {
    ...head(claim),
    computed: count,
    unit,
    definition,
    agrees: null,
    explanation: note,
    sensitivity: [],
    details: {},
    command: claim.command ?? '',
  };
}

export interface ClaimOptions {
  /** Data to change first, as in `World`: to see what a figure rests on. */
  readonly changes?: readonly Change[];
  /** Only this claim. */
  readonly id?: string;
  /** Leave the sensitivities out: they cost one computation for each input. */
  readonly withSensitivity?: boolean;
}

/** @throws RangeError for an id that no claim has, or a changed datum that is no number of the data */
export function evaluateClaims(options: ClaimOptions = {}): ClaimRow[] {
  const { changes = [], id, withSensitivity = true } = options;
  const claims = publicClaims().filter((claim) => id === undefined || claim.id === id);
  if (claims.length === 0) {
    throw new RangeError(
      `"id" expected one of ${publicClaims()
        .map((c) => c.id)
        .join(', ')}, got ${JSON.stringify(id)}`,
    );
  }
  return claims.map((claim) => {
    if (claim.kind === 'CHK') return feature(claim);
    const model = MODELS.find(({ ids }) => ids.includes(claim.id))!;
    return calculated(claim, model, changes, withSensitivity);
  });
}
