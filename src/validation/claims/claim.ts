/**
 * Public statements about Trainium: their form, and the form of what computes them.
 *
 * A statement of kind CALC has a model: a pure function of the world (`world.ts`) and of the statement's own scenario. A
 * statement of kind CHK is a feature: it names the command that shows it, and counts what it can.
 */
import { z } from 'zod';
import { parseData, record, text } from '../../hardware/schema.ts';
import { claims as claimsJson } from './claims.gen.ts';
import type { World } from './world.ts';

/** How a computed figure agrees with the one claimed: `equals` within `within`, the rounding of the statement. */
export type Relation = 'equals' | 'at-least' | 'at-most';

/** The figure in the statement. `within` is absolute, in `unit`; left out it is 0. */
interface ClaimedFigure {
  readonly value: number;
  readonly unit: string;
  readonly relation: Relation;
  readonly within?: number;
}

/** Figures by name, units in the names where they are not plain counts (`budgetUsd`, `tpotMs`). */
export type Scenario = Readonly<Record<string, number>>;

export interface Claim {
  readonly id: string;
  /** Number of the document that it stands in. */
  readonly seed: number;
  readonly kind: 'CALC' | 'CHK';
  /** Verbatim from the press or from AWS. */
  readonly quote: string;
  /** Null where the statement has no figure, or gives only what the computation starts from. */
  readonly claimed: ClaimedFigure | null;
  /** What the computation starts from: the statement's own figures, and what had to be assumed. */
  readonly scenario: Scenario;
  /** Names of the scenario's figures that stand in the statement. */
  readonly stated: readonly string[];
  /** Of a feature: what shows it. Null where this version has nothing that does. */
  readonly command: string | null;
}

/** What a model computes: one figure to set beside the statement's, and what a reader needs to judge it. */
interface Computed {
  readonly value: number;
  /** What else comes out of the same computation, units in the names. */
  readonly details: Readonly<Record<string, number | string>>;
  /** What has to be known to judge the agreement. */
  readonly note?: string;
}

/** How the statements of one subject are computed. Two documents often say the same: one model, several ids. */
export interface ClaimModel {
  /** Ids of the statements that it computes. */
  readonly ids: readonly string[];
  readonly unit: string;
  /** What exactly is computed, as a formula in words. */
  readonly definition: string;
  /** Data that the figure rests on, by their path in the world; the report says how strongly. */
  readonly inputs: readonly string[];
  readonly compute: (world: World, scenario: Scenario) => Computed;
}

/** The form of a row in data/claims.json. What may be left out there is null or empty in a `Claim`. */
const claimFile = record({
  id: text,
  seed: z.int().min(0),
  kind: z.enum(['CALC', 'CHK']),
  quote: text,
  claimed: z.exactOptional(
    record({
      value: z.number(),
      unit: text,
      relation: z.enum(['equals', 'at-least', 'at-most']),
      within: z.exactOptional(z.number().min(0)),
    }),
  ),
  scenario: z.exactOptional(z.record(text, z.number())),
  stated: z.exactOptional(z.array(text)),
  command: z.exactOptional(text),
}).transform(
  ({ claimed = null, scenario = {}, stated = [], command = null, ...rest }): Claim => ({
    ...rest,
    claimed,
    scenario,
    stated,
    command,
  }),
);

const file = record({ schemaVersion: z.literal(1), note: text, claims: z.array(claimFile) });

// Parsed when first asked for, and once.
let parsed: readonly Claim[] | undefined;

/** The statements, in the order of their documents. */
export function publicClaims(): readonly Claim[] {
  parsed ??= parseData(file, claimsJson, 'data/claims.json').claims;
  return parsed;
}

/** A number of the scenario. @throws RangeError if the statement does not give it: a mistake in the data */
export function given(scenario: Scenario, name: string): number {
  const value = scenario[name];
  if (value === undefined) throw new RangeError(`"scenario" expected a number for ${name}, got none`);
  return value;
}
