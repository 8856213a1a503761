// Tiles nests: folds over pairs that never exist at once, by invocations of their own.
import type { Stmt } from "../../../loop/ir.js";
import { tiles as tileLoops } from "../../../loop/recipes/tiles.js";
import type { Nest } from "../../../lower/nest.js";
import type { WgslLimits } from "../limits.js";
import { invocations } from "./serial.js";

export const tiles = (nest: Extract<Nest, { form: "tiles" }>, limits: WgslLimits): readonly Stmt[] => invocations(tileLoops(nest), limits);
