// The order of updates: one that reads another's state comes before it is overwritten. Where two read each other's, or
// one reads its own state at other places than it writes, the new value waits in a temporary and is copied last.
import { type Buffer, load, variable } from "./expr.js";
import { aligned } from "./fuse.js";
import { touched } from "./memory.js";
import type { Nest } from "./nest.js";

type MapNest = Extract<Nest, { form: "map" }>;

export function orderUpdates(nests: readonly Nest[], temporary: (like: Buffer) => Buffer): readonly Nest[] {
  const waiting = nests as readonly MapNest[]; // updates are copies into state: point-wise
  const out: Nest[] = [];
  const copies: Nest[] = [];
  const left = new Set(waiting);
  const reads = new Map(waiting.map((n) => [n, touched(n).reads]));
  const postpone = (n: MapNest) => {
    const stores = n.stores.map((s) => ({ ...s, buffer: temporary(s.buffer) }));
    out.push({ ...n, stores });
    copies.push({
      ...n,
      name: `${n.name}_copy`,
      stores: n.stores.map((s, i) => ({
        buffer: s.buffer,
        index: s.index,
        value: load(
          (stores[i] as (typeof stores)[number]).buffer,
          n.axes.map((a) => variable(a.v)),
        ),
      })),
    });
  };
  while (left.size > 0) {
    const free = [...left].filter((n) => aligned(n) && ![...left].some((o) => o !== n && n.stores.some((s) => reads.get(o)?.has(s.buffer))));
    const chosen = free.length > 0 ? free : [[...left][0] as MapNest];
    for (const n of chosen) {
      left.delete(n);
      if (free.length > 0) out.push(n);
      else postpone(n);
    }
  }
  return [...out, ...copies];
}
