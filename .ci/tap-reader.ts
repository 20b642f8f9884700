/**
 * Reads the TAP 14 text of tap line by line. tap's own closing line counts assertions only: a file that is killed after
 * three good ones adds no failure to it, so failures are counted here.
 */

export interface Point {
  readonly ok: boolean;
  /** File, subtests, assertion. */
  readonly path: readonly string[];
  readonly directive?: { readonly kind: 'skip' | 'todo'; readonly reason: string };
  /** Indented YAML below the point, without the tested source. */
  readonly diagnostics: readonly string[];
  /** A test file or a subtest, as against one assertion. */
  readonly isGroup: boolean;
  /** Failed assertions below; for a group that is not ok, 0 means it broke off. */
  readonly failedBelow: number;
  readonly elapsedMs: number;
}

export interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}

interface Level {
  /** Name from the last `# Subtest:` comment: the group whose points come next, one level down. */
  subtest: string | undefined;
  failed: number;
  points: number;
}

const POINT = /^(not )?ok\b(?: \d+)?(?: - )?(.*)$/;

export class TapReader {
  readonly tally: Tally = { passed: 0, failed: 0, skipped: 0 };
  /** tap's closing line; absent when tap itself broke off. */
  closing: Tally | undefined;
  readonly #onPoint: (point: Point) => void;
  readonly #levels: Level[] = [];
  /** A point is complete when the next line shows that its diagnostics have ended. */
  #open: { level: number; ok: boolean; text: string; diagnostics: string[] } | undefined;
  #inYaml = false;
  /** Points whose subtests follow in braces, by level. */
  readonly #braced = new Map<number, { ok: boolean; text: string }>();

  constructor(onPoint: (point: Point) => void) {
    this.#onPoint = onPoint;
  }

  line(raw: string): void {
    const text = raw.trimStart();
    const indent = raw.length - text.length;
    if (this.#inYaml) {
      if (this.#open !== undefined && indent === this.#open.level * 4 + 2 && text === '...')
        this.#inYaml = false;
      else this.#open?.diagnostics.push(raw.slice((this.#open.level + 1) * 4 - 2));
      return;
    }
    if (this.#open !== undefined && indent === this.#open.level * 4 + 2 && text === '---') {
      this.#inYaml = true;
      return;
    }
    this.#close();
    if (indent % 4 !== 0) return; // something a test printed
    this.#read(text, indent / 4);
  }

  end(): void {
    this.#close();
  }

  #read(text: string, level: number): void {
    const closing =
      /^# \{ total: \d+, pass: (\d+)(?:, fail: (\d+))?(?:, todo: (\d+))?(?:, skip: (\d+))? \}$/.exec(text);
    if (level === 0 && closing !== null) {
      const count = (group: number): number => Number(closing[group] ?? 0); // counts of 0 are left out
      this.closing = { passed: count(1), failed: count(2), skipped: count(3) + count(4) };
    } else if (text.startsWith('# Subtest: ')) {
      this.#level(level).subtest = text.slice('# Subtest: '.length);
    } else if (text === '}') {
      const braced = this.#braced.get(level);
      this.#braced.delete(level);
      if (braced !== undefined) this.#report(level, braced.ok, braced.text, []);
    } else {
      const point = POINT.exec(text);
      if (point === null) return;
      const ok = point[1] === undefined;
      const description = point[2] ?? '';
      if (description.endsWith('{')) {
        const inner = description.slice(0, -1).trimEnd();
        this.#braced.set(level, { ok, text: inner });
        this.#level(level).subtest = split(inner).name;
      } else {
        this.#open = { level, ok, text: description, diagnostics: [] };
      }
    }
  }

  #close(): void {
    const open = this.#open;
    this.#open = undefined;
    if (open !== undefined) this.#report(open.level, open.ok, open.text, open.diagnostics);
  }

  #report(depth: number, ok: boolean, text: string, diagnostics: readonly string[]): void {
    const { name, directive, elapsedMs } = split(text);
    const level = this.#level(depth);
    const below = this.#levels[depth + 1];
    const isGroup = level.subtest !== undefined;
    const failedBelow = below?.failed ?? 0;
    const isLeaf = !isGroup || (below?.points ?? 0) === 0; // a test that asserts by not throwing counts as one
    const path = [...this.#levels.slice(0, depth).map(({ subtest }) => subtest ?? '?'), name];
    this.#levels.length = depth + 1;
    level.subtest = undefined;
    level.points += 1;
    level.failed += failedBelow;
    if (directive !== undefined) {
      if (isLeaf) this.tally.skipped += 1;
    } else if (!ok && failedBelow === 0) {
      // An assertion, or a group that broke off: killed, timed out, could not load, fewer points than planned.
      level.failed += 1;
      this.tally.failed += 1;
    } else if (ok && isLeaf) {
      this.tally.passed += 1;
    }
    this.#onPoint({
      ok,
      path,
      diagnostics: withoutSource(diagnostics),
      isGroup,
      failedBelow,
      elapsedMs,
      ...(directive === undefined ? {} : { directive }),
    });
  }

  #level(depth: number): Level {
    for (let i = this.#levels.length; i <= depth; i += 1) {
      this.#levels.push({ subtest: undefined, failed: 0, points: 0 });
    }
    const level = this.#levels[depth];
    if (level === undefined) throw new Error('unreachable: the level was just made');
    return level;
  }
}

/** Splits `name # SKIP reason` or `name # time=1.2ms`; a `#` of the name itself is escaped in TAP 14. */
function split(text: string): {
  name: string;
  directive?: { kind: 'skip' | 'todo'; reason: string };
  elapsedMs: number;
} {
  const at = /(?<!\\)\s#\s*(?=skip|todo|time=)/i.exec(text);
  const name = (at === null ? text : text.slice(0, at.index)).replaceAll(/\\([#\\])/g, '$1');
  const rest = at === null ? '' : text.slice(at.index + at[0].length);
  const time = /time=([\d.]+)ms/.exec(rest);
  const elapsedMs = time === null ? 0 : Number(time[1]);
  const kind = /^(skip|todo)\S*\s*(.*)$/i.exec(rest);
  if (kind === null) return { name, elapsedMs };
  const reason = (kind[2] ?? '').replace(/\s*#?\s*time=[\d.]+ms$/, '');
  return {
    name,
    elapsedMs,
    directive: { kind: kind[1]?.toLowerCase() === 'todo' ? 'todo' : 'skip', reason },
  };
}

/** Drops the copy of the test's source, what only tap needs, and stack lines of other people's code. */
function withoutSource(yaml: readonly string[]): readonly string[] {
  const kept: string[] = [];
  let dropping = false;
  for (const line of yaml) {
    if (line !== '' && !line.startsWith(' '))
      dropping = /^(source|compare|stdio|args|command|cwd|jobId):/.test(line);
    if (!dropping && line.trim() !== '' && !line.includes('node_modules/')) kept.push(line);
  }
  return kept;
}
