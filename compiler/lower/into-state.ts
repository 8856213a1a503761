// New values that are computed whole before they become state (a product that replaces a matrix, an orthogonalised momentum)
// are computed into the state itself, where nothing needs the old value any more: no temporary, and no copy.
import { type Buffer, load } from "./expr.js";
import { substituted } from "./ints.js";
import type { Nest, Step, Store } from "./nest.js";
import { remade } from "./remake.js";
import { Uses } from "./uses.js";

/** `steps`: a whole program's. */
export function intoState(steps: readonly Step[]): readonly Step[] {
  const uses = new Uses(steps);
  const places = new Map<Buffer, Buffer>();
  const copies = new Set<Store>();
  for (const s of steps) {
    if (s.step !== "nest" || s.nest.form !== "map") continue;
    for (const store of s.nest.stores) {
      const from = copied(store, s.nest);
      if (!from || places.has(from) || !onlyThere(from, store.buffer, s.nest, uses, steps)) continue;
      places.set(from, store.buffer);
      copies.add(store);
    }
  }
  if (places.size === 0) return steps;
  const place = <P extends { readonly buffer: Buffer }>(p: P): P => {
    const to = places.get(p.buffer);
    return to ? { ...p, buffer: to } : p;
  };
  const written = (n: Nest): Nest =>
    remade(
      n,
      (e) =>
        substituted(e, new Map(), (x, go) =>
          x.kind === "load" && places.has(x.buffer) ? load(places.get(x.buffer) as Buffer, x.index.map(go), x.inside && go(x.inside)) : undefined,
        ),
      place,
      (a) => a,
    );
  return steps.flatMap((s): readonly Step[] => {
    if (s.step !== "nest") return [s];
    const { nest } = s;
    if (nest.form === "map" && nest.stores.some((x) => copies.has(x))) {
      const stores = nest.stores.filter((x) => !copies.has(x));
      return stores.length > 0 ? [{ step: "nest", nest: { ...nest, stores } }] : [];
    }
    return [...uses.io(nest).writes].some((b) => places.has(b)) ? [{ step: "nest", nest: written(nest) }] : [s];
  });
}

/** The temporary that a store copies whole, index by index. */
function copied({ buffer, index, value }: Store, n: Extract<Nest, { form: "map" }>): Buffer | undefined {
  if (buffer.role !== "state" || value.kind !== "load" || value.inside || value.buffer.role !== "temp") return undefined;
  const from = value.buffer;
  const alike =
    from.dtype === buffer.dtype && from.axes.length === buffer.axes.length && from.axes.every((a, i) => a.extent === buffer.axes[i]?.extent);
  const vars = index.map((e) => (e.kind === "var" ? e.name : ""));
  const everywhere = new Set(vars).size === n.axes.length && vars.length === n.axes.length && n.axes.every((a) => vars.includes(a.v));
  return alike && everywhere && value.index.every((e, i) => e === index[i]) ? from : undefined;
}
/** One kernel of the program's own list writes it, the copy alone reads it, and from that kernel on nobody wants the old state. */
function onlyThere(from: Buffer, state: Buffer, copy: Nest, uses: Uses, steps: readonly Step[]): boolean {
  const [writer, reader, ...others] = uses.of(from);
  if (!writer || !reader || others.length > 0 || !writer.writes || writer.reads || reader.nest !== copy) return false;
  if (writer.nest.form === "scatter" || writer.nest.form === "top" || !steps.some((s) => s.step === "nest" && s.nest === writer.nest)) return false;
  if (copy.form === "map" && copy.stores.filter((s) => s.buffer === state).length !== 1) return false;
  const at = uses.at(copy) as number;
  return uses.of(state).every((u) => u.at < writer.at || u.at > at || (u.nest === copy && u.writes && !u.reads));
}
