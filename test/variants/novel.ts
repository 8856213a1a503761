// Variants that nobody has written before, as an author would write them: what they mix is in no list that the compiler
// could know. Each fuses as the known ones do.
import { bools, dot, dropout, fold, formula, ints, keys, label, map, monoid, mul, sigmoid, sizes, softmax, sum, view } from "../../index.js";
import { logits, qkv } from "../../models/attention/index.js";

/** A learned table over clamped distances, a soft cap whose height is learned per head, and a window whose width is data:
 *  every query has its own. */
export const tableCapWindow = formula({ ...qkv, table: "distance", cap: "", reach: ints("query") }, ({ q, k, v, table, cap, reach }) => {
  const s = logits({ q, k });
  const near = view(table, sizes(s, "query", "key"), ({ query: i, key: j }, { distance: n }) => ({ distance: Math.min(Math.max(i - j, 0), n - 1) }));
  const mixed = map({ s, near, cap, reach }, ({ s, near, cap, reach }, { query: i, key: j }) =>
    j <= i && i - j < reach ? cap * Math.tanh((s + near) / cap) : -Infinity,
  );
  return dot(softmax(label(mixed, "scores"), "key"), v, "key");
});

/** Two maps of one score: a softmax, and squares of what is positive over one plus their sum, mixed by a learned λ. */
export const softAndSquare = formula({ ...qkv, lambda: "" }, ({ q, k, v, lambda }) => {
  const s = map(logits({ q, k }), (s, { query: i, key: j }) => (j <= i ? s : -Infinity));
  const squares = map(s, (s) => (s > 0 ? s * s : 0));
  const soft = dot(softmax(s, "key"), v, "key");
  return map(
    { soft, hard: dot(squares, v, "key"), norm: sum(squares, "key"), lambda },
    ({ soft, hard, norm, lambda }) => soft - (lambda * hard) / (1 + norm),
  );
});

/** A normaliser of the author's own, as a monoid: a running maximum and, relative to it, two sums at once, of e^s and of the
 *  keys' own weights; the second normalises. The mask is data too. */
const weighted = monoid({ m: -Infinity, l: 0, w: 0 }, (x, y) => {
  const m = Math.max(x.m, y.m);
  const a = x.m === -Infinity ? 0 : Math.exp(x.m - m);
  const b = y.m === -Infinity ? 0 : Math.exp(y.m - m);
  return { m, l: x.l * a + y.l * b, w: x.w * a + y.w * b };
});
export const ownNormaliser = formula({ ...qkv, importance: "key", seen: bools("key") }, ({ q, k, v, importance, seen }) => {
  const s = map({ s: logits({ q, k }), seen }, ({ s, seen }, { query: i, key: j }) => (j <= i && seen ? s : -Infinity));
  const one = map(s, (s) => (s === -Infinity ? 0 : 1));
  const w = map({ s, importance }, ({ s, importance }) => (s === -Infinity ? 0 : importance * importance));
  const row = fold({ m: s, l: one, w }, weighted, "key");
  const p = map({ s, m: row.m, w: row.w, l: row.l }, ({ s, m, w, l }) => (l === 0 ? 0 : Math.exp(s - Math.max(m, -1e38)) / (w + l)));
  return dot(p, v, "key");
});

/** Dropout of attention weights that is drawn where it is used, and a gate after. */
export const droppedAndGated = formula({ ...qkv, gate: "query value" }, ({ q, k, v, gate }) => {
  const s = map(logits({ q, k }), (s, { query: i, key: j }) => (j <= i ? s : -Infinity));
  return mul(dot(dropout(softmax(s, "key"), 0.1, keys("attention")), v, "key"), sigmoid(gate));
});
