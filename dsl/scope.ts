// Which model's body is running: bodies are synchronous, so a small stack says where a label stands and what the model
// was given. It is read by `label` alone.
import type { Node } from "./node.js";

export interface Scope {
  /** The model's path; a repeated part's layers are one element `*`. */
  readonly path: string;
  readonly inputs: readonly Node[];
}
const running: Scope[] = [];
export const scope = (): Scope => running.at(-1) ?? { path: "", inputs: [] };
export function within<T>(s: Scope, body: () => T): T {
  running.push(s);
  try {
    return body();
  } finally {
    running.pop();
  }
}
