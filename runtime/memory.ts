// What a program holds while it runs, in bytes: what its plan says, and the bound for what a step must keep (explain/saved.ts).
import { isLeft } from "fp-ts/lib/Either.js";
import { savedActivations } from "../compiler/explain/saved.js";
import { bytesOf } from "../compiler/lower/memory.js";
import { peakOf } from "../compiler/lower/peak.js";
import { passed } from "./backend.js";
import { DeviceError } from "./errors.js";
import type { SessionProgram } from "./session.js";

export interface ProgramMemory {
  /** All temporaries. */
  readonly arena: number;
  /** Of them needed at once at the worst moment: no arena of this plan could be smaller. */
  readonly peak: number;
  /** What lies in the arena then, the most first. */
  readonly held: readonly { readonly name: string; readonly bytes: number }[];
  /** Weights, optimizer state, kept values. */
  readonly state: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly tables: number;
  /** Values of the forward pass (the outputs) that the backward pass (the updates) cannot do without, where point-wise values
   *  alone are computed again. */
  readonly saved: number;
}

/** Throws DeviceError for a program of the js device, which has no plan, CompileError as compiling does. */
export function memoryOf(program: SessionProgram): ProgramMemory {
  const { plan } = program;
  if (!plan) throw new DeviceError({ kind: "BadOption", option: "memory", value: "js", expected: "a compiled device: the oracle has no plan" });
  const graph = passed({ updates: [], ...program.spec });
  if (isLeft(graph)) throw graph.left;
  const sum = (role: string) => plan.buffers.reduce((n, b) => n + (b.role === role ? bytesOf(b) : 0), 0);
  const { bytes, held } = peakOf(plan);
  return {
    arena: plan.arenaBytes,
    peak: bytes,
    held: held.map((h) => ({ name: h.buffer.name, bytes: h.bytes })),
    state: sum("state"),
    inputs: sum("input"),
    outputs: sum("output"),
    tables: sum("table"),
    saved: savedActivations(graph.right.program).bytes,
  };
}
