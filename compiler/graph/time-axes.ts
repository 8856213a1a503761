// Which axes of a graph's values are axes of time, and of which kind. A chunk axis (time, query) has the new positions, a
// history axis (key) has all positions so far. The kinds start from names and follow renamings: rotary positions rename
// both query and key to names of their own.
import { argsOf, type Node } from "../../dsl/node.js";
import type { Regions } from "../lower/regions.js";

export type Mode = "chunk" | "history";
/** The names that axes of time have where they are made. */
export interface TimeNames {
  readonly chunk: readonly string[];
  readonly history: readonly string[];
}

export class TimeAxes {
  readonly #kinds = new Map<Node, ReadonlyMap<string, Mode>>();
  constructor(
    readonly regions: Regions,
    readonly names: TimeNames,
  ) {
    for (const n of regions.order) this.#kinds.set(n, this.#kindsOf(n));
  }
  /** Of a node's axes of time, by name. */
  of(n: Node): ReadonlyMap<string, Mode> {
    return this.#kinds.get(n) as ReadonlyMap<string, Mode>; // every node of the graph has an entry
  }
  has(n: Node, kind: Mode): boolean {
    return [...this.of(n).values()].includes(kind);
  }
  /** Of past positions, and of nothing that is new. */
  isPast(n: Node): boolean {
    return this.has(n, "history") && !this.has(n, "chunk");
  }

  #byName = (axis: string): Mode | undefined =>
    this.names.chunk.includes(axis) ? "chunk" : this.names.history.includes(axis) ? "history" : undefined;
  #kindsOf(n: Node): ReadonlyMap<string, Mode> {
    const out = new Map<string, Mode>();
    const put = (axis: string, kind: Mode | undefined) => {
      if (kind) out.set(axis, kind);
    };
    const of = (m: Node | undefined) => (m && this.#kinds.get(m)) || new Map<string, Mode>();
    const l = n.op === "leaf" ? this.regions.owner.get(n) : undefined;
    const from =
      n.op === "carry"
        ? [n.loop.init[n.index]]
        : n.op === "emit"
          ? [n.of]
          : n.op === "leaf" && l
            ? [l.init[l.carry.indexOf(n)] ?? l.xs[l.slices.indexOf(n)]]
            : argsOf(n);
    for (const axis of Object.keys(n.axes)) {
      if (n.op === "view" && axis in n.fresh) {
        const source = n.index.kind === "scalar" ? Object.entries(n.index.at).find(([, s]) => s.kind === "index" && s.axis === axis)?.[0] : undefined;
        const kind = source === undefined ? undefined : of(n.args[0]).get(source);
        put(axis, kind === "chunk" ? (this.#byName(axis) ?? "chunk") : (kind ?? this.#byName(axis)));
        continue;
      }
      const known = from.flatMap((m) => (m && axis in m.axes ? [of(m).get(axis)] : []));
      put(axis, known.length > 0 ? known.find((k) => k) : this.#byName(axis));
    }
    return out;
  }
}
