// Loop IR as text, in no target's words: what `explain` shows between nests and kernels.
import { type Buffer, type Expr, maxOf } from "../lower/expr.js";
import type { Kernel, Place, Stmt } from "./ir.js";

const infix: Readonly<Record<string, string>> = {
  add: "+",
  sub: "-",
  mul: "·",
  div: "/",
  lt: "<",
  le: "≤",
  gt: ">",
  ge: "≥",
  eq: "=",
  ne: "≠",
  and: "∧",
  or: "∨",
  idiv: "div",
  imod: "mod",
};
export function showTerm(e: Expr): string {
  switch (e.kind) {
    case "num":
      return e.type === "bool" ? (e.value ? "true" : "false") : String(e.value);
    case "var":
    case "local":
      return e.name;
    case "load":
      return `${showPlace(e)}${e.inside ? ` if ${showTerm(e.inside)} else 0` : ""}`;
    case "random":
      return `${e.draw}(${[JSON.stringify(e.key), ...e.extend.map(showTerm)].join(", ")}; ${showTerm(e.counter)})`;
    case "call": {
      const op = infix[e.prim];
      const args = e.args.map(showTerm);
      return op && args.length === 2 ? `(${args[0]} ${op} ${args[1]})` : `${e.prim}(${args.join(", ")})`;
    }
  }
}
const showPlace = (p: Place): string => `${p.buffer.name}[${p.index.map(showTerm).join(", ")}]`;
const shape = (b: Buffer): string => `${b.dtype}[${b.axes.map((a) => maxOf(a.extent)).join(", ")}]`;

export function showKernel(k: Kernel): string {
  const lines = [`kernel ${k.name}`];
  const body = (list: readonly Stmt[], indent: string) => {
    for (const s of list) stmt(s, indent);
  };
  const stmt = (s: Stmt, indent: string): void => {
    const line = (text: string) => lines.push(indent + text);
    switch (s.s) {
      case "for":
        line(`${s.bind === "serial" ? "for" : s.bind} ${s.v} in ${showTerm(s.from)} .. ${showTerm(s.to)}${s.step === 1 ? "" : ` by ${s.step}`}`);
        body(s.body, `${indent}  `);
        return;
      case "let":
        line(`let ${s.name} = ${showTerm(s.value)}`);
        return;
      case "var":
        line(`var ${s.name} = ${showTerm(s.value)}`);
        return;
      case "set":
        line(`${s.name} := ${showTerm(s.value)}`);
        return;
      case "alloc":
        line(`${s.space} ${s.buffer.name}: ${shape(s.buffer)}`);
        return;
      case "store":
        line(`${showPlace(s)} := ${showTerm(s.value)}`);
        return;
      case "if":
        line(`if ${showTerm(s.cond)}`);
        body(s.then, `${indent}  `);
        if (s.otherwise.length) {
          line("else");
          body(s.otherwise, `${indent}  `);
        }
        return;
      case "fetch":
        line(`fetch ${showPlace(s)}`);
        return;
      case "barrier":
        line(`barrier ${s.scope}`);
        return;
      case "use":
        line(`use ${s.instruction}(${[...s.places.map(showPlace), ...s.ints.map(showTerm)].join(", ")})`);
        return;
    }
  };
  body(k.body, "  ");
  return lines.join("\n");
}
