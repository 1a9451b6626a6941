import { test } from 'vitest';
import { attentionProgram } from '../src/core/programs/attention.ts';
import { findChip } from '../src/hardware/catalog.ts';
import { runOn } from './program-support.ts';
test('x', () => {
  for (const window of [1, 100,700]) for (const heads of [1,2]) {
  const o={ heads, kvHeads: 1, headDim: 16, seqQ: 700, seqKv: 700, causal: true, window, dtype: 'f32' } as const;
  const p = attentionProgram(findChip('trn2').core!, o);
  const d=16; const { inputs:{q,kT,v}, outputs:{y} } = runOn(p);
  const bad:number[]=[];
  for(let h=0;h<heads;h++)for(let i=0;i<700;i++){const s=Array.from({length:700},(_,j)=>{if(j>i||j<=i-window)return -Infinity;let a=0;for(let c=0;c<d;c++)a+=q![(h*700+i)*d+c]!*kT![c*700+j]!;return a/4});
   const mx=Math.max(...s);const e=s.map(x=>Math.exp(x-mx));const sum=e.reduce((a,b)=>a+b,0);let worst=0;for(let c=0;c<d;c++){let a=0;for(let j=0;j<700;j++)a+=e[j]!/sum*v![j*d+c]!;worst=Math.max(worst,Math.abs(a-y![(h*700+i)*d+c]!))} if(!(worst<1e-4))bad.push(h*1000+i)}
  console.log(window,heads,bad.length,bad.slice(0,8).join(),bad.slice(-3).join());
  }
});
