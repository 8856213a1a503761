// Contractions, the policy: which tile a workgroup makes of a product (product.ts), by a model of a GPU of middling size. Products
// of one or two rows, of few results and many terms, and small ones, have nothing to share or no time for it: they are folds of
// rows (row.ts).
import type { Stmt } from "../../../loop/ir.js";
import { type Product, productOf } from "../../../loop/product.js";
import { maxCount } from "../../../loop/spans.js";
import { asReal } from "../../../loop/terms.js";
import { apply, local } from "../../../lower/expr.js";
import type { Monoid, Nest } from "../../../lower/nest.js";
import type { WgslLimits } from "../limits.js";
import { type Block, directProduct, isDirect } from "./direct.js";
import { layoutsOf, memoryOf, type Shape, tiledProduct } from "./product.js";
import { row } from "./row.js";

type Contract = Extract<Nest, { form: "contract" }>;

/** y, x, rows, columns, slices. */
export const TILES: readonly (readonly [number, number, number, number, 1 | 4])[] = [
  [16, 16, 8, 8, 1],
  [16, 16, 8, 4, 1],
  [16, 16, 4, 4, 1],
  [8, 8, 8, 8, 1],
  [8, 16, 4, 4, 1],
  [8, 8, 4, 4, 1],
  [4, 16, 4, 4, 1],
  [16, 4, 4, 4, 1],
  [2, 32, 4, 4, 1],
  [32, 2, 4, 4, 1],
  [4, 4, 4, 4, 4],
  [2, 8, 4, 4, 4],
  [8, 2, 4, 4, 4],
  [1, 16, 4, 4, 4],
  [16, 1, 4, 4, 4],
  [2, 4, 4, 4, 4],
  [2, 2, 4, 4, 4],
];
const DEPTHS = [16, 8, 4];

/** The model: cores that run a workgroup each, lanes of a core, and what things cost beside a multiplication and addition. */
const CORES = 32;
const LANES = 128;
/** A read of four words from workgroup memory; four staged elements; a barrier. */
const READ = 2;
const STAGED = 12;
const WAIT = 40;

const THIN = 2;
/** Results up to which, and terms from which on, lanes along k are worth more than operands read once. */
const FEW = 256;
const LONG = 512;
/** Terms of all sums that are done before a panel is staged. */
const SMALL = 2 ** 18;

export function contract(nest: Contract, limits: WgslLimits): readonly Stmt[] {
  const p = productOf(nest);
  const [M, N, K] = [maxCount(p.m), maxCount(p.n), maxCount(p.k)];
  const results = maxCount(p.batch) * M * N;
  if (Math.min(M, N) <= THIN || (results <= FEW && K >= LONG) || results * K <= SMALL) return row(asRow(nest), limits);
  if (limits.processor && isDirect(p)) return directProduct(p, blockOf(p, limits));
  return tiledProduct(p, shapeOf(p, limits));
}

/** As many sums as registers hold, and invocations enough for a few cores. */
function blockOf(p: Product, limits: WgslLimits): Block {
  const rows = maxCount(p.m) >= 64 ? 8 : 4;
  return { rows, columns: 4, invocations: Math.min(64, limits.invocations) };
}

function shapeOf(p: Product, limits: WgslLimits): Shape {
  const layouts = layoutsOf(p);
  const [B, M, N, K] = [maxCount(p.batch), maxCount(p.m), maxCount(p.n), maxCount(p.k)];
  let best: { shape: Shape; cost: number } | undefined;
  for (const [y, x, rows, columns, slices] of TILES) {
    const invocations = y * x * slices;
    if (invocations > limits.invocations || x > limits.workgroupSize[0] || y > limits.workgroupSize[1] || slices > limits.workgroupSize[2]) continue;
    // Sixty-four sums leave no registers for four steps of a deep panel.
    if (rows * columns > 32 && (layouts.a === "deep" || layouts.b === "deep")) continue;
    for (const depth of DEPTHS) {
      const shape = { y, x, rows, columns, slices, depth };
      if (memoryOf(shape, layouts) > limits.workgroupMemory) continue;
      const [tileM, tileN] = [y * rows, x * columns];
      const groups = B * Math.ceil(M / tileM) * Math.ceil(N / tileN);
      const staged = ((tileM + tileN) * depth * slices) / 4 / invocations;
      const panel = depth * (rows * columns + (READ * (rows + columns)) / 4) + staged * STAGED + 2 * WAIT;
      const cost = Math.ceil(groups / CORES) * Math.max(1, invocations / LANES) * (Math.ceil(K / (depth * slices)) * panel + (slices > 1 ? WAIT : 0));
      if (!best || cost < best.cost) best = { shape, cost };
    }
  }
  // An adapter with less than WebGPU guarantees.
  return best?.shape ?? { y: 1, x: 1, rows: 4, columns: 4, slices: 1, depth: 4 };
}

const sum = (): Monoid => ({
  names: ["sum"],
  empty: [0],
  combine: [apply("add", "real", local("x.sum", "real"), local("y.sum", "real"))],
  kind: "sum",
});
/** The same as a row nest: the sum of each result, then its stores. */
const asRow = (nest: Contract): Extract<Nest, { form: "row" }> => ({
  form: "row",
  name: nest.name,
  nodes: nest.nodes,
  rows: [...nest.batch, ...nest.m, ...nest.n],
  stages: [
    { stage: "fold", over: nest.k, monoid: sum(), elements: [apply("mul", "real", asReal(nest.a), asReal(nest.b))], bind: ["sum"] },
    { stage: "map", axes: [], stores: nest.stores },
  ],
});
