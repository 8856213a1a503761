// Scatters: each invocation owns its part of the result and walks all that is added, in order.
import type { Stmt } from "../../../loop/ir.js";
import { scatter as scatterLoops } from "../../../loop/recipes/scatter.js";
import type { Nest } from "../../../lower/nest.js";
import type { WgslLimits } from "../limits.js";
import { invocations } from "./serial.js";

export const scatter = (nest: Extract<Nest, { form: "scatter" }>, limits: WgslLimits): readonly Stmt[] => invocations(scatterLoops(nest), limits);
