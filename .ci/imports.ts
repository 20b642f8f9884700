/**
 * Finds what a TypeScript file imports, types included, without a parser: TypeScript 7 has no API to ask. Reads tokens,
 * so that comments, strings, templates and regular expressions cannot pretend to be imports.
 */

export interface Import {
  /** Undefined when it is computed at run time. */
  readonly specifier: string | undefined;
  readonly line: number;
}

interface Token {
  readonly kind: 'word' | 'string' | 'sign';
  readonly text: string;
  readonly line: number;
}

/** After these words a slash begins a regular expression; after any other word it divides. */
const BEFORE_REGEX = new Set([
  'return',
  'typeof',
  'case',
  'in',
  'of',
  'do',
  'else',
  'void',
  'delete',
  'await',
  'yield',
  'throw',
  'new',
  'instanceof',
]);

const BLANK = /\s+/y;
const LINE_COMMENT = /\/\/[^\n]*/y;
const BLOCK_COMMENT = /\/\*[^]*?(?:\*\/|$)/y;
const WORD = /[\p{ID_Start}$_#@][\p{ID_Continue}$\u200c\u200d]*/uy;
const NUMBER = /\d[\w.]*/y;
// A string or regular expression ends with its line at the latest: a mistake here stays small.
const STRING = /'(?:[^'\\\n]|\\[^])*'?|"(?:[^"\\\n]|\\[^])*"?/y;
const REGEX = /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/\w*/y;

function tokens(source: string): Token[] {
  const found: Token[] = [];
  /** Open braces; `template` where closing it goes on with template text. */
  const braces: ('block' | 'template')[] = [];
  let at = 0;
  let line = 1;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const text = pattern.exec(source)?.[0];
    if (text !== undefined) skip(text);
    return text;
  };
  const skip = (text: string): void => {
    at += text.length;
    for (let i = text.indexOf('\n'); i !== -1; i = text.indexOf('\n', i + 1)) line += 1;
  };
  /** Template text up to its end or the next `${`; its value is of no interest. */
  const template = (): void => {
    while (at < source.length) {
      const text = source[at] === '\\' ? source.slice(at, at + 2) : (source[at] ?? '');
      skip(text);
      if (text === '`') return;
      if (text === '$' && source[at] === '{') {
        skip('{');
        braces.push('template');
        return;
      }
    }
  };
  while (at < source.length) {
    if (take(BLANK) !== undefined || take(LINE_COMMENT) !== undefined || take(BLOCK_COMMENT) !== undefined)
      continue;
    const startLine = line;
    const word = take(WORD) ?? take(NUMBER);
    if (word !== undefined) {
      found.push({ kind: 'word', text: word, line: startLine });
      continue;
    }
    const quoted = take(STRING);
    if (quoted !== undefined) {
      found.push({ kind: 'string', text: quoted.slice(1, -1), line: startLine });
      continue;
    }
    if (source[at] === '/' && regexMayStand(found.at(-1)) && take(REGEX) !== undefined) {
      found.push({ kind: 'string', text: '', line: startLine });
      continue;
    }
    const sign = source[at] ?? '';
    skip(sign);
    if (sign === '`') {
      found.push({ kind: 'string', text: '`', line: startLine });
      template();
    } else if (sign === '}' && braces.pop() === 'template') {
      template();
    } else {
      if (sign === '{') braces.push('block');
      found.push({ kind: 'sign', text: sign, line: startLine });
    }
  }
  return found;
}

function regexMayStand(before: Token | undefined): boolean {
  if (before === undefined) return true;
  if (before.kind === 'sign') return before.text !== ')' && before.text !== ']';
  return before.kind === 'word' && BEFORE_REGEX.has(before.text);
}

/** Every import and re-export of the source, static, dynamic, and in types. */
export function importsOf(source: string): Import[] {
  const list = tokens(source);
  const imports: Import[] = [];
  const is = (i: number, text: string): boolean => list[i]?.text === text && list[i].kind !== 'string';
  for (const [i, { kind, text, line }] of list.entries()) {
    if (kind !== 'word' || is(i - 1, '.') || is(i + 1, ':')) continue;
    const next = list[i + 1];
    if ((text === 'import' || text === 'require') && is(i + 1, '(')) {
      const argument = list[i + 2];
      const literal =
        argument?.kind === 'string' && argument.text !== '`' && (is(i + 3, ')') || is(i + 3, ','));
      // A function of ours may be called `require`; what it is given then is not a path.
      if (literal) imports.push({ specifier: argument.text, line });
      else if (text === 'import') imports.push({ specifier: undefined, line });
    } else if (text === 'import' && next?.kind === 'string') {
      imports.push({ specifier: next.text, line });
    } else if (text === 'import' && !is(i + 1, '.')) {
      push(list.slice(i + 1), line);
    } else if (
      text === 'export' &&
      (is(i + 1, '{') || is(i + 1, '*') || (is(i + 1, 'type') && (is(i + 2, '{') || is(i + 2, '*'))))
    ) {
      push(list.slice(i + 1), line);
    }
  }
  return imports;

  /** Looks for `from '…'` before the clause ends. */
  function push(clause: readonly Token[], line: number): void {
    for (const [i, token] of clause.entries()) {
      if (token.kind === 'string') return;
      if (token.text === ';' || token.text === '=' || token.text === '(') return;
      const next = clause[i + 1];
      if (token.text === 'from' && next?.kind === 'string') {
        imports.push({ specifier: next.text, line });
        return;
      }
      // `export { a }` without `from`: whatever follows the closing brace is another statement.
      if (token.text === '}' && next?.text !== 'from') return;
    }
  }
}
