/** The relaxed build: everything, and the wide tiles, which only pay under V8's revectoriser. See `index.ts`. */
export * from './index';
export { wide1, wide2, wide3, wide4, wide5, wide6 } from './tiles.gen';
