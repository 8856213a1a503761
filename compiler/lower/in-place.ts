// Results in place: a point-wise value takes the memory of one that is read for the last time where it is computed, index by
// index: the gradient of what a loop has kept for every turn takes that turn's slice. The value's own buffer is gone then, and
// whoever reads it reads there.
import { walkOf } from "./barriers.js";
import { type Buffer, type Expr, load } from "./expr.js";
import { substituted } from "./ints.js";
import { bytesOf, loadsOf, storesOf, touched } from "./memory.js";
import type { Nest, Step, Store } from "./nest.js";
import { remade } from "./remake.js";
import { type List, Uses } from "./uses.js";

type MapNest = Extract<Nest, { form: "map" }>;
type RowNest = Extract<Nest, { form: "row" }>;
type Load = Extract<Expr, { kind: "load" }>;
interface Home {
  readonly buffer: Buffer;
  /** Before the value's own indices. */
  readonly lead: readonly Expr[];
}

/** Bytes. */
const LITTLE = 4096;
type Holds = (home: Buffer, index: readonly Expr[]) => boolean;

export function inPlace(steps: readonly Step[]): readonly Step[] {
  const homes = new Map<Buffer, Home>();
  const uses = new Uses(steps);
  const kernels = kernelsOf(steps);
  // Nobody else reads a home in the kernel where it is overwritten: that would take a barrier, which little memory is not worth.
  const apart =
    (n: Nest): Holds =>
    (home) =>
      bytesOf(home) > LITTLE || uses.of(home).every((u) => u.nest === n || kernels.get(u.nest) !== kernels.get(n));
  for (const l of uses.lists) {
    if (l.loop?.blocks) continue;
    for (const s of l.steps) {
      if (s.step !== "nest") continue;
      if (s.nest.form === "map") choose(s.nest, s.nest, [apart(s.nest)], l, uses, homes);
      else if (s.nest.form === "row") lastStage(s.nest, apart(s.nest), l, uses, homes);
    }
  }
  return homes.size === 0 ? steps : moved(steps, homes);
}

/** The number of the kernel, the work between two barriers, that each nest is part of. */
function kernelsOf(steps: readonly Step[]): ReadonlyMap<Nest, number> {
  const out = new Map<Nest, number>();
  let kernel = 0;
  for (const e of walkOf({ steps, offsets: new Map() }, touched)) {
    if (e.at === "nest") out.set(e.nest, kernel);
    else kernel++;
  }
  return out;
}

/** What the last stage of a row stores may lie where earlier stages of the same row have read: the gradient of logits in the
 *  logits' memory. */
function lastStage(n: RowNest, apart: Holds, l: List, uses: Uses, homes: Map<Buffer, Home>): void {
  const last = n.stages.at(-1);
  if (last?.stage !== "map" || last.axes.length === 0) return;
  const rows = new Set(n.rows.map((a) => a.v));
  const earlier = loadsOf(
    n.stages
      .slice(0, -1)
      .flatMap((s) => [...(s.stage === "map" ? [] : s.elements), ...(s.stage === "fold" ? [] : s.stores.flatMap((x) => [...x.index, x.value]))]),
  );
  // Of another row, or through other variables at a row's place: the whole row is not its own.
  const foreign = (x: Load, index: readonly Expr[]) =>
    x.inside !== null || x.index.length !== index.length || index.some((e, i) => e.kind === "var" && rows.has(e.name) && x.index[i] !== e);
  choose(
    { axes: [...n.rows, ...last.axes], stores: last.stores },
    n,
    [apart, (a, index) => earlier.every((x) => x.buffer !== a || !foreign(x, index))],
    l,
    uses,
    homes,
  );
}

/** A home taken in this pass has another life than `uses` knows: neither is a home itself, nor looks for one. `holds`: what must
 *  be true of a home beside, and of the indices there. */
function choose(n: Pick<MapNest, "axes" | "stores">, nest: Nest, holds: readonly Holds[], l: List, uses: Uses, homes: Map<Buffer, Home>): void {
  const involved = new Set([...homes.keys(), ...[...homes.values()].map((h) => h.buffer)]);
  const vars = new Set(n.axes.map((a) => a.v));
  const loads = loadsOf(n.stores.flatMap((s) => [...s.index, s.value]));
  const candidates = [...new Set(loads.map((x) => x.buffer))];
  for (const s of n.stores) {
    const b = s.buffer;
    if (b.role !== "temp" || involved.has(b) || !everyIndexOnce(s, n, vars) || !ownOf(b, nest, l, uses)) continue;
    const home = candidates
      .filter((a) => a !== b && !involved.has(a) && a.dtype === b.dtype && lastHere(a, nest, l, uses))
      .flatMap((a): readonly Home[] => {
        const own = loads.filter((x) => x.buffer === a);
        const lead = leadOf(a, s, l, uses);
        if (!lead) return [];
        const index = [...lead, ...s.index];
        const same = own.every((x) => x.inside === null && sameIndex(x.index, index));
        return same && holds.every((h) => h(a, index)) ? [{ buffer: a, lead }] : [];
      })[0];
    if (!home) continue;
    homes.set(b, home);
    involved.add(b).add(home.buffer);
  }
}
/** Is each element written once, and does the nest run over all of them? */
const everyIndexOnce = (s: Store, n: Pick<MapNest, "axes">, vars: ReadonlySet<string>): boolean => {
  const names = s.index.map((e) => (e.kind === "var" ? e.name : ""));
  return names.length === n.axes.length && new Set(names).size === names.length && names.every((v) => vars.has(v));
};
/** The nest alone writes it, and nothing outside the list's turn sees it. */
const ownOf = (b: Buffer, n: Nest, l: List, uses: Uses): boolean =>
  uses.of(b).every((u) => (u.nest === n ? u.writes && !u.reads : !u.writes && u.at > (uses.at(n) as number) && u.at <= l.last)) &&
  storesOf(n).filter((s) => s.buffer === b).length === 1;
const lastHere = (a: Buffer, n: Nest, l: List, uses: Uses): boolean => {
  if (!uses.endsIn(a, l)) return false;
  const inside = uses.within(a, l);
  const last = inside.at(-1);
  return last?.nest === n && !last.writes;
};
/** What stands before the value's indices in a home of equal layout. */
function leadOf(a: Buffer, s: Store, l: List, uses: Uses): readonly Expr[] | undefined {
  const own = s.buffer.axes.map((x) => x.extent);
  const extra = a.axes.length - own.length;
  if (!own.every((e, i) => e === a.axes[i + extra]?.extent && typeof e === "number")) return undefined;
  if (extra === 0) return [];
  const lead = extra === 1 ? uses.slice(a, l) : undefined;
  return lead && [lead];
}
const sameIndex = (x: readonly Expr[], y: readonly Expr[]): boolean => x.length === y.length && x.every((e, i) => e === y[i]);

function moved(steps: readonly Step[], homes: ReadonlyMap<Buffer, Home>): readonly Step[] {
  const place = <P extends { readonly buffer: Buffer; readonly index: readonly Expr[] }>(p: P): P => {
    const h = homes.get(p.buffer);
    const index = p.index.map(value);
    return h ? { ...p, buffer: h.buffer, index: [...h.lead, ...index] } : { ...p, index };
  };
  const value = (root: Expr): Expr =>
    substituted(root, new Map(), (e, go) => {
      const h = e.kind === "load" ? homes.get(e.buffer) : undefined;
      return h && e.kind === "load" ? load(h.buffer, [...h.lead, ...e.index.map(go)], e.inside && go(e.inside)) : undefined;
    });
  return steps.map((s) =>
    s.step === "loop" ? { ...s, body: moved(s.body, homes) } : { step: "nest", nest: remade(s.nest, value, place, (a) => a) },
  );
}
