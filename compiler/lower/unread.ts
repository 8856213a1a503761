// What nobody reads is not stored: once kernels are fused, a value may be needed only where it is computed.
import type { Buffer } from "./expr.js";
import { expressionsOf, loadsOf } from "./memory.js";
import type { Nest, Stage, Step, Store } from "./nest.js";
import { nestsOf } from "./turns.js";

export function withoutUnread(steps: readonly Step[]): readonly Step[] {
  // A store that is gone leaves others unread.
  for (let now = steps; ; ) {
    const read = new Set<Buffer>();
    for (const { nest } of nestsOf(now)) for (const l of loadsOf(expressionsOf(nest))) read.add(l.buffer);
    const next = kept(now, (b) => b.role !== "temp" || read.has(b));
    if (next === now) return now;
    now = next;
  }
}

/** The same list where nothing changes. */
function kept(steps: readonly Step[], needed: (b: Buffer) => boolean): readonly Step[] {
  let same = true;
  const out = steps.flatMap((s): readonly Step[] => {
    if (s.step === "loop") {
      const body = kept(s.body, needed);
      if (body === s.body) return [s];
      same = false;
      return body.length === 0 ? [] : [{ ...s, body }];
    }
    const nest = part(s.nest, needed);
    if (nest === s.nest) return [s];
    same = false;
    return nest ? [{ step: "nest", nest }] : [];
  });
  return same ? steps : out;
}

/** What is left of a nest. Kernels of tiles and selections keep all that they give. */
function part(n: Nest, needed: (b: Buffer) => boolean): Nest | undefined {
  const stores = (list: readonly Store[]) => (list.every((s) => needed(s.buffer)) ? list : list.filter((s) => needed(s.buffer)));
  switch (n.form) {
    case "map":
    case "contract": {
      const left = stores(n.stores);
      return left.length === 0 ? undefined : left === n.stores ? n : { ...n, stores: left };
    }
    case "row": {
      const stages = n.stages.flatMap((s): readonly Stage[] => {
        if (s.stage === "fold") return [s];
        const left = stores(s.stores);
        // A scan's prefixes are values of later stages.
        return left.length === 0 && s.stage === "map" ? [] : [left === s.stores ? s : { ...s, stores: left }];
      });
      if (!stages.some((s) => s.stage !== "fold" && s.stores.length > 0)) return undefined;
      return stages.length === n.stages.length && stages.every((s, i) => s === n.stages[i]) ? n : { ...n, stages };
    }
    case "scatter":
      return needed(n.into.buffer) ? n : undefined;
    case "tiles":
    case "top":
      return n;
  }
}
