// The recipe of each nest form on WebGPU: a total record, so that a new form does not compile until it has one.
import type { Kernel, Stmt } from "../../../loop/ir.js";
import { restartNames } from "../../../loop/spans.js";
import type { Nest } from "../../../lower/nest.js";
import type { WgslLimits } from "../limits.js";
import { contract } from "./contract.js";
import { map } from "./map.js";
import { row } from "./row.js";
import { scatter } from "./scatter.js";
import { tiles } from "./tiles.js";
import { top } from "./top.js";

/** `workgroup` loops outermost, in one another; directly inside them up to three `local` loops of static size. */
type Recipes = { readonly [F in Nest["form"]]: (nest: Extract<Nest, { form: F }>, limits: WgslLimits) => readonly Stmt[] };
const recipes: Recipes = { map, row, contract, tiles, scatter, top };

/** Before names are given to what loops share (loop/place.ts). */
export function scheduled(nest: Nest, limits: WgslLimits): Kernel {
  restartNames();
  const body = (recipes[nest.form] as (n: Nest, l: WgslLimits) => readonly Stmt[])(nest, limits); // the record's key and the nest's form agree
  return { name: nest.name, nodes: nest.nodes, body };
}
