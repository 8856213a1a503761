// The recipe of each nest form: a total record, so that a new form does not compile until it has one.
import type { Nest } from "../../lower/nest.js";
import type { Kernel, Stmt } from "../ir.js";
import type { Limits } from "../limits.js";
import { place } from "../place.js";
import { restartNames } from "../spans.js";
import type { Interval } from "../terms.js";
import { verifyKernel } from "../verify.js";
import { contraction } from "./contraction.js";
import { pointwise } from "./pointwise.js";
import { row } from "./row.js";
import { scatter } from "./scatter.js";
import { tiles } from "./tiles.js";
import { top } from "./top.js";

type Recipes = { readonly [F in Nest["form"]]: (nest: Extract<Nest, { form: F }>, limits: Limits) => readonly Stmt[] };
const recipes: Recipes = { map: pointwise, row, contract: contraction, tiles, scatter, top };

/** `outer`: the plan's run-time extents and loop counters, for the verifier. */
export function scheduled(nest: Nest, limits: Limits, outer?: ReadonlyMap<string, Interval>): Kernel {
  restartNames();
  const recipe = recipes[nest.form] as (n: Nest, l: Limits) => readonly Stmt[]; // the record's key and the nest's form agree
  const kernel = { name: nest.name, nodes: nest.nodes, body: recipe(nest, limits) };
  verifyKernel(kernel, outer);
  const placed = place(kernel);
  verifyKernel(placed, outer);
  return placed;
}
