// When which bytes of each temporary hold something that is still needed. Time counts kernels, the work between two
// barriers, since threads run what lies in one of them in any order: memory that is free by this clock can be used again
// without a barrier more. The turns of the program's outer loops are counted one by one. A value that a loop keeps for
// every turn is a stack of slices, of which each has a life of its own: the forward pass over layers writes one a turn, the
// backward pass needs them in reverse, and what it has used lies free for the gradients that it writes.
import { walkOf } from "./barriers.js";
import { type Buffer, maxOf } from "./expr.js";
import { bytesOf, touched } from "./memory.js";
import type { Nest, Step } from "./nest.js";
import { Slices } from "./slices.js";

/** From the first kernel to the last, both included. */
export interface Span {
  readonly first: number;
  readonly last: number;
}
/** Bytes of a buffer, and when they are needed: spans in order, none of which meet. */
export interface Piece {
  readonly from: number;
  readonly to: number;
  readonly spans: readonly Span[];
}
export interface Life {
  readonly buffer: Buffer;
  readonly pieces: readonly Piece[];
}
export interface Lives {
  readonly lives: readonly Life[];
  /** How many kernels a run passes, turns of the outer loops counted, those of inner loops not. */
  readonly kernels: number;
  /** The first nest of each of them. */
  readonly nestAt: ReadonlyMap<number, Nest>;
}

/** Loops of more turns are taken as one turn: their stacks live from their first slice to their last. */
export const MOST_TURNS = 128;

interface Touch {
  readonly time: number;
  /** Turn of the outer loop: of the walk, so that no two turns share one; null outside. */
  readonly turn: number | null;
  readonly loop: Step | null;
  readonly reads: boolean;
  readonly writes: boolean;
}

export function livesOf(steps: readonly Step[]): Lives {
  const events = walkOf({ steps, offsets: new Map() }, touched);
  const slices = new Slices();
  const touches = new Map<Buffer, { readonly slice: number | null; readonly touch: Touch }[]>();
  const nestAt = new Map<number, Nest>();
  /** Inner loops, and outer ones that are not unrolled, each time they are passed. */
  const passed: Span[] = [];
  let time = 0;
  let turns = 0;
  let loop: Step | null = null;
  let turn: number | null = null;

  const nest = (n: Nest, counters: ReadonlyMap<string, number>) => {
    if (!nestAt.has(time)) nestAt.set(time, n);
    const io = touched(n);
    for (const b of new Set([...io.reads, ...io.writes])) {
      if (b.role !== "temp") continue;
      const touch = { time, turn, loop, reads: io.reads.has(b), writes: io.writes.has(b) };
      const list = touches.get(b) ?? [];
      if (list.length === 0) touches.set(b, list);
      for (const slice of slices.of(n, b, counters) ?? [null]) list.push({ slice, touch });
    }
  };
  const run = (from: number, to: number, counters: ReadonlyMap<string, number>) => {
    const open: number[] = [];
    for (let i = from; i < to; i++) {
      const e = events[i] as (typeof events)[number];
      if (e.at === "barrier") time++;
      else if (e.at === "nest") nest(e.nest, counters);
      else if (e.at === "enter") {
        const end = endOf(events, i);
        const unrolled = loop === null && open.length === 0 && !e.loop.blocks && e.loop.count <= MOST_TURNS;
        time++;
        if (unrolled) {
          loop = e.loop;
          for (let t = 0; t < e.loop.count; t++) {
            turn = turns++;
            run(i + 1, end, new Map([...counters, [e.loop.v, e.loop.reverse ? e.loop.count - 1 - t : t]]));
            time++;
          }
          loop = null;
          turn = null;
          i = end;
        } else open.push(time);
      } else {
        passed.push({ first: open.pop() as number, last: time });
        time++;
      }
    }
  };
  run(0, events.length, new Map());

  const lives = [...touches].map(([buffer, list]): Life => ({ buffer, pieces: piecesOf(buffer, list, passed) }));
  return { lives, kernels: time + 1, nestAt };
}
function endOf(events: ReturnType<typeof walkOf>, enter: number): number {
  let depth = 0;
  for (let i = enter; ; i++) {
    const at = (events[i] as (typeof events)[number]).at;
    if (at === "enter") depth++;
    if (at === "leave" && --depth === 0) return i;
  }
}

function piecesOf(b: Buffer, list: readonly { readonly slice: number | null; readonly touch: Touch }[], passed: readonly Span[]): readonly Piece[] {
  const count = b.axes.length > 0 ? maxOf((b.axes[0] as (typeof b.axes)[number]).extent) : 1;
  const bytes = Math.max(1, bytesOf(b));
  if (list.every((t) => t.slice === null))
    return [
      {
        from: 0,
        to: bytes,
        spans: spansOf(
          list.map((t) => t.touch),
          passed,
        ),
      },
    ];
  const own = new Map<number, Touch[]>();
  for (const { slice, touch } of list)
    for (const s of slice === null ? Array.from({ length: count }, (_, i) => i) : [slice]) {
      const known = own.get(s);
      if (known) known.push(touch);
      else own.set(s, [touch]);
    }
  return [...own]
    .sort(([a], [b]) => a - b)
    .map(([s, touches]) => ({ from: (bytes / count) * s, to: (bytes / count) * (s + 1), spans: spansOf(touches, passed) }));
}

const writesFirst = (touches: readonly Touch[]): boolean => touches[0]?.writes === true && !touches[0].reads;
/** `touches` in their order. What is written anew in each turn that needs it lives in each for itself; everything else from
 *  its first use to its last. Inside a loop whose turns are not counted, what reaches into it or out of it, or is there
 *  when a turn begins, lives as long as the loop. */
function spansOf(touches: readonly Touch[], passed: readonly Span[]): readonly Span[] {
  const [head] = touches as readonly [Touch, ...Touch[]];
  const byTurn = new Map<number | null, Touch[]>();
  for (const t of touches) {
    const known = byTurn.get(t.turn);
    if (known) known.push(t);
    else byTurn.set(t.turn, [t]);
  }
  const anew = head.loop !== null && touches.every((t) => t.loop === head.loop) && [...byTurn.values()].every(writesFirst);
  const groups = anew ? [...byTurn.values()] : [touches];
  const spans = groups.map((g) => {
    let { first, last } = { first: (g[0] as Touch).time, last: (g.at(-1) as Touch).time };
    // Inner loops end before those around them, so that one pass widens through all.
    for (const p of passed) {
      if (first > p.last || last < p.first) continue;
      const inside = first >= p.first && last <= p.last && writesFirst(g.filter((t) => t.time >= p.first && t.time <= p.last));
      if (inside) continue;
      first = Math.min(first, p.first);
      last = Math.max(last, p.last);
    }
    return { first, last };
  });
  return spans.sort((a, b) => a.first - b.first);
}

/** Bytes that are needed at each kernel. */
export function needed({ lives, kernels }: Lives): readonly number[] {
  const change = new Float64Array(kernels + 1);
  for (const { pieces } of lives)
    for (const p of pieces)
      for (const s of p.spans) {
        change[s.first] = (change[s.first] as number) + p.to - p.from;
        change[s.last + 1] = (change[s.last + 1] as number) - p.to + p.from;
      }
  let now = 0;
  return Array.from({ length: kernels }, (_, t) => {
    now += change[t] as number;
    return now;
  });
}
