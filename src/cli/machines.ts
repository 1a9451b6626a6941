/** Models and machines that the user names, by an id of the catalogue or by a file, and the flags that say what a rank is. */
import { Option } from 'commander';
import {
  findSystem,
  type ModelSpec,
  modelSpec,
  parseJson,
  parseModelSpecText,
  type SystemSpec,
  systemFromJson,
  withAlternatives,
} from '../index.ts';
import { wholeNumber } from './arguments.ts';
import { isPath, readTextFile } from './files.ts';

/** @throws ModelError or RangeError that names the file and the field, or the nearest ids */
export function loadModel(model: string): ModelSpec {
  return isPath(model) ? parseModelSpecText(readTextFile(model), model) : modelSpec(model);
}

/**
 * @param alternatives named readings of the catalogue's data to take in place of its defaults
 * @throws ModelError or RangeError that names the file and the field, or the nearest ids
 */
export function loadSystem(system: string, alternatives: readonly string[] = []): SystemSpec {
  if (!isPath(system)) return alternatives.length === 0 ? findSystem(system) : withAlternatives(system, alternatives);
  if (alternatives.length > 0) throw new RangeError('"alternative" expected an id as system, got a file');
  return systemFromJson(parseJson(readTextFile(system), system), system);
}

export interface RankFlags {
  readonly rank?: 'core' | 'chip';
  readonly lnc?: number;
}

/** The flags of every verb that has ranks. */
export function rankFlags(): Option[] {
  return [
    new Option('--rank <what>', 'a rank is a logical NeuronCore or a chip').choices(['core', 'chip']),
    new Option('--lnc <n>', "physical cores of a logical NeuronCore (default: the chip's)").argParser(wholeNumber),
  ];
}
