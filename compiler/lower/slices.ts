// Which slices of a buffer along its first axis a nest touches, where that does not change while the nest runs: the index is a
// constant or made of the counters of loops around the nest.
import { type Buffer, type Expr, maxOf } from "./expr.js";
import { expressionsOf, loadsOf, storesOf } from "./memory.js";
import type { Nest } from "./nest.js";

/** The value of an int expression where every variable has one. */
export function valueAt(e: Expr, variables: ReadonlyMap<string, number>): number | undefined {
  if (e.kind === "num") return e.value;
  if (e.kind === "var") return variables.get(e.name);
  if (e.kind !== "call") return undefined;
  const args = e.args.map((a) => valueAt(a, variables));
  const [a, b = 0] = args;
  if (a === undefined || args.includes(undefined)) return undefined;
  switch (e.prim) {
    case "add":
      return a + b;
    case "sub":
      return a - b;
    case "neg":
      return -a;
    case "mul":
      return a * b;
    case "idiv":
      return Math.floor(a / b);
    case "imod":
      return a - b * Math.floor(a / b);
    default:
      return undefined;
  }
}

/** Of one plan: what is known of a nest is kept. */
export class Slices {
  readonly #leads = new Map<Nest, ReadonlyMap<Buffer, ReadonlySet<Expr>>>();

  /** The first index of every access, by buffer; scalars have none. */
  leadsOf(n: Nest): ReadonlyMap<Buffer, ReadonlySet<Expr>> {
    const known = this.#leads.get(n);
    if (known) return known;
    const out = new Map<Buffer, Set<Expr>>();
    for (const a of [...loadsOf(expressionsOf(n)), ...storesOf(n)]) {
      const [lead] = a.index;
      if (!lead) continue;
      const list = out.get(a.buffer);
      if (list) list.add(lead);
      else out.set(a.buffer, new Set([lead]));
    }
    this.#leads.set(n, out);
    return out;
  }
  /** Undefined: any of them. */
  of(n: Nest, b: Buffer, counters: ReadonlyMap<string, number>): readonly number[] | undefined {
    const [axis] = b.axes;
    const leads = this.leadsOf(n).get(b);
    if (!axis || !leads || maxOf(axis.extent) < 2) return undefined;
    const out = new Set<number>();
    for (const e of leads) {
      const at = valueAt(e, counters);
      if (at === undefined || at < 0 || at >= maxOf(axis.extent)) return undefined;
      out.add(at);
    }
    return [...out];
  }
}
