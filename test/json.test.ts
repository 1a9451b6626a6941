import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ModelError } from '../src/base/errors.ts';
import { parseJson, toJson } from '../src/base/json.ts';

describe('toJson', () => {
  test('indents by two, keeps the order of keys and ends with a newline', () => {
    const text = toJson({ schemaVersion: 1, b: [1, 'x'], a: { deep: null }, none: [] });
    expect(text).toBe(
      '{\n  "schemaVersion": 1,\n  "b": [\n    1,\n    "x"\n  ],\n  "a": {\n    "deep": null\n  },\n  "none": []\n}\n',
    );
  });

  test('leaves out a key whose value is undefined', () => {
    expect(toJson({ a: undefined, b: 1 })).toBe('{\n  "b": 1\n}\n');
  });

  test.each([
    [{ plan: { times: [1, Number.NaN] } }, '"plan.times[1]" expected a finite number, got NaN'],
    [{ a: Number.POSITIVE_INFINITY }, '"a" expected a finite number, got Infinity'],
    [[Number.NEGATIVE_INFINITY], '"[0]" expected a finite number, got -Infinity'],
    [[[1, undefined]], '"[0][1]" expected a JSON value, got undefined'],
    [new Array(1), '"[0]" expected a JSON value, got undefined'],
    [undefined, '"value" expected a JSON value, got undefined'],
    [{ n: 1n }, '"n" expected a JSON value, got 1n'],
    [{ data: new Float32Array(2) }, '"data" expected a JSON value, got a Float32Array'],
    [{ m: new Map() }, '"m" expected a JSON value, got a Map'],
    [{ when: new Date(0) }, '"when" expected a JSON value, got a Date'],
    [{ f: () => 1 }, '"f" expected a JSON value, got () => 1'],
  ])('refuses %o', (value, message) => {
    expect(() => toJson(value)).toThrow(new TypeError(message));
  });

  test('refuses a cycle but not an object that occurs twice', () => {
    const shared = { x: 1 };
    expect(JSON.parse(toJson([shared, shared]))).toEqual([shared, shared]);
    const loop: { self?: unknown } = {};
    loop.self = [loop];
    expect(() => toJson(loop)).toThrow(new TypeError('"self[0]" expected a tree, got a cycle'));
  });

  test('what is written reads back as the same value', () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        expect(parseJson(toJson(value), 'x.json')).toEqual(JSON.parse(JSON.stringify(value)));
      }),
      { seed: 3 },
    );
  });
});

describe('parseJson', () => {
  test.each([
    ['{"a": 1,}', 'unexpected "}" at line 1, column 9'],
    ['{"a": 1\n "b": 2}', 'unexpected "\\"b\\": 2}" at line 2, column 2'],
    ['{"a" 1}', 'unexpected "1}" at line 1, column 6'],
    ['[1, 2', 'the text ends at line 1, column 6'],
    ['', 'the text ends at line 1, column 1'],
    ['[1, NaN]', 'unexpected "NaN]" at line 1, column 5'],
    ['[01]', 'unexpected "1]" at line 1, column 3'],
    ["{'a': 1}", `unexpected "'a': 1}" at line 1, column 2`],
    ['[1]]', 'unexpected "]" at line 1, column 4'],
    ['{"a": [1}]', 'unexpected "}]" at line 1, column 9'],
    ['{1: 2}', 'unexpected "1: 2}" at line 1, column 2'],
    ['["a\\x"]', 'unexpected "\\"a\\\\x\\"]" at line 1, column 2'],
  ])('says where %j stops being JSON', (text, message) => {
    const call = () => parseJson(text, 'model.json');
    expect(call).toThrow(ModelError);
    expect(call).toThrow(`model.json: expected JSON, but ${message}`);
  });

  test('a broken text is reported no later than its first wrong character', () => {
    fc.assert(
      fc.property(fc.json(), fc.nat(), (text, position) => {
        const at = position % (text.length + 1);
        // A lone backslash outside a string, or a control character inside one, is never JSON.
        const broken = `${text.slice(0, at)}\u0001${text.slice(at)}`;
        expect(() => parseJson(broken, 'f')).toThrow(/^f: expected JSON, but unexpected .* at line 1, column \d+$/);
        const column = Number(/column (\d+)$/.exec(String(catchMessage(broken)))![1]);
        expect(column).toBeLessThanOrEqual(at + 1);
      }),
      { seed: 4 },
    );
  });
});

function catchMessage(text: string): string {
  try {
    parseJson(text, 'f');
  } catch (error) {
    return (error as Error).message;
  }
  return '';
}
