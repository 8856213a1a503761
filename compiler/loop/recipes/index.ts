// The recipe of each nest form: a total record, so that a new form does not compile until it has one. Each says what may be
// chosen (choices.ts) and makes the loops of a choice; what is not chosen goes by its rules of thumb.
import type { Nest } from "../../lower/nest.js";
import { admitted, type Choice, type Choosable, fixed } from "../choices.js";
import type { Kernel } from "../ir.js";
import type { Limits } from "../limits.js";
import { inPieces } from "../pieces.js";
import { place } from "../place.js";
import { restartNames } from "../spans.js";
import type { Interval } from "../terms.js";
import { verifyKernel } from "../verify.js";
import { contractions } from "./blockings.js";
import { pointwise } from "./pointwise.js";
import { row } from "./row.js";
import { scatter } from "./scatter.js";
import { tilesOf } from "./tiles.js";
import { top } from "./top.js";

type Recipes = { readonly [F in Nest["form"]]: (nest: Extract<Nest, { form: F }>, limits: Limits) => Choosable };
const recipes: Recipes = {
  map: pointwise,
  row: (nest) => fixed(() => row(nest)),
  contract: contractions,
  tiles: tilesOf,
  scatter: (nest) => fixed(() => scatter(nest)),
  top: (nest) => fixed(() => top(nest)),
};
export const forms = Object.keys(recipes) as readonly Nest["form"][]; // the record's keys

function recipeOf(nest: Nest, limits: Limits): Choosable {
  restartNames();
  return (recipes[nest.form] as (n: Nest, l: Limits) => Choosable)(nest, limits); // the record's key and the nest's form agree
}
/** What may be chosen for a nest; nothing for most. */
export const settingsOf = (nest: Nest, limits: Limits): Choosable["settings"] => recipeOf(nest, limits).settings;

/** `outer`: the plan's run-time extents and loop counters, for the verifier. */
export function scheduled(nest: Nest, limits: Limits, outer?: ReadonlyMap<string, Interval>, choice?: Choice): Kernel {
  const { settings, loops } = recipeOf(nest, limits);
  const kernel = { name: nest.name, nodes: nest.nodes, body: loops(admitted(settings, choice)) };
  verifyKernel(kernel, outer);
  const placed = place(inPieces(kernel));
  verifyKernel(placed, outer);
  return placed;
}
