// The small arithmetic on kept values (one number a head: rates from norms) needs no kernels of its own: it depends on
// nothing that the step computes, so it runs beside whatever else does, each link of a chain between the next two barriers
// that are there anyway.
import type { Buffer } from "./expr.js";
import { conflicts, type Touched, touched } from "./memory.js";
import type { Step } from "./nest.js";
import { workOf } from "./work.js";

/** Bytes that such arithmetic moves at most. */
const SMALL = 1 << 16;

interface Kernel {
  readonly steps: Step[];
  io: Touched;
  /** A loop's turns are kernels of their own. */
  readonly loop: boolean;
}

/** `steps` of a whole program, in their order; `sources`: state that holds kept values. */
export function early(steps: readonly Step[], sources: ReadonlySet<Buffer>): readonly Step[] {
  if (sources.size === 0) return steps;
  const derived = new Set<Buffer>();
  const kernels: Kernel[] = [];
  for (const s of steps) {
    const io = touchedBy(s);
    const last = kernels.at(-1);
    const small = s.step === "nest" && fromKept(io, sources, derived) && workOf(s.nest).bytes <= SMALL;
    if (small) for (const b of io.writes) derived.add(b);
    const after = kernels.findLastIndex((k) => conflicts(k.io, io));
    const free = small ? kernels.find((k, i) => i > after && !k.loop) : undefined;
    const into = free ?? (last && !last.loop && s.step === "nest" && !conflicts(last.io, io) ? last : undefined);
    if (into) {
      into.steps.push(s);
      into.io = both(into.io, io);
    } else kernels.push({ steps: [s], io, loop: s.step === "loop" });
  }
  return kernels.flatMap((k) => k.steps);
}

/** Is all that it computes made of kept values, other state and inputs? */
function fromKept(io: Touched, sources: ReadonlySet<Buffer>, derived: ReadonlySet<Buffer>): boolean {
  const own = [...io.reads].filter((b) => b.role !== "table");
  return (
    own.some((b) => sources.has(b) || derived.has(b)) &&
    own.every((b) => sources.has(b) || derived.has(b) || b.role === "input" || b.role === "state") &&
    [...io.writes].every((b) => b.role === "temp")
  );
}
const both = (a: Touched, b: Touched): Touched => ({ reads: new Set([...a.reads, ...b.reads]), writes: new Set([...a.writes, ...b.writes]) });
function touchedBy(s: Step): Touched {
  if (s.step === "nest") return touched(s.nest);
  let all: Touched = { reads: new Set(), writes: new Set() };
  const stack: Step[] = [...s.body];
  for (let x = stack.pop(); x; x = stack.pop()) {
    if (x.step === "nest") all = both(all, touched(x.nest));
    else stack.push(...x.body);
  }
  return all;
}
