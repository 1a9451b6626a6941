/** What the hardware refuses, each with an error that names the instruction or the tile, and the limit. */
import { describe, expect, test } from 'vitest';
import { block, findChip, HbmView, Index, ModelError, type ProgramBuilder, tileProgram } from '../src/index.ts';

type Chip = 'inf1' | 'trn1' | 'trn2' | 'trn3';

function refused(chip: Chip, write: (nc: ProgramBuilder) => void): ModelError {
  try {
    tileProgram('bad', findChip(chip).core!, write);
  } catch (error) {
    if (error instanceof ModelError) return error;
    throw error;
  }
  throw new Error('the program was taken');
}

function expectRefusal(chip: Chip, message: string, write: (nc: ProgramBuilder) => void): void {
  const error = refused(chip, write);
  expect(error.message).toContain(message);
  expect(error.code).toBe('PROGRAM');
}

describe('memory', () => {
  test('SBUF holds 192 KiB a partition on v2, 224 on v3, 256 on v4, and not a byte more', () => {
    for (const [chip, kib] of [
      ['trn1', 192],
      ['trn2', 224],
      ['trn3', 256],
    ] as const) {
      tileProgram('full', findChip(chip).core!, (nc) => nc.sbuf('all', 'f32', 128, kib * 256));
      expectRefusal(chip, `bad: tile more: expected at most ${kib * 1024} bytes per partition in SBUF`, (nc) => {
        nc.sbuf('half', 'f32', 128, kib * 128);
        nc.sbuf('more', 'f32', 128, kib * 128 + 1);
      });
    }
  });

  test('PSUM has 8 banks, which slots take whole', () => {
    tileProgram('full', findChip('trn2').core!, (nc) => nc.psum('all', 128, 512, { slots: 8 }));
    expectRefusal('trn2', 'bad: tile sum: expected at most 16384 bytes per partition in PSUM', (nc) => {
      nc.psum('sum', 128, 1, { slots: 9 });
    });
    expectRefusal('trn2', 'expected a PSUM tile within a bank of 2048 bytes, or of whole banks', (nc) => {
      nc.psum('sum', 128, 513);
    });
    expectRefusal('trn2', 'bytes per partition of PSUM', (nc) => nc.psum('sum', 128, 5000));
  });

  test('memory of a scope is free after it, and its tiles are out of reach', () => {
    const core = findChip('trn2').core!;
    const program = tileProgram('scopes', core, (nc) => {
      for (let i = 0; i < 5; i++) nc.scope(() => nc.sbuf(`tile ${i}`, 'f32', 128, 50_000));
    });
    expect(program.sbufBytes).toBe(200_000);
    expectRefusal('trn2', 'instruction 0 (memset): expected a tile whose scope is open, got lost', (nc) => {
      let lost = nc.sbuf('other', 'f32', 1, 1);
      nc.scope(() => {
        lost = nc.sbuf('lost', 'f32', 1, 1);
      });
      nc.memset(lost, 0);
    });
  });

  test('tiles start at partition 0, 32, 64 or 96, and fit below 128', () => {
    for (const [startPartition, partitions] of [
      [16, 8],
      [96, 33],
      [128, 1],
      [-32, 8],
    ] as const) {
      expectRefusal('trn2', 'a start partition of 0, 32, 64 or 96', (nc) =>
        nc.sbuf('a', 'f32', partitions, 4, { startPartition }),
      );
    }
    expectRefusal('trn2', 'expected partitions in 1..128, got 129', (nc) => nc.sbuf('a', 'f32', 129, 4));
  });

  test('a view starts at a quadrant, and reaches over others only from 0 and 64', () => {
    expectRefusal(
      'trn2',
      'instruction 0 (memset): expected a start partition of 0, 32, 64 or 96, got "16 in a"',
      (nc) => {
        nc.memset(nc.sbuf('a', 'f32', 128, 4).rows(16, 8), 0);
      },
    );
    expectRefusal('trn2', 'at most 32 partitions from start partition 32 or 96', (nc) => {
      nc.memset(nc.sbuf('a', 'f32', 128, 4).rows(32, 64), 0);
    });
  });

  test('an access has at most 4 dimensions, and 64 Ki elements in SBUF', () => {
    expectRefusal('trn3', 'access patterns of at most 4 dimensions', (nc) => {
      nc.memset(
        nc.sbuf('a', 'f32', 1, 32).access(0, [
          [16, 2],
          [8, 2],
          [4, 2],
          [2, 2],
          [1, 2],
        ]),
        0,
      );
    });
    expectRefusal('trn3', 'at most 65536 elements per partition', (nc) => nc.memset(nc.sbuf('a', 'i8', 1, 70_000), 0));
  });

  test('views stay inside what they view, over all iterations', () => {
    const core = findChip('trn2').core!;
    const write = (body: (nc: ProgramBuilder) => void) => () => tileProgram('bad', core, body);
    expect(write((nc) => nc.loop(5, (i) => nc.memset(nc.sbuf('a', 'f32', 1, 16).columns(i.times(4), 4), 0)))).toThrow(
      '"access" expected elements 0..15 of a, got 0..19',
    );
    expect(
      write((nc) => nc.loop(5, (i) => nc.memset(nc.sbuf('a', 'f32', 1, 16).columns(i.times(-4).plus(12), 4), 0))),
    ).toThrow('got -4..15');
    expect(write((nc) => block(nc.input('x', 'f32', [4, 4]), [0, 5], [0, 4]))).toThrow(
      '"x rows" expected 0..3, got 0..4',
    );
    expect(write((nc) => new HbmView(nc.input('x', 'f32', [4, 4]), new Index(0), 4, 4, [[1, 5]]))).toThrow(
      '"x" expected elements 0..15',
    );
    expect(write((nc) => nc.sbuf('a', 'f32', 1, 16).access(0, [[-1, 4]]))).toThrow(
      '"pattern step" expected integer >= 0, got -1',
    );
    expect(write((nc) => nc.sbuf('a', 'f32', 1, 16).slot(-1))).toThrow('"slot" expected integer >= 0, got -1');
  });

  test('an index has a value only inside its loop', () => {
    expectRefusal(
      'trn2',
      'instruction 0 (memset): expected indices of the loops around it, got one of loop 0',
      (nc) => {
        const a = nc.sbuf('a', 'f32', 1, 4);
        let kept = new Index(0);
        nc.loop(4, (i) => {
          kept = i;
        });
        nc.memset(a.columns(kept, 1), 0);
      },
    );
  });

  test('tensors and tiles of another program are refused', () => {
    const core = findChip('trn2').core!;
    tileProgram('one', core, (one) => {
      const [stranger, tensor] = [one.sbuf('a', 'f32', 4, 4), one.input('x', 'f32', [4, 4])];
      expectRefusal('trn2', 'a tile whose scope is open, got a', (nc) => nc.memset(stranger, 0));
      expectRefusal('trn2', 'a tensor of this program, got x', (nc) => {
        nc.dmaCopy(nc.sbuf('b', 'f32', 4, 4), block(tensor, [0, 4], [0, 4]));
      });
    });
    expectRefusal('trn2', 'tensors of different names', (nc) => {
      nc.input('x', 'f32', [1]);
      nc.output('x', 'f32', [1]);
    });
  });
});

describe('formats', () => {
  test('Inferentia1 is too little documented to be programmed, in FP8 or at all', () => {
    const error = refused('inf1', (nc) => nc.sbuf('a', 'f8e4m3', 1, 1));
    expect(error.code).toBe('UNSUPPORTED');
    // With figures of one's own for its memories, FP8 is still not among its formats.
    const core = { ...findChip('trn1').core!, id: 'my-v1', version: 1 };
    expect(() => tileProgram('own', core, (nc) => nc.sbuf('a', 'f8e4m3', 1, 1))).toThrow(
      'own: tile a: expected dtype in one of f32, bf16, f16, i8, i32, got "f8e4m3"',
    );
  });

  test('FP8 E4M3FN and MX formats are of NeuronCore-v4', () => {
    for (const chip of ['trn1', 'trn2'] as const) {
      for (const dtype of ['f8e4m3fn', 'f4e2m1', 'e8m0'] as const) {
        expectRefusal(chip, 'expected dtype in one of f32, bf16', (nc) => nc.sbuf('a', dtype, 4, 8));
      }
    }
    tileProgram('good', findChip('trn3').core!, (nc) => nc.sbuf('a', 'f8e4m3fn', 4, 8));
  });

  test('double row needs v3 and FP8, MX v4, scales and MX formats', () => {
    expectRefusal('trn1', 'NeuronCore-v3 or later for double row', (nc) => {
      const a = nc.sbuf('a', 'f8e4m3', 4, 8);
      nc.matmul(nc.psum('p', 4, 4), a, a, { mode: 'double-row' });
    });
    expectRefusal('trn2', 'double-row operands in one of f8e4m3', (nc) => {
      const a = nc.sbuf('a', 'bf16', 4, 8);
      nc.matmul(nc.psum('p', 4, 4), a, a, { mode: 'double-row' });
    });
    expectRefusal('trn2', 'NeuronCore-v4 for MX formats', (nc) => {
      const a = nc.sbuf('a', 'f8e5m2', 8, 16);
      nc.matmul(nc.psum('p', 4, 4), a, a, { mode: 'mx' });
    });
    expectRefusal('trn3', 'the scales of both operands', (nc) => {
      const a = nc.sbuf('a', 'f8e5m2', 8, 16);
      nc.matmul(nc.psum('p', 4, 4), a, a, { mode: 'mx' });
    });
    expectRefusal('trn3', 'FP8 E4M3 of one kind', (nc) => {
      nc.matmul(nc.psum('p', 4, 4), nc.sbuf('a', 'f8e4m3', 8, 4), nc.sbuf('b', 'f8e4m3fn', 8, 4));
    });
  });

  test('packed formats move in whole groups, and no engine computes with them', () => {
    expectRefusal('trn3', 'rows of whole groups of 4', (nc) => nc.sbuf('a', 'f4e2m1', 4, 6));
    expectRefusal('trn3', 'f4e2m1 in whole groups of 4 elements', (nc) => {
      nc.dmaCopy(nc.sbuf('a', 'f4e2m1', 4, 8).columns(2, 4), nc.sbuf('b', 'f4e2m1', 4, 4));
    });
    expectRefusal('trn3', 'formats that engines compute with, got "e8m0 in a"', (nc) => {
      const a = nc.sbuf('a', 'e8m0', 4, 8);
      nc.tensorTensor(a, a, 'add', a);
    });
    expectRefusal('trn3', 'e8m0 on both sides or on none', (nc) => {
      nc.dmaCopy(nc.sbuf('a', 'e8m0', 4, 8), nc.sbuf('b', 'f32', 4, 8));
    });
  });

  test('PSUM accumulates in FP32 before v4', () => {
    const write = (nc: ProgramBuilder) => {
      const a = nc.sbuf('a', 'bf16', 4, 4);
      nc.matmul(nc.psum('p', 4, 4, { dtype: 'bf16' }), a, a, { accumulate: true });
    };
    expectRefusal('trn2', 'accumulation in FP32 before NeuronCore-v4', write);
    tileProgram('good', findChip('trn3').core!, write);
  });
});

describe('instructions', () => {
  test('a matmul has 128 x 128 stationary and 512 moving, from SBUF to one bank of PSUM', () => {
    const matmul = (m: number, n: number) => (nc: ProgramBuilder) => {
      nc.matmul(
        nc.psum('p', Math.min(m, 128), Math.min(n, 512)),
        nc.sbuf('a', 'bf16', 128, m),
        nc.sbuf('b', 'bf16', 128, n),
      );
    };
    tileProgram('good', findChip('trn2').core!, matmul(128, 512));
    expectRefusal(
      'trn2',
      'bad: instruction 0 (nc_matmul): expected at most 128 stationary columns, got 129',
      matmul(129, 4),
    );
    expectRefusal('trn2', 'at most 512 moving columns, got 513', matmul(4, 513));
    expectRefusal('trn2', 'a result in PSUM, got "SBUF tile a"', (nc) => {
      const a = nc.sbuf('a', 'bf16', 4, 4);
      nc.matmul(a, a, a);
    });
    expectRefusal('trn2', 'moving with the 4 partitions of stationary, got 8', (nc) => {
      nc.matmul(nc.psum('p', 4, 4), nc.sbuf('a', 'bf16', 4, 4), nc.sbuf('b', 'bf16', 8, 4));
    });
    const wide = (step: number) => (nc: ProgramBuilder) => {
      const [a, p] = [nc.sbuf('a', 'bf16', 4, 512), nc.psum('p', 4, 1024)];
      nc.loop(2, (i) => nc.matmul(p.columns(i.times(step), 512), a.columns(0, 4), a));
    };
    tileProgram('banks', findChip('trn2').core!, wide(512));
    expectRefusal('trn2', 'a result within one PSUM bank of 512 elements', wide(256));
  });

  test('shapes of operands agree', () => {
    expectRefusal('trn2', 'operands of one shape, 4 x 4, got "4 x 5"', (nc) => {
      nc.tensorTensor(nc.sbuf('a', 'f32', 4, 4), nc.sbuf('b', 'f32', 4, 5), 'add', nc.sbuf('c', 'f32', 4, 4));
    });
    expectRefusal('trn2', 'operand0 of 4 x 1, got "4 x 2"', (nc) => {
      const a = nc.sbuf('a', 'f32', 4, 4);
      nc.tensorScalar(a, a, 'add', nc.sbuf('b', 'f32', 4, 2));
    });
    expectRefusal('trn2', 'an output of 4 x 6', (nc) =>
      nc.bnStats(nc.sbuf('a', 'f32', 2, 6), nc.sbuf('b', 'f32', 4, 8)),
    );
    expectRefusal('trn2', '16 x 1 elements on both sides', (nc) => {
      nc.dmaCopy(nc.sbuf('a', 'f32', 4, 5), nc.sbuf('b', 'f32', 16, 1));
    });
  });

  test('GpSimdE does not reach PSUM, engines do not reach HBM, v2 has no DMA transpose, v3 no exponential', () => {
    expectRefusal('trn2', 'GpSimdE cannot access PSUM, got "p"', (nc) => nc.memset(nc.psum('p', 4, 4), 0, 'GpSimdE'));
    expectRefusal('trn1', 'NeuronCore-v3 or later for a DMA transpose', (nc) => {
      nc.dmaTranspose(nc.sbuf('a', 'bf16', 4, 8), nc.sbuf('b', 'bf16', 8, 4));
    });
    expectRefusal('trn2', 'NeuronCore-v4 for exponential', (nc) => {
      const a = nc.sbuf('a', 'f32', 4, 4);
      nc.exponential(a, a, a.columns(0, 1));
    });
  });

  test('an output is written once: no steps of 0', () => {
    expectRefusal('trn2', 'an output without steps of 0, got "a"', (nc) => {
      nc.memset(nc.sbuf('a', 'f32', 4, 4).access(0, [[0, 4]]), 0);
    });
    expectRefusal('trn2', 'an output without steps of 0, got "y"', (nc) => {
      const y = new HbmView(nc.output('y', 'f32', [1, 4]), new Index(0), 0, 4, [[1, 4]]);
      nc.dmaCopy(y, nc.sbuf('a', 'f32', 4, 4));
    });
  });

  test('unknown functions and fills that are no numbers are refused by name', () => {
    const a = (nc: ProgramBuilder) => nc.sbuf('a', 'f32', 4, 4);
    expectRefusal('trn2', 'fn to be one of copy, exp', (nc) => nc.activation(a(nc), 'sinh' as 'exp', a(nc)));
    expectRefusal('trn2', 'alu to be one of add', (nc) => nc.tensorTensor(a(nc), a(nc), 'power' as 'add', a(nc)));
    expectRefusal('trn2', 'a number to fill with', (nc) => nc.memset(a(nc), '0' as unknown as number));
    expectRefusal('trn2', 'integer steps', (nc) => nc.iota(a(nc), { freeStep: 0.5 }));
  });
});
