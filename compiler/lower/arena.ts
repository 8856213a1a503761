// Places for temporaries in one arena. Bytes may be shared by whatever is not needed at the same time (lives.ts). Each buffer
// takes the lowest place that is free while it lives, or the tightest gap that holds it; several orders are tried, and the
// smallest arena is kept. No order can do better than the greatest number of bytes that are needed at once.
import type { Buffer } from "./expr.js";
import { type Life, type Lives, livesOf, needed, type Piece, type Span } from "./lives.js";
import type { Step } from "./nest.js";

/** Of every buffer's place, in bytes, where a target asks for nothing else: a cache line, and the widest vector. */
const ALIGN = 64;

export interface Arena {
  /** By the buffer's id. */
  readonly offsets: ReadonlyMap<number, number>;
  readonly arenaBytes: number;
}

export function placeTemporaries(steps: readonly Step[], align = ALIGN): Arena {
  const lives = livesOf(steps);
  const bodies = lives.lives.map((l) => new Body(l, align));
  for (const [i, b] of bodies.entries())
    for (let j = 0; j < i; j++) {
      const other = bodies[j] as Body;
      const refused = together(b.span, other.span) ? b.refused(other) : [];
      if (refused.length === 0) continue;
      b.neighbours.push({ of: j, refused });
      other.neighbours.push({ of: i, refused: refused.map(([above, below]) => [-below, -above] as const).reverse() });
    }
  const least = Math.max(0, ...needed(lives));
  let best: Arena | undefined;
  for (const order of orders(bodies, lives))
    for (const fit of [lowest, tightest]) {
      const found = place(bodies, order, fit, align);
      if (!best || found.arenaBytes < best.arenaBytes) best = found;
      // The rest is what alignment costs.
      if (best.arenaBytes <= least + align * bodies.length) return best;
    }
  return best ?? { offsets: new Map(), arenaBytes: 0 };
}

/** A buffer with its pieces, whose ends are rounded up, and the others that it must not lie on. */
class Body {
  readonly buffer: Buffer;
  readonly pieces: readonly Piece[];
  readonly bytes: number;
  readonly span: Span;
  readonly neighbours: { readonly of: number; readonly refused: readonly (readonly [number, number])[] }[] = [];
  constructor(life: Life, align: number) {
    this.buffer = life.buffer;
    const last = life.pieces.at(-1) as Piece;
    this.bytes = Math.ceil(last.to / align) * align;
    this.pieces = life.pieces.map((p) => (p === last ? { ...p, to: this.bytes } : p));
    const spans = life.pieces.flatMap((p) => p.spans);
    this.span = { first: Math.min(...spans.map((s) => s.first)), last: Math.max(...spans.map((s) => s.last)) };
  }
  /** Distances of this from the other's place at which the two would share bytes at some time: strictly between the ends of each
   *  interval. */
  refused(other: Body): readonly (readonly [number, number])[] {
    const all: [number, number][] = [];
    for (const p of this.pieces) for (const q of other.pieces) if (meet(p.spans, q.spans)) all.push([q.from - p.to, q.to - p.from]);
    const out: [number, number][] = [];
    for (const [above, below] of all.sort((x, y) => x[0] - y[0])) {
      const last = out.at(-1);
      if (last && above < last[1]) last[1] = Math.max(last[1], below);
      else out.push([above, below]);
    }
    return out;
  }
}
const together = (a: Span, b: Span): boolean => a.first <= b.last && b.first <= a.last;
function meet(a: readonly Span[], b: readonly Span[]): boolean {
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const [x, y] = [a[i] as Span, b[j] as Span];
    if (together(x, y)) return true;
    if (x.last < y.last) i++;
    else j++;
  }
  return false;
}

/** Free places from `from` on, below `to`; the last has no end. */
type Fit = (gaps: readonly (readonly [number, number])[]) => number;
const lowest: Fit = (gaps) => (gaps[0] as readonly [number, number])[0];
const tightest: Fit = (gaps) => gaps.reduce((a, b) => (b[1] - b[0] < a[1] - a[0] ? b : a))[0];

function place(bodies: readonly Body[], order: readonly number[], fit: Fit, align: number): Arena {
  const at = new Map<number, number>();
  let arenaBytes = 0;
  for (const i of order) {
    const b = bodies[i] as Body;
    const refused: (readonly [number, number])[] = [];
    for (const n of b.neighbours) {
      const base = at.get(n.of);
      if (base !== undefined) for (const [above, below] of n.refused) refused.push([base + above, base + below]);
    }
    // A place is refused strictly between the two ends of such an interval.
    const gaps: [number, number][] = [];
    let from = 0;
    for (const [above, below] of refused.sort((x, y) => x[0] - y[0])) {
      if (above >= from) gaps.push([from, above]);
      from = Math.max(from, Math.ceil(below / align) * align);
    }
    gaps.push([from, Number.POSITIVE_INFINITY]);
    const base = fit(gaps);
    at.set(i, base);
    arenaBytes = Math.max(arenaBytes, base + b.bytes);
  }
  return { offsets: new Map([...at].map(([i, base]) => [(bodies[i] as Body).buffer.id, base])), arenaBytes };
}

function* orders(bodies: readonly Body[], { kernels }: Lives): Iterable<readonly number[]> {
  const all = bodies.map((_, i) => i);
  const by = (...keys: readonly ((b: Body) => number)[]) =>
    [...all].sort((i, j) => {
      for (const k of keys) {
        const d = k(bodies[j] as Body) - k(bodies[i] as Body);
        if (d !== 0) return d;
      }
      return i - j;
    });
  const size = (b: Body) => b.bytes;
  const time = (b: Body) => b.span.last - b.span.first;
  // Stacks first, those that live longest before the others: what comes later lies in what they have left.
  const stacked = (b: Body) => (b.pieces.length > 1 ? 1 : 0);
  yield by(size, time);
  yield by(stacked, (b) => kernels - b.span.first, size);
  yield by(time, size);
  yield by((b) => b.bytes * time(b));
  yield by((b) => kernels - b.span.first, size);
}
