// The k greatest of a row: one invocation a row keeps a list in order.
import type { Stmt } from "../../../loop/ir.js";
import { top as topLoops } from "../../../loop/recipes/top.js";
import type { Nest } from "../../../lower/nest.js";
import type { WgslLimits } from "../limits.js";
import { invocations } from "./serial.js";

export const top = (nest: Extract<Nest, { form: "top" }>, limits: WgslLimits): readonly Stmt[] => invocations(topLoops(nest), limits);
