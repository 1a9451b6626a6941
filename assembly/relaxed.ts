/** The relaxed build: everything, its own tiles (of 6 rows, and the wide ones for V8's revectoriser), int8 in quads. See `index.ts`. */
export * from './index';
export { multiplyQuads_i8, packColumnQuads_i8, packRowQuads_i8, quadBias } from './quads';
export {
  quads1,
  quads2,
  quads3,
  quads4,
  quads5,
  quads6,
  rows6,
  tile6,
  wide1,
  wide2,
  wide3,
  wide4,
  wide5,
  wide6,
} from './tiles.gen';
