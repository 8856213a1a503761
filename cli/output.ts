// Where words go: results to stdout, everything about the way there to stderr. With --json, stdout has exactly one JSON
// value, errors included, so that `mallard … --json | jq` always works.
import type { Problem } from "../trainer.js";

export const EXIT = { ok: 0, failed: 1, usage: 2 } as const;

export const note = (line: string): void => {
  process.stderr.write(`${line}\n`);
};
export const result = (text: string): void => {
  process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
};
export const jsonResult = (value: unknown): void => {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
};

/** Prints a problem and gives the exit code it calls for. */
export function report(p: Problem, json: boolean): number {
  note(`error: ${p.message}\n  → ${p.hint}`);
  if (json) jsonResult({ error: { kind: p.kind, message: p.message, hint: p.hint } });
  return p.kind === "usage" ? EXIT.usage : EXIT.failed;
}

export const count = (n: number): string => n.toString().replace(/\B(?=(\d{3})+$)/g, ",");
