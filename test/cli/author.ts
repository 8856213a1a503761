// A project of an author's: a folder with the package in it and variants in one file.
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./mallard.js";

export function project(folder: string, source: string = VARIANTS): void {
  mkdirSync(join(folder, "node_modules/@mallard-lang"), { recursive: true });
  symlinkSync(root, join(folder, "node_modules/@mallard-lang/mallard"));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  writeFileSync(join(folder, "variants.ts"), source);
}

const VARIANTS = `import { cumsum, dot, formula, input, map, scale, size, softmax, stopGradient, upTo } from "@mallard-lang/mallard";

const qkv = { q: "query dim", k: "key dim", v: "key value" } as const;
const logits = formula({ q: "query dim", k: "key dim" }, ({ q, k }) => scale(dot(q, k, "dim"), size(q, "dim") ** -0.5));

export const causal = formula({ ...qkv, slope: "" }, ({ q, k, v, slope }) => {
  const s = map({ s: logits({ q, k }), slope }, ({ s, slope }, { query: i, key: j }) => (j <= i ? s - slope * (i - j) : -Infinity));
  return dot(softmax(s, "key"), v, "key");
});
export const stick = formula(qkv, ({ q, k, v }) => {
  const z = logits({ q, k });
  const rest = map(z, (z, { query: i, key: j }) => (j < i ? -Math.max(z, 0) - Math.log1p(Math.exp(-Math.abs(z))) : 0));
  const after = cumsum(rest, "key", { reverse: true, exclusive: true });
  const p = map({ z, rest, after }, ({ z, rest, after }, { query: i, key: j }) => (j < i ? Math.exp(z + rest + after) : 0));
  return dot(p, v, "key");
});
// A summed-area table of the scores: prefix sums along both sides.
export const area = formula(qkv, ({ q, k, v }) => dot(cumsum(cumsum(logits({ q, k }), "key"), "query"), v, "key"));
// The keys get no gradient, although the result depends on them.
export const halved = formula(qkv, ({ q, k, v }) => dot(softmax(logits({ q, k: stopGradient(k) }), "key"), v, "key"));
const n = upTo(70, "query");
const x = { q: input({ query: n, dim: 4 }), k: input({ key: 9, dim: 4 }), v: input({ key: 9, value: 3 }) };
export const record = { inputs: x, out: dot(softmax(logits({ q: x.q, k: x.k }), "key"), x.v, "key") };
`;
