// Folds along a row run eight chains, whatever the machine's width, so that their bits depend on none: a loop over blocks of
// eight, inside it eight lanes that each take one element into their chain. What the elements are made of (an exponential, a
// mask) is dearer than taking them in, and independent: it is computed W lanes at a time, and the chains take in the two halves
// of sixteen one after the other, in the same order. Here is found out where that is the same: everything in the body but the chains depends
// on block + lane alone, and nothing reads what another lane stores.
import type { For, Stmt } from "../../loop/ir.js";
import { linear, offset, termsOf } from "../../loop/terms.js";
import { type Expr, partsOf } from "../../lower/expr.js";

type StoreStmt = Extract<Stmt, { s: "store" }>;
export interface Paired {
  /** The loop over the lanes of a block. */
  readonly lanes: For;
  /** chain[lane] = call(…, chain[lane], …): the others of the call's arguments are computed W at a time. None: lanes are independent. */
  readonly chains: ReadonlySet<Stmt>;
}
const LANES = 8;
/** Fewer operations than this in the body, and halves cost what width saves. */
const LEAST = 4;
const cheap = new Set<string>("add sub mul neg fma min max abs select and or not lt le gt ge eq ne toReal".split(" "));

export function pairedLoop(s: For): Paired | undefined {
  const [lanes, ...more] = s.body;
  if (s.bind !== "serial" || s.step !== LANES || more.length > 0 || lanes?.s !== "for" || lanes.bind !== "vector") return undefined;
  if (lanes.step !== 1 || lanes.from.kind !== "num" || lanes.from.value !== 0 || lanes.to.kind !== "num" || lanes.to.value !== LANES)
    return undefined;
  const stores = lanes.body.filter((x): x is StoreStmt => x.s === "store");
  if (lanes.body.some((x) => x.s !== "store" && x.s !== "let")) return undefined;
  const chains = new Set<Stmt>(stores.filter((x) => isChain(x, lanes.v)));
  const roots: Expr[] = [];
  for (const x of lanes.body) {
    if (x.s === "let") roots.push(x.value);
    else if (x.s === "store" && chains.has(x)) roots.push(...freeOf(x));
    else if (x.s === "store") roots.push(offset(x.buffer, x.index), x.value);
  }
  const all = termsOf(roots);
  // What is stored may be read where it is stored, before.
  const readsOthers = (e: Expr) => e.kind === "load" && stores.some((x) => x.buffer === e.buffer && (chains.has(x) || !isOwn(e, x)));
  if (all.some(readsOthers)) return undefined;
  if (chains.size > 0 && all.reduce((n, e) => n + (e.kind !== "call" || e.type === "int" ? 0 : cheap.has(e.prim) ? 1 : LEAST), 0) < LEAST)
    return undefined;
  return roots.every((e) => bySum(e, s.v, lanes.v)) ? { lanes, chains } : undefined;
}

const isOwn = (e: Expr, x: StoreStmt): boolean =>
  e.kind === "load" && e.buffer === x.buffer && !e.inside && e.index.every((i, k) => i === x.index[k]);
function isChain(x: StoreStmt, lane: string): boolean {
  const [at] = x.index;
  if (x.index.length !== 1 || at?.kind !== "var" || at.name !== lane || x.buffer.dtype !== "f32") return false;
  if (x.value.kind !== "call" || x.value.type !== "real" || x.value.args.some((a) => a.type !== "real")) return false;
  return x.value.args.filter((a) => isOwn(a, x)).length === 1;
}
/** What a chain takes in. */
export const freeOf = (x: StoreStmt): readonly Expr[] => (x.value.kind === "call" ? x.value.args.filter((a) => !isOwn(a, x)) : []);

/** Is a term a function of block + lane (and of what neither changes)? */
function bySum(root: Expr, block: string, lane: string): boolean {
  const seen = new Set<Expr>();
  const todo = [root];
  for (let e = todo.pop(); e; e = todo.pop()) {
    if (seen.has(e)) continue;
    seen.add(e);
    if (e.kind === "load") {
      todo.push(offset(e.buffer, e.index));
      if (e.inside) todo.push(e.inside);
    } else if (e.type === "int") {
      let [b, l] = [0, 0];
      for (const [atom, c] of linear(e).of) {
        if (atom.kind === "var" && atom.name === block) b += c;
        else if (atom.kind === "var" && atom.name === lane) l += c;
        else if (atom.kind === "load") todo.push(atom);
        else todo.push(...partsOf(atom));
      }
      if (b !== l) return false;
    } else todo.push(...partsOf(e));
  }
  return true;
}
