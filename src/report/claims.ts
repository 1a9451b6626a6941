/** The text of the claims: a table, one claim in full, and the page of the documentation. */
import type { ClaimRow, Sensitivity } from '../validation/claims/claims.ts';
import { significant } from './numbers.ts';
import { table } from './table.ts';

const RELATIONS = { equals: '', 'at-least': '>= ', 'at-most': '<= ' } as const;

/** The figure claimed with its relation, or what the statement gives in place of one. */
function claimedText({ claimed, relation, stated }: ClaimRow): string {
  return claimed === null || relation === null ? scenarioText(stated) : `${RELATIONS[relation]}${significant(claimed)}`;
}

function scenarioText(scenario: ClaimRow['stated']): string {
  return Object.entries(scenario)
    .map(([name, value]) => `${name} ${significant(value)}`)
    .join(', ');
}

function computedText({ computed, unit }: ClaimRow): string {
  return computed === null ? '' : `${significant(computed)} ${unit ?? ''}`.trim();
}

/** A statement that gives an input only, a budget or a number of chips, has nothing that what comes of it could disagree with. */
function verdict({ agrees, kind, stated, command }: ClaimRow): string {
  if (kind === 'CHK') return command === '' ? 'not built' : 'shown';
  if (agrees !== null) return agrees ? 'agrees' : 'DISAGREES';
  return Object.keys(stated).length > 0 ? 'computed from it' : 'no figure';
}

/** A quote cut to fit a column; in full with `--id` and on the page. */
function short(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 3)}...`;
}

/** Without an elasticity, the figure itself with the input doubled. */
function elasticityText({ elasticity, doubled }: Sensitivity): string {
  return elasticity === null ? `(doubled: ${significant(doubled)})` : significant(elasticity);
}

function sensitivityText(sensitivity: readonly Sensitivity[]): string {
  return sensitivity.map((entry) => `${entry.input} ${elasticityText(entry)}`).join(', ');
}

/** A table; in full where `isFull` is set. */
export function claimsReport(claims: readonly ClaimRow[], isFull: boolean): string {
  if (isFull) return claims.map(inFull).join('\n');
  const count = (test: (row: ClaimRow) => boolean) => claims.filter(test).length;
  const summary = `${count(({ agrees }) => agrees === true)} agree, ${count(({ agrees }) => agrees === false)} disagree, ${count((row) => verdict(row) === 'computed from it')} are computed from the figure given, ${count((row) => verdict(row) === 'no figure')} have none, ${count((row) => verdict(row) === 'shown')} are features, ${count((row) => verdict(row) === 'not built')} of a verb that is not built. More on one: trnsim claims --id 22\n`;
  const rows = table(claims, [
    { title: 'id', value: ({ id }) => id, align: 'right' },
    { title: 'claim', value: ({ quote }) => short(quote, 60) },
    { title: 'claimed', value: claimedText, align: 'right' },
    { title: 'computed', value: computedText, align: 'right' },
    { title: '', value: verdict },
    {
      title: 'definition',
      value: ({ definition, kind, command }) => short(kind === 'CHK' && command !== '' ? command : definition, 90),
    },
  ]);
  return `${rows}\n${summary}`;
}

/** One claim, all that comes out of its computation a line each. */
function inFull(row: ClaimRow): string {
  const details = Object.entries(row.details).map(([name, value]) => [name, text(value)] as const);
  const lines = [
    ['claim', `"${row.quote}"`],
    ['definition', row.definition],
    ['claimed', claimedText(row) || 'no figure'],
    ['assumed', scenarioText(row.assumed) || '-'],
    ['computed', computedText(row) || 'nothing to count'],
    ['verdict', verdict(row)],
    ['note', row.explanation || '-'],
    ['command', row.command || '-'],
    ...row.sensitivity.map((entry) => [`d ln / d ln ${entry.input}`, elasticityText(entry)] as const),
    ...details,
  ] as const;
  return table(lines, [
    { title: '', value: ([name]) => name },
    { title: `claim ${row.id}`, value: ([, value]) => value },
  ]);
}

function text(value: number | string): string {
  return typeof value === 'number' ? significant(value) : value;
}

/** A page for the documentation: one section a claim that is computed, a table of the features. */
export function claimsMarkdown(claims: readonly ClaimRow[]): string {
  const calculated = claims.filter(({ kind }) => kind === 'CALC');
  // Quotes may have bars, which Markdown would take for columns.
  const cells = (parts: readonly string[]) => `| ${parts.map((part) => part.replaceAll('|', '\\|')).join(' | ')} |\n`;
  const head = (titles: readonly string[]) => cells(titles) + cells(titles.map(() => '---'));
  const overview = calculated.map((row) =>
    cells([row.id, row.quote, claimedText(row), computedText(row), verdict(row)]),
  );
  const sections = calculated.map((row) => {
    const details = Object.entries(row.details).map(([name, value]) => `${name} ${text(value)}`);
    return [
      `### ${row.id}: ${computedText(row)}\n`,
      `> ${row.quote}\n`,
      `${row.definition}.${row.explanation === '' ? '' : ` ${row.explanation}`}\n`,
      Object.keys(row.stated).length > 0 && `- given: ${scenarioText(row.stated)}`,
      Object.keys(row.assumed).length > 0 && `- assumed: ${scenarioText(row.assumed)}`,
      details.length > 0 && `- also: ${details.join('; ')}`,
      row.sensitivity.length > 0 && `- sensitive to (d ln / d ln): ${sensitivityText(row.sensitivity)}`,
    ]
      .filter((part) => part !== false)
      .join('\n');
  });
  const features = claims
    .filter(({ kind }) => kind === 'CHK')
    .map((row) => {
      const count = row.computed === null ? '' : `: ${row.computed} ${row.unit}`;
      const command = row.command === '' ? 'not built' : `\`${row.command}\``;
      return cells([row.id, row.quote, `${row.definition}${count}`, command, row.explanation]);
    });
  return `# The public claims about Trainium, computed

Printed by \`npm run claims\`; a test holds this page to what the code computes. The statements are
quoted from the press and from AWS, by number. A figure agrees if the one computed rounds to it, or is on the right side of it
(a claim of direction, "cheaper", is >= 0). Where a statement gives an input only, a budget or a number of chips, what is computed
from it is shown. Nothing computed is stored: change a datum in \`data/\` and the row changes.

## Overview

${head(['id', 'claim', 'claimed', 'computed', ''])}${overview.join('')}
## One by one

${sections.join('\n\n')}

## Features

${head(['id', 'claim', 'what has to run', 'command', ''])}${features.join('')}`;
}
