import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ModelError } from '../src/base/errors.ts';
import {
  catalogueEntry,
  chipFromJson,
  chips,
  defaultPrice,
  facility,
  findChip,
  findSystem,
  prices,
  systemFromJson,
  systems,
} from '../src/hardware/catalog.ts';
import { editDistance } from '../src/hardware/lookup.ts';
import { toBase } from '../src/hardware/schema.ts';

type Json = Record<string, unknown>;

const dataUrl = new URL('../data/', import.meta.url);
const readJson = (path: string): Json => JSON.parse(readFileSync(new URL(path, dataUrl), 'utf8'));
const folders = ['chips', 'cores', 'fabrics', 'systems', 'models'] as const;
const files = folders.flatMap((folder) =>
  readdirSync(new URL(folder, dataUrl)).map((name) => ({ folder, name, json: readJson(`${folder}/${name}`) })),
);

describe('the shipped files', () => {
  test('pass the schema and are all in the catalogue', () => {
    const names = (folder: string) => files.filter((file) => file.folder === folder).map((file) => file.json.id);
    expect(chips().map((chip) => chip.id)).toEqual(names('chips').sort());
    expect(systems().map((system) => system.id)).toEqual(names('systems').sort());
    for (const id of names('cores')) expect(catalogueEntry(id as string)?.type).toBe('core');
    expect(facility().pue).toBe(1.14);
  });

  test('have ids and aliases that are unique over chips, cores, networks, systems and models, in any case', () => {
    const spellings = files.flatMap(({ json }) => [json.id, ...(json.aliases as string[])] as string[]);
    const lower = spellings.map((spelling) => spelling.toLowerCase());
    expect(lower.filter((spelling, i) => lower.indexOf(spelling) !== i)).toEqual([]);
  });

  test('are embedded as they are', () => {
    for (const { folder, json } of files) {
      if (folder !== 'models') expect(catalogueEntry(json.id as string)!.spec).toEqual(json);
    }
  });

  test('are named after their ids', () => {
    for (const { name, json } of files) expect(name).toBe(`${json.id}.json`);
  });

  // Walks every leaf: a number may only stand in an object that says where it is from.
  function numbersWithoutSource(json: unknown, path: string): string[] {
    if (typeof json !== 'object' || json === null) return [];
    const entry = json as Json;
    const isSourced = typeof entry.source === 'string' && entry.source !== '' && typeof entry.kind === 'string';
    return Object.entries(entry).flatMap(([key, value]) => {
      if (key === 'schemaVersion' || key === 'config') return [];
      if (typeof value === 'number') return isSourced ? [] : [`${path}.${key}`];
      return numbersWithoutSource(value, `${path}.${key}`);
    });
  }

  test('give a source and a kind for every number', () => {
    const all = [...files, ...['prices.json', 'power.json'].map((name) => ({ name, json: readJson(name) }))];
    expect(all.flatMap(({ name, json }) => numbersWithoutSource(json, name))).toEqual([]);
  });

  test('cite only sources that are spelt out, and every source is cited', () => {
    const cited = new Set<string>();
    const collect = (json: unknown): void => {
      if (typeof json !== 'object' || json === null) return;
      for (const [key, value] of Object.entries(json)) {
        if (key !== 'source') collect(value);
        else for (const part of (value as string).split('; ')) cited.add(part.split(':')[0]!);
      }
    };
    for (const { json } of files) collect(json);
    for (const name of ['prices.json', 'power.json', 'reliability.json']) collect(readJson(name));
    expect([...cited].sort()).toEqual(Object.keys(readJson('sources.json').sources as Json).sort());
  });

  test('keep model configurations apart from what is counted in them', () => {
    const models = files.filter((file) => file.folder === 'models').map((file) => file.json);
    expect(models).toHaveLength(41);
    const llama = models.find((model) => model.id === 'llama-3.1-8b')!;
    expect((llama.parameters as Json).value).toBe(8030261248);
    expect((llama.config as Json).hidden_size).toBe(4096);
  });
});

describe('chips', () => {
  test('Trainium3 has 144 GiB of HBM, and 144 of them have 362.4 PFLOPS in FP8', () => {
    const trn3 = findChip('trn3');
    expect(trn3.memory.capacity).toBe(144 * 2 ** 30);
    expect(trn3.memory.bandwidth).toBe(4.9e12);
    // 144 x 2,517 TFLOPS = 362,448 TFLOPS, the total that the documentation prints.
    expect(144 * trn3.peak.fp8!).toBe(362.448e15);
  });

  test('Trainium1 memory is 820 GiB/s = 880.468 GB/s', () => {
    expect(findChip('trn1').memory.bandwidth).toBe(820 * 2 ** 30);
  });

  test('cores follow the documentation: clock, array, DMA and on-chip memories', () => {
    const core = findChip('trn2').core!;
    expect(core.tensor).toMatchObject({ clock: 2.4e9, rows: 128, columns: 128 });
    expect(core.vector).toEqual({ clock: 0.96e9, lanes16: 512, lanes32: 256 });
    expect(core.dma).toMatchObject({ engines: 16, bandwidth: 368e9 });
    expect(core.sbuf).toBe(128 * 224 * 1024);
    expect(core.psum).toBe(128 * 8 * 2048);
    expect([core.dmaStart, core.issueInterval, core.staticOverhead]).toEqual([1.3e-6, 64, 100]);
  });

  test('a NeuronCore peak is 2 x rows x columns x clock, within 2 % of the documented figure', () => {
    // 2 x 128 x 128 x 2.8 GHz = 91.75 (documented 92), x 2.4 GHz = 78.64 (79 and 79).
    for (const [id, documented] of [
      ['trn1', 92e12],
      ['trn2', 79e12],
      ['trn3', 79e12],
    ] as const) {
      const { clock, rows, columns } = findChip(id).core!.tensor!;
      expect(Math.abs((2 * rows * columns * clock) / documented - 1)).toBeLessThan(0.02);
    }
  });

  test('what nobody publishes is null, never 0', () => {
    expect(findChip('trn1').power).toEqual({ tdp: null, allIn: null });
    expect(findChip('inf1').core).toBeNull();
    expect(findChip('inf1').cores).toBe(4);
    expect(findChip('trn4').peak.bf16).toBeNull();
    expect(findChip('tpu7x').memory.bandwidth).toBeNull();
  });

  test('Trainium4 is projected from the announced factors', () => {
    const trn3 = findChip('trn3');
    const trn4 = findChip('trn4');
    expect(trn4.status).toBe('announced');
    expect(trn4.peak.fp8).toBe(3 * trn3.peak.fp8!);
    expect(trn4.peak.fp4).toBe(6 * trn3.peak.mxfp4!);
    expect(trn4.memory.bandwidth).toBe(4 * trn3.memory.bandwidth!);
    expect((catalogueEntry('trn4')!.spec.peak as Record<string, Json>).fp8!.kind).toBe('projected');
  });

  test('logical cores join two physical ones on Trainium2 and Trainium3 only', () => {
    expect(['inf2', 'trn1', 'trn2', 'trn3', 'h100-sxm'].map((id) => findChip(id).logicalCoreSize)).toEqual([
      1, 1, 2, 2, 1,
    ]);
  });
});

/** Neighbours of chip `i` in a torus whose first dimension varies fastest. */
function torusNeighbours(sizes: readonly number[], i: number): number[] {
  const neighbours = new Set<number>();
  let stride = 1;
  for (const size of sizes) {
    const position = Math.floor(i / stride) % size;
    for (const step of [1, size - 1]) neighbours.add(i + (((position + step) % size) - position) * stride);
    stride *= size;
  }
  return [...neighbours].sort((a, b) => a - b);
}

describe('systems', () => {
  const torusSizes = (id: string) => {
    const fabric = findSystem(id).fabric;
    if (fabric?.type !== 'torus') throw new Error(`${id} is no torus`);
    return fabric.dimensions.map((dimension) => dimension.size);
  };

  // Neighbour tables of the Neuron driver at fca19f7: v2/neuron_dhal_v2.c:645 and v3/neuron_dhal_v3.c:885.
  const trn1Neighbours = [
    [12, 3, 4, 1],
    [13, 0, 5, 2],
    [14, 1, 6, 3],
    [15, 2, 7, 0],
    [0, 7, 8, 5],
    [1, 4, 9, 6],
    [2, 5, 10, 7],
    [3, 6, 11, 4],
    [4, 11, 12, 9],
    [5, 8, 13, 10],
    [6, 9, 14, 11],
    [7, 10, 15, 8],
    [8, 15, 0, 13],
    [9, 12, 1, 14],
    [10, 13, 2, 15],
    [11, 14, 3, 12],
  ];
  const trn2Neighbours = [
    [12, 1, 3, 4],
    [0, 13, 5, 2],
    [14, 3, 1, 6],
    [2, 15, 7, 0],
    [8, 5, 7, 0],
    [4, 9, 1, 6],
    [10, 7, 5, 2],
    [6, 11, 3, 4],
    [4, 9, 11, 12],
    [8, 5, 13, 10],
    [6, 11, 9, 14],
    [10, 7, 15, 8],
    [0, 13, 15, 8],
    [12, 1, 9, 14],
    [2, 15, 13, 10],
    [14, 3, 11, 12],
  ];

  test.each([
    ['trn1.32xlarge', trn1Neighbours],
    ['trn2.48xlarge', trn2Neighbours],
  ])('the torus of %s has the neighbours that the driver lists', (id, table) => {
    const sorted = table.map((row) => [...row].sort((a, b) => a - b));
    expect(sorted.map((_, i) => torusNeighbours(torusSizes(id), i))).toEqual(sorted);
  });

  test('every fabric joins exactly the chips of its system', () => {
    for (const { id, chips: count, fabric } of systems()) {
      if (fabric === null) continue;
      if (fabric.type === 'single') expect(count, id).toBe(1);
      if (fabric.type === 'torus')
        expect(
          fabric.dimensions.reduce((n, d) => n * d.size, 1),
          id,
        ).toBe(count);
      if (fabric.type === 'switched') expect(fabric.levels.at(-1)!.groupSize, id).toBe(count);
    }
  });

  test('the Trn2 UltraServer is a 4 x 4 x 4 torus with half the rate on z', () => {
    const { fabric } = findSystem('trn2-ultraserver');
    expect(fabric).toEqual({
      type: 'torus',
      dimensions: ['x', 'y', 'z'].map((name) => ({
        name,
        size: 4,
        wrap: true,
        bandwidth: name === 'z' ? 64e9 : 128e9,
        latency: 1.5e-6,
      })),
    });
  });

  test('the Trn3 Gen2 UltraServer groups 4 chips by sled, 72 by rack and 144 across two racks', () => {
    const fabric = findSystem('trn3-gen2').fabric;
    if (fabric?.type !== 'switched') throw new Error('expected a switched fabric');
    expect(fabric.levels.map(({ kind, groupSize, bandwidth }) => [kind, groupSize, bandwidth])).toEqual([
      ['switch', 4, 512e9],
      ['switch', 72, 512e9],
      ['direct', 144, 128e9],
    ]);
  });

  test('EFA is bytes per second of the whole system in one direction', () => {
    // 3,200 Gbit/s / 8 = 400 GB/s; four of them in an UltraServer.
    expect(findSystem('trn2.48xlarge').scaleOut).toBe(400e9);
    expect(findSystem('trn2-ultraserver').scaleOut).toBe(1600e9);
  });

  test('published totals are chips times the chip, within the rounding of the source', () => {
    for (const { id, chip, chips: count } of systems()) {
      const totals = catalogueEntry(id)!.spec.totals as { peak?: Record<string, Json>; memory?: Record<string, Json> };
      for (const [format, total] of Object.entries(totals?.peak ?? {})) {
        const peak = chip.peak[format as keyof typeof chip.peak]!;
        expect(toBase(total.value as number, total.unit as string) / (count * peak), `${id} ${format}`).toBeCloseTo(
          1,
          1,
        );
      }
      for (const key of ['capacity', 'bandwidth'] as const) {
        const total = totals?.memory?.[key];
        if (total === undefined) continue;
        expect(
          toBase(total.value as number, total.unit as string) / (count * chip.memory[key]!),
          `${id} ${key}`,
        ).toBeCloseTo(1, 6);
      }
    }
  });

  test('a system whose links nobody describes has no fabric', () => {
    expect(findSystem('inf1.24xlarge').fabric).toBeNull();
  });
});

describe('prices', () => {
  test('name a system or a chip, and at most one row of each is the default', () => {
    const rows = readJson('prices.json').rows as Json[];
    expect(prices()).toHaveLength(rows.length);
    const known = new Set([...systems(), ...chips()].map((entry) => entry.id));
    for (const row of rows) expect(known, row.system as string).toContain(row.system);
    const defaults = rows.filter((row) => row.default === true);
    expect(new Set(defaults.map((row) => row.system)).size).toBe(defaults.length);
    for (const row of defaults) expect(row.usdPerHour, row.system as string).not.toBeNull();
    expect(new Set(rows.map((row) => JSON.stringify(row))).size).toBe(rows.length);
  });

  test('the defaults are the on-demand price of Trn1 and the capacity block of Trn2', () => {
    expect(defaultPrice('trn1.32xlarge')).toMatchObject({ usdPerHour: 21.5, basis: 'on-demand', region: 'us-east-1' });
    expect(defaultPrice('trn2.48xlarge')).toMatchObject({
      usdPerHour: 35.7608,
      basis: 'capacity-block',
      region: 'us-east-2',
    });
  });

  test('a machine without a public price has none, also by alias', () => {
    expect(defaultPrice('trn3-gen2')).toBeNull();
    expect(
      prices()
        .filter((row) => row.system === 'trn3-ultraserver-gen2')
        .map((row) => row.usdPerHour),
    ).toEqual([null]);
  });

  test('electricity is in dollars per joule', () => {
    expect(facility().electricity * 3.6e6).toBeCloseTo(0.0901, 12);
  });
});

describe('looking up', () => {
  test('takes an id or an alias in any case', () => {
    expect(findChip('TRAINIUM2').id).toBe('trn2');
    expect(findChip('h100').id).toBe('h100-sxm');
    expect(findSystem('Trn2.48xLarge').id).toBe('trn2.48xlarge');
  });

  test('an unknown id names the nearest ones and the command that lists them', () => {
    expect(() => findSystem('trn2.48xlrge')).toThrow(
      /^"system" expected an id that "trnsim systems" lists, got "trn2.48xlrge"; nearest: trn2.48xlarge, /,
    );
    expect(() => findChip('trainum2')).toThrow(/"trnsim chips" lists, got "trainum2"; nearest: trn2/);
    expect(() => findChip('constructor')).toThrow(RangeError);
    expect(() => findChip(3 as never)).toThrow(TypeError);
  });

  test('the entry of an id has its provenance, with the sources spelt out', () => {
    const entry = catalogueEntry('trn3-gen2')!;
    expect(entry.type).toBe('system');
    expect(entry.spec).toEqual(readJson('systems/trn3-ultraserver-gen2.json'));
    expect(entry.sources['neuron-sdk']).toContain('aws-neuron-sdk');
    expect(entry.sources.epoch).toBeUndefined();
    expect(catalogueEntry('trn9')).toBeUndefined();
  });

  test('edit distance counts insertions, deletions and substitutions', () => {
    expect(editDistance('kitten', 'sitting')).toBe(3);
    const word = fc.string({ maxLength: 8 });
    fc.assert(
      fc.property(word, word, word, (a, b, c) => {
        expect(editDistance(a, b)).toBe(editDistance(b, a));
        expect(editDistance(a, b) === 0).toBe(a === b);
        expect(editDistance(a, c)).toBeLessThanOrEqual(editDistance(a, b) + editDistance(b, c));
      }),
    );
  });
});

describe('units', () => {
  test('decimal prefixes are exact in the decimal digits', () => {
    // 4.35 * 1e12 as a product of doubles is 4349999999999.9995.
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_000_000 }), (cents) => {
        expect(toBase(cents / 100, 'TB/s')).toBe(cents * 1e10);
      }),
    );
    expect(toBase(1300, 'ns')).toBe(1.3e-6);
    expect(toBase(1, 'GiB')).toBe(2 ** 30);
    expect(toBase(25, 'Gbit/s')).toBe(3.125e9);
    expect(toBase(0, 'us')).toBe(0);
    expect(() => toBase(1, 'furlong')).toThrow(/"unit" expected one of .*GB\/s.*, got "furlong"/);
  });
});

describe("a user's own file", () => {
  const shipped = () => structuredClone(readJson('systems/trn2.48xlarge.json')) as Record<string, Json>;
  const quantity = (value: number, unit: string) => ({ value, unit, source: 'mine', kind: 'third-party' });

  test('works like a shipped one, with a chip of the catalogue', () => {
    const system = systemFromJson({ ...shipped(), id: 'mine', aliases: [], chip: 'Trainium3' }, 'mine.json');
    expect(system.chip).toBe(findChip('trn3'));
    expect(system.fabric).toEqual(findSystem('trn2.48xlarge').fabric);
  });

  test('may write out its chip, and the core of that chip', () => {
    const core = { ...readJson('cores/neuroncore-v3.json'), id: 'my-core' };
    const chip = { ...readJson('chips/trn2.json'), id: 'my-chip', core };
    const system = systemFromJson({ ...shipped(), chip }, 'mine.json');
    expect(system.chip.core!.id).toBe('my-core');
    expect(system.chip.peak).toEqual(findChip('trn2').peak);
    expect(chipFromJson(chip, 'chip.json').id).toBe('my-chip');
  });

  type Edit = (json: Record<string, Json>) => void;
  const cases: [string, Edit, string][] = [
    [
      'a misspelt key',
      (s) => {
        s.host!.vpcu = s.host!.vcpu;
        delete s.host!.vcpu;
      },
      'host.vpcu: unknown key, expected one of vcpu, memory, storage, processor',
    ],
    [
      'a wrong unit',
      (s) => {
        s.power!.unit = 'GB';
      },
      'power.unit: expected one of W, kW, got "GB"',
    ],
    [
      'a negative value',
      (s) => {
        s.power!.value = -3;
      },
      'power.value: expected number >= 0, got -3',
    ],
    [
      'a rate of zero',
      (s) => {
        s.scaleOut!.value = 0;
      },
      'scaleOut.value: expected number > 0, got 0',
    ],
    [
      'text for a number',
      (s) => {
        s.power!.value = '13.5';
      },
      'power.value: expected number, got "13.5"',
    ],
    [
      'a missing quantity',
      (s) => {
        delete s.power;
      },
      'power: expected object, but it is missing',
    ],
    [
      'a missing source',
      (s) => {
        delete s.power!.source;
      },
      'power.source: expected string, but it is missing',
    ],
    [
      'a bare number',
      (s) => {
        s.power = 13500 as never;
      },
      'power: expected object, got 13500',
    ],
    [
      'a kind that does not exist',
      (s) => {
        s.power!.kind = 'guess';
      },
      'power.kind: expected one of official, third-party, derived, fitted, projected, got "guess"',
    ],
    [
      'null without saying that it is unknown',
      (s) => {
        s.power!.value = null;
      },
      'power.value: expected number, got null',
    ],
    [
      'a value that is said to be unknown',
      (s) => {
        s.scaleUp!.bidirectional = { ...quantity(1, 'GB/s'), kind: 'unknown' };
      },
      'scaleUp.bidirectional.value: expected null, got 1',
    ],
    [
      'half a chip',
      (s) => {
        s.chips!.value = 16.5;
      },
      'chips.value: expected integer, got 16.5',
    ],
    [
      'no chips',
      (s) => {
        s.chips!.value = 0;
      },
      'chips: expected at least 1 chip, got {"value":0',
    ],
    [
      'chips that do not fill the torus',
      (s) => {
        s.chips!.value = 15;
      },
      'fabric: expected dimensions that multiply to 15 chips, not 16, got {"type":"torus"',
    ],
    [
      'a chip that does not exist',
      (s) => {
        s.chip = 'trn9' as never;
      },
      'chip: expected a chip that "trnsim chips" lists, got "trn9"',
    ],
    [
      'a broken chip of its own',
      (s) => {
        s.chip = { ...readJson('chips/trn2.json'), vendor: 7 };
      },
      'chip.vendor: expected string, got 7',
    ],
    [
      'an unknown fabric type',
      (s) => {
        s.fabric = { type: 'mesh' };
      },
      'fabric.type: expected one of single, torus, switched, graph, unknown, got "mesh"',
    ],
    [
      'another schema version',
      (s) => {
        s.schemaVersion = 2 as never;
      },
      'schemaVersion: expected 1, got 2',
    ],
    [
      'an id with a space',
      (s) => {
        s.id = 'my system' as never;
      },
      'id: expected an id of a-z 0-9 . _ -, got "my system"',
    ],
  ];

  test.each(cases)('%s is one sentence that names file, key and value', (_, edit, sentence) => {
    const json = shipped();
    edit(json);
    const parse = () => systemFromJson(json, 'mine.json');
    expect(parse).toThrow(ModelError);
    expect(parse).toThrow(`mine.json: ${sentence}`);
  });

  test.each([null, 7, 'trn2', [], undefined])('%j is refused as a whole', (json) => {
    expect(() => systemFromJson(json, 'mine.json')).toThrow(/^mine\.json: expected object, /);
    expect(() => chipFromJson(json, 'mine.json')).toThrow(ModelError);
  });

  test('groups of a switched fabric must divide each other', () => {
    const gen2 = readJson('systems/trn3-ultraserver-gen2.json');
    const json = structuredClone(gen2) as { fabric: { levels: { groupSize: Json }[] } };
    json.fabric.levels[0]!.groupSize.value = 5;
    expect(() => systemFromJson(json, 'mine.json')).toThrow(
      'fabric: expected group sizes that divide each other and end at 144 chips',
    );
  });

  test('any key removed from or added to a quantity of a shipped file is an error', () => {
    const paths: string[][] = [];
    const collect = (json: unknown, path: string[]): void => {
      if (typeof json !== 'object' || json === null) return;
      if ('unit' in json) paths.push(path);
      for (const [key, value] of Object.entries(json)) collect(value, [...path, key]);
    };
    collect(shipped(), []);
    fc.assert(
      fc.property(fc.constantFrom(...paths), fc.constantFrom('value', 'source', 'kind', 'extra'), (path, key) => {
        const json = shipped();
        const target = path.reduce<Json>((value, step) => value[step] as Json, json);
        if (key === 'extra') target.extra = 1;
        else delete target[key];
        expect(() => systemFromJson(json, 'mine.json')).toThrow(`mine.json: ${[...path, key].join('.')}`);
      }),
    );
  });
});
