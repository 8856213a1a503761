// Row nests: one invocation a row.

import type { Stmt } from "../../../loop/ir.js";
import { row as rowLoops } from "../../../loop/recipes/row.js";
import type { Nest } from "../../../lower/nest.js";
import type { WgslLimits } from "../limits.js";
import { invocations } from "./serial.js";

export const row = (nest: Extract<Nest, { form: "row" }>, limits: WgslLimits): readonly Stmt[] => invocations(rowLoops(nest), limits);
