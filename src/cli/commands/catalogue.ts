/** `trnsim systems`, `chips`, `models` and `show ID`: the catalogue, each number with its source. */
import type { Command } from 'commander';
import {
  catalogueEntry,
  chips,
  chipsReport,
  entryReport,
  findEntryOfAny,
  modelEntry,
  models,
  modelsReport,
  prices,
  systems,
  systemsReport,
  toJson,
} from '../../index.ts';

interface Flags {
  readonly json?: boolean;
}

/** A verb that lists: `items` for JSON, every number with its source, `report` for a table of the figures alone. */
function addList(program: Command, name: string, what: string, items: () => unknown[], report: () => string): void {
  program
    .command(name)
    .description(`list the ${what}`)
    .option('--json', 'print one JSON document, every number with its source')
    .action(({ json = false }: Flags) => {
      process.stdout.write(json ? toJson({ schemaVersion: 1, items: items() }) : report());
    });
}

/** One entry as its file has it. The prices of a system are in a file of their own, and are added. */
function show(id: string, { json = false }: Flags): void {
  const entry = findEntryOfAny(id);
  const readings = prices().filter(
    (price) => entry.type === 'system' && price.system === (entry.spec as { id: string }).id,
  );
  const spec = readings.length > 0 ? { ...entry.spec, prices: readings } : entry.spec;
  const answer = { schemaVersion: 1, type: entry.type, spec, sources: entry.sources };
  process.stdout.write(json ? toJson(answer) : entryReport(spec, entry.sources));
}

export function addCatalogueCommands(program: Command): void {
  // The raw entries: the parsed ones have lost sources and kinds.
  const entries = (list: readonly { id: string }[]) => list.map(({ id }) => catalogueEntry(id)?.spec);
  addList(
    program,
    'systems',
    'instances, UltraServers and other systems',
    () => entries(systems()),
    () => systemsReport(systems()),
  );
  addList(
    program,
    'chips',
    'chips',
    () => entries(chips()),
    () => chipsReport(chips()),
  );
  addList(
    program,
    'models',
    'models',
    () => models().map(({ id }) => modelEntry(id)?.spec),
    () => modelsReport(models()),
  );
  program
    .command('show')
    .description('show one system, chip, core or model with the source of every number')
    .argument('<id>', 'an id or an alias')
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nExample: trnsim show trn3-ultraserver-gen2')
    .action(show);
}
