/** The plain build: everything, and the flow clock's loop, of which one copy is enough. See `index.ts`. */
export { runFlow } from './flow';
export * from './index';
