/**
 * XML as far as configuration files use it: elements and attributes. Comments, the declaration and white space are skipped;
 * text, CDATA, a document type and entities but the five predefined ones are errors, so nothing can expand.
 * see: Extensible Markup Language (XML) 1.0, 2008.
 */
import { ModelError, show } from '../base/errors.ts';

export interface XmlElement {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly XmlElement[];
  /** Of its start tag, from 1. */
  readonly line: number;
}

/** A guard against files made to exhaust the stack of whoever walks the tree. */
const MAX_DEPTH = 32;

const SKIPPED = /(?:\s+|<!--[\s\S]*?-->|<\?xml\s[^>]*\?>)/y;
const TAG = /<(\/?)([A-Za-z_][\w.-]*)((?:\s+[A-Za-z_][\w.:-]*\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>/y;
const ATTRIBUTE = /([A-Za-z_][\w.:-]*)\s*=\s*(?:"([^"]*)"|'([^']*)')/g;
const ENTITIES: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

/**
 * The root element of `text`. `path` names the file in errors.
 * @throws ModelError CONFIG with the line of what can't be read
 */
export function parseXml(text: string, path: string): XmlElement {
  let line = 1;
  let counted = 0;
  const lineAt = (offset: number): number => {
    for (; counted < offset; counted++) if (text[counted] === '\n') line++;
    return line;
  };
  const fail = (offset: number, message: string): never => {
    throw new ModelError('CONFIG', path, `expected ${message} at line ${lineAt(offset)}`);
  };
  const open: { element: XmlElement; children: XmlElement[] }[] = [];
  let root: XmlElement | undefined;
  for (let at = 0; at < text.length; ) {
    SKIPPED.lastIndex = at;
    if (SKIPPED.test(text)) {
      at = SKIPPED.lastIndex;
      continue;
    }
    TAG.lastIndex = at;
    const tag = TAG.exec(text);
    if (tag === null) return fail(at, `a tag, got ${show(text.slice(at, at + 20))}`);
    const [, slash, name, attributeText, selfClosing] = tag as unknown as string[];
    if (slash === '/') {
      const closed = open.pop();
      if (closed?.element.name !== name) {
        fail(at, `${closed === undefined ? 'no more tags' : `</${closed.element.name}>`}, got </${name}>`);
      }
    } else {
      if (root !== undefined && open.length === 0) fail(at, `one root element, got another, <${name}>`);
      if (open.length === MAX_DEPTH) fail(at, `at most ${MAX_DEPTH} levels of elements, got more`);
      const children: XmlElement[] = [];
      const attributes = attributesOf(attributeText!, (message) => fail(at, message));
      const element = { name: name!, attributes, children, line: lineAt(at) };
      open.at(-1)?.children.push(element);
      root ??= element;
      if (selfClosing !== '/') open.push({ element, children });
    }
    at = TAG.lastIndex;
  }
  const unclosed = open.at(-1);
  if (unclosed !== undefined) fail(text.length, `</${unclosed.element.name}>, but the text ends`);
  return root ?? fail(text.length, 'an element, but the text ends');
}

function attributesOf(text: string, fail: (message: string) => never): Map<string, string> {
  const attributes = new Map<string, string>();
  for (const [, name, double, single] of text.matchAll(ATTRIBUTE)) {
    if (attributes.has(name!)) fail(`"${name}" once, got it again`);
    const value = (double ?? single)!.replace(/&([^;]*);?/g, (entity, key: string) => {
      return (entity.endsWith(';') ? ENTITIES[key] : undefined) ?? fail(`a predefined entity, got ${show(entity)}`);
    });
    attributes.set(name!, value);
  }
  return attributes;
}
