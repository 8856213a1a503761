// Before keys and values are cached: where a key or value is a linear map of something smaller that all heads share, the
// query takes the map over, and what is cached is the smaller value. h is of past positions, W a weight, a of new ones:
//
//   Σ_d a[d]·(Σ_c W[c,d]·h[c])        →  Σ_c h[c]·(Σ_d a[d]·W[c,d])         logits: the query absorbs W_uk
//   Σ_key p[key]·(Σ_c W[c,v]·h[key,c]) →  Σ_c W[c,v]·(Σ_key p[key]·h[key,c])   values: the output absorbs W_uv
//
// So multi-head latent attention, written as the paper writes it, decodes from its latents alone (DeepSeek-V2, 2.1.2).
// A training step is better off without: the products with h are longer (latent for nope). Decoding, each position
// is read for a few products only, and reading is what takes the time. The rewrite is made where it saves time by the
// estimate below, taken together for all that is made of one h; if anything else reads a key, it is cached anyway.
import { kindOf } from "../../dsl/derivative/monoid.js";
import { lift, ordered, sumOver } from "../../dsl/derivative/terms.js";
import { argsOf, type FoldNode, type MapNode, type Node } from "../../dsl/node.js";
import { arg, call } from "../../dsl/scalar.js";
import { maxOf } from "../lower/expr.js";
import { regions } from "../lower/regions.js";
import { TimeAxes, type TimeNames } from "./time-axes.js";
import { isLoopNode, rebuild } from "./walk.js";

/** Multiplications that take as long as reading one number. */
const READ = 8;

/** The same value, with larger contractions and smaller caches. */
export function absorb(root: Node, names: TimeNames): Node {
  for (let now = root; ; ) {
    const chosen = choose(now, new TimeAxes(regions([now]), names));
    if (chosen.size === 0) return now;
    const made = rebuild([now], (n, was) => {
      const meeting = chosen.get(was);
      return meeting ? exchanged(n as FoldNode, meeting) : n;
    });
    now = made.roots[0] as Node;
  }
}

/** Where new positions meet a linear map of past ones: the places of the factors, which a rebuilt node has too. */
interface Places {
  /** The argument of the outer product that is the past's, and the argument of its product that is h. */
  readonly past: string;
  readonly h: string;
  /** What is summed where they meet is the map's, or the positions. */
  readonly of: "weight" | "positions";
}
interface Meeting extends Places {
  readonly fold: FoldNode;
}
interface Parts {
  readonly a: Node;
  /** As it stands, perhaps below labels, and the sum itself. */
  readonly past: Node;
  readonly key: FoldNode;
  readonly h: Node;
  readonly weight: Node;
}

/** Σ a·b of exactly two values. */
interface Pair {
  readonly map: MapNode;
  readonly names: readonly [string, string];
}
function pairOf(n: Node): Pair | undefined {
  const [map] = n.op === "fold" && n.args.length === 1 && kindOf(n.monoid) === "sum" ? n.args : [];
  if (map?.op !== "map" || map.dtype !== "f32" || map.body.kind !== "scalar") return undefined;
  const { body } = map.body;
  const [x, y] = body.kind === "call" && body.prim === "mul" ? body.args : [];
  return x?.kind === "arg" && y?.kind === "arg" ? { map, names: [x.name, y.name] } : undefined;
}
const argOf = (m: MapNode, name: string): Node => m.args[m.names.indexOf(name)] as Node; // its body names it
const other = ([x, y]: readonly [string, string], one: string): string => (x === one ? y : x);
function plain(n: Node): Node {
  let x = n;
  while (x.op === "label") x = x.args[0];
  return x;
}
function partsOf(fold: FoldNode, { past, h }: Pick<Places, "past" | "h">): Parts | undefined {
  const outer = pairOf(fold);
  const from = outer && argOf(outer.map, past);
  const key = from && plain(from);
  const inner = key && pairOf(key);
  if (!outer || !from || key?.op !== "fold" || !inner) return undefined;
  return {
    a: argOf(outer.map, other(outer.names, past)),
    past: from,
    key,
    h: argOf(inner.map, h),
    weight: argOf(inner.map, other(inner.names, h)),
  };
}
const lacks = (n: Node, axes: readonly string[]): boolean => axes.every((a) => !(a in n.axes));

function meetingsOf(n: Node, time: TimeAxes): readonly Meeting[] {
  const outer = pairOf(n);
  if (!outer || !time.has(n, "chunk")) return [];
  const fold = n as FoldNode; // pairOf
  return outer.names.flatMap((past) => {
    const key = plain(argOf(outer.map, past));
    const inner = time.isPast(key) ? pairOf(key) : undefined;
    return (inner?.names ?? []).flatMap((h): readonly Meeting[] => {
      const p = partsOf(fold, { past, h });
      if (!p || !time.has(p.a, "chunk") || !time.isPast(p.h) || time.of(p.weight).size > 0 || !lacks(p.a, p.key.over)) return [];
      if (lacks(p.h, fold.over)) return [{ fold, past, h, of: "weight" }];
      return lacks(p.weight, fold.over) ? [{ fold, past, h, of: "positions" }] : [];
    });
  });
}

/** The folds to rewrite. */
function choose(root: Node, time: TimeAxes): ReadonlyMap<Node, Meeting> {
  const readers = readersOf(time);
  const all = time.regions.order.flatMap((n) => meetingsOf(n, time));
  const byMap = new Map(all.map((m) => [m.fold.args[0], m]));
  /** Does nothing but these meetings read the key, and nothing but their sums read the products? */
  const alone = (key: Node): boolean =>
    (readers.get(key) ?? []).every((r) => (r.op === "label" ? alone(r) : byMap.has(r) && (readers.get(r) ?? []).length === 1)) && key !== root;
  const byH = new Map<Node, Meeting[]>();
  for (const m of all) {
    const { h, key } = partsOf(m.fold, m) as Parts; // meetingsOf
    if (alone(key)) byH.set(h, [...(byH.get(h) ?? []), m]);
  }
  const chosen = new Map<Node, Meeting>();
  for (const [h, meetings] of byH) {
    const parts = meetings.map((m) => ({ ...(partsOf(m.fold, m) as Parts), of: m.of, over: m.fold.over }));
    const numbers = (ns: readonly Node[], without: readonly string[] = []): number => {
      const axes = new Map(
        ns.flatMap((n) => Object.entries(n.axes).flatMap(([a, e]) => (time.of(n).has(a) || without.includes(a) ? [] : [[a, maxOf(e)]]))),
      );
      return [...axes.values()].reduce((p, e) => p * e, 1);
    };
    const keys = [...new Set(parts.map((p) => p.key))];
    const cachedAnyway = (readers.get(h) ?? []).some((r) => time.has(r, "chunk"));
    const before = keys.reduce((s, k) => s + READ * numbers([k]), 0) + parts.reduce((s, p) => s + numbers([p.a, p.key]), 0);
    const after =
      (cachedAnyway ? 0 : READ * numbers([h])) +
      parts.reduce((s, p) => s + (p.of === "weight" ? numbers([p.a, p.weight, h], p.over) : numbers([p.a, h])), 0);
    if (after < before) for (const m of meetings) chosen.set(m.fold, m);
  }
  return chosen;
}
/** Every node's readers; a loop's results read what its body gives. */
function readersOf(time: TimeAxes): ReadonlyMap<Node, readonly Node[]> {
  const out = new Map<Node, Node[]>();
  for (const n of time.regions.order) {
    const read = isLoopNode(n) ? [...argsOf(n), ...n.loop.init, ...n.loop.next, ...n.loop.xs, ...(n.op === "emit" ? [n.of] : [])] : argsOf(n);
    for (const x of new Set(read)) out.set(x, [...(out.get(x) ?? []), n]);
  }
  return out;
}

const product = (a: Node, b: Node): Node => lift({ a, b }, call("mul", arg("a"), arg("b")));
/** The two sums, the other way round. */
function exchanged(fold: FoldNode, places: Places): Node {
  const { a, key, h, weight } = partsOf(fold, places) as Parts; // a rebuilt node has its factors where it had them
  const [first, second] = places.of === "weight" ? [weight, h] : [h, weight];
  return ordered(sumOver(product(sumOver(product(a, first), fold.over), second), key.over), fold.axes);
}
