/** Flame graphs of V8's CPU profiles: SVG that a browser shows without anything else. */

/** What `--cpu-prof` writes, as far as it is used here. Times in microseconds. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
    readonly children?: readonly number[];
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

interface Frame {
  readonly name: string;
  readonly where: string;
  own: number;
  total: number;
  readonly children: Map<string, Frame>;
}

const WIDTH = 1600;
const ROW = 16;
/** Narrower boxes are left out: nobody sees them, and there are thousands. */
const MIN_WIDTH = 0.4;
/** V8's name of the time in which nothing was to do. */
const IDLE = '(idle)';

/** Frames of one function under one caller are one box. Idle time is left out. */
export function fold({ nodes, samples, timeDeltas }: CpuProfile): Frame {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const own = new Map<number, number>();
  for (const [index, id] of samples.entries()) own.set(id, (own.get(id) ?? 0) + (timeDeltas[index] ?? 0));
  const newFrame = (name: string, where: string): Frame => ({
    name,
    where,
    own: 0,
    total: 0,
    children: new Map(),
  });
  const visit = (id: number, into: Frame): void => {
    const node = byId.get(id);
    if (node === undefined) return;
    into.own += own.get(id) ?? 0;
    for (const childId of node.children ?? []) {
      const call = byId.get(childId)?.callFrame;
      if (call === undefined || call.functionName === IDLE) continue;
      const where = `${call.url.replace(/^.*\/(gateway|node_modules)\//, '')}:${call.lineNumber + 1}`;
      const key = `${call.functionName} ${where}`;
      const child = into.children.get(key) ?? newFrame(call.functionName || '(anonymous)', where);
      into.children.set(key, child);
      visit(childId, child);
    }
  };
  const root = newFrame('all', '');
  const [first] = nodes;
  if (first !== undefined) visit(first.id, root);
  const sum = (frame: Frame): number => {
    frame.total = frame.own;
    for (const child of frame.children.values()) frame.total += sum(child);
    return frame.total;
  };
  sum(root);
  return root;
}

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** Warm colours for what is ours, cold ones for the runtime and packages. */
function colourOf({ name, where }: Frame): string {
  let hash = 0;
  for (const letter of name) hash = (hash * 31 + letter.charCodeAt(0)) % 50;
  const runtime = where.startsWith('node:') || where.startsWith(':') || where.startsWith('wasm');
  return runtime ? `hsl(${190 + hash},45%,70%)` : `hsl(${hash},75%,65%)`;
}

/** @param title what was measured */
export function formatFlame(root: Frame, title: string): string {
  const boxes: string[] = [];
  let deepest = 0;
  const draw = (frame: Frame, x: number, depth: number): void => {
    const width = (frame.total / root.total) * WIDTH;
    if (width < MIN_WIDTH) return;
    deepest = Math.max(deepest, depth);
    const y = (depth + 1) * ROW;
    const share = ((frame.total / root.total) * 100).toFixed(2);
    const fits = frame.name.slice(0, Math.floor(width / 6.5));
    boxes.push(
      `<g><title>${escaped(`${frame.name} ${frame.where} ${share} %`)}</title>` +
        `<rect x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${ROW - 1}" fill="${colourOf(frame)}"/>` +
        (width < 20 ? '' : `<text x="${(x + 2).toFixed(1)}" y="${y + 11}">${escaped(fits)}</text>`) +
        '</g>',
    );
    let at = x;
    for (const child of [...frame.children.values()].toSorted((a, b) => b.total - a.total)) {
      draw(child, at, depth + 1);
      at += (child.total / root.total) * WIDTH;
    }
  };
  if (root.total > 0) draw(root, 0, 0);
  const height = (deepest + 3) * ROW;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="monospace" font-size="10">` +
    `<text x="2" y="12">${escaped(title)}: ${(root.total / 1000).toFixed(0)} ms busy</text>${boxes.join('')}</svg>\n`
  );
}
