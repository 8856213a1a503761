// The machine that C is scheduled for: half a mebibyte of L2 a thread, which today's x86 and ARM cores have. Blocking never
// changes bits, so one choice serves all machines and a program's text depends on none.
import type { Limits } from "../../loop/limits.js";

export const cLimits: Limits = { l2: 512 * 1024 };
