/** The relaxed build: everything, and its own tiles: of 6 rows, and the wide ones for V8's revectoriser. See `index.ts`. */
export * from './index';
export { rows6, tile6, wide1, wide2, wide3, wide4, wide5, wide6 } from './tiles.gen';
