// A sum of a product and of what data scatter (the gradient of an embedding that also makes the logits) is one buffer: the
// product is stored, and the scatter adds onto it. No dense buffer of zeros is filled, scattered into and added.
import { type Buffer, type Expr, variable } from "./expr.js";
import { renamed } from "./fuse.js";
import { expressionsOf, loadsOf, meets, touched } from "./memory.js";
import type { Nest, Step, Store } from "./nest.js";
import { nestsOf } from "./turns.js";

type Scatter = Extract<Nest, { form: "scatter" }>;
type Contraction = Extract<Nest, { form: "contract" }>;

export function ontoProducts(steps: readonly Step[]): readonly Step[] {
  const readers = new Map<Buffer, number>();
  for (const { nest } of nestsOf(steps))
    for (const b of new Set(loadsOf(expressionsOf(nest)).map((l) => l.buffer))) readers.set(b, (readers.get(b) ?? 0) + 1);
  return inList(steps, (b) => b.role === "temp" && readers.get(b) === 1);
}

function inList(steps: readonly Step[], own: (b: Buffer) => boolean): readonly Step[] {
  const out: Step[] = steps.map((s) => (s.step === "loop" ? { ...s, body: inList(s.body, own) } : s));
  for (let i = 0; i < out.length; i++) {
    const s = out[i] as Step;
    if (s.step !== "nest" || s.nest.form !== "scatter" || s.nest.onto || !own(s.nest.into.buffer)) continue;
    const at = out.findIndex((t, k) => k > i && t.step === "nest" && touched(t.nest).reads.has((s.nest as Scatter).into.buffer));
    const reader = at < 0 ? undefined : (out[at] as Extract<Step, { step: "nest" }>).nest;
    if (reader?.form !== "contract") continue;
    const made = joined(s.nest, reader);
    // It moves behind the product: nothing up to there may write what it reads.
    const { reads } = touched(s.nest);
    const between = nestsOf(out.slice(i + 1, at + 1));
    if (!made || between.some(({ nest }) => meets(touched(nest).writes, reads))) continue;
    out[at] = { step: "nest", nest: made.product };
    out.splice(at + 1, 0, { step: "nest", nest: made.scatter });
    out.splice(i, 1);
    i--;
  }
  return out;
}
function joined(scatter: Scatter, product: Contraction): { readonly product: Contraction; readonly scatter: Scatter } | undefined {
  const from = scatter.into.buffer;
  // What the product is made of must be there before it.
  if (loadsOf([product.a, product.b, ...product.stores.flatMap((s) => s.index)]).some((l) => l.buffer === from)) return undefined;
  const [store, ...others] = product.stores.filter((s) => loadsOf([s.value]).some((l) => l.buffer === from));
  if (!store || others.length > 0 || store.buffer.dtype !== "f32" || store.value.kind !== "call" || store.value.prim !== "add") return undefined;
  const parts = store.value.args as readonly [Expr, Expr];
  const k = parts.findIndex((p) => p.kind === "load" && p.buffer === from);
  const [read, rest] = [parts[k], parts[1 - k]];
  if (read?.kind !== "load" || read.inside || !rest || loadsOf([rest]).some((l) => l.buffer === from)) return undefined;
  // The product's loops by the scatter's: both address its memory by plain variables.
  const names = new Map<string, string>();
  for (const [i, e] of read.index.entries()) {
    const own = scatter.into.index[i] as Expr;
    if (e.kind === "var" && own.kind === "var") names.set(e.name, own.name);
    else if (e !== own) return undefined;
  }
  const axes = [...product.batch, ...product.m, ...product.n];
  if (names.size !== axes.length || new Set(names.values()).size !== names.size || axes.some((a) => !names.has(a.v))) return undefined;
  const go = (e: Expr): Expr => (e.kind === "var" ? variable(names.get(e.name) ?? e.name) : renamed(e, names, go));
  const stores = product.stores.map((s): Store => (s === store ? { ...s, value: rest } : s));
  return {
    product: { ...product, stores },
    scatter: { ...scatter, nodes: [...scatter.nodes, ...product.nodes], into: { buffer: store.buffer, index: store.index.map(go) }, onto: true },
  };
}
