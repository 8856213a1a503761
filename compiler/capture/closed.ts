// Looks through a function's syntax ahead of time, when what it will be given is not known: is there something that no
// call of it can read? A name from outside, a construct that scalar functions do not have, a member that Math does not
// have. Goes the way of the reader (read.ts), which finds the same first, and says it in the same words; what depends on
// the inputs (their names, their types) is left to it.
import { early, fromOutside, globalMeaning, memberMeaning, recursion, type Words } from "./globals.js";
import { explain } from "./refusals.js";
import type { Expression, FunctionSyntax, Pattern, Refused, Statement } from "./syntax.js";
import { globalFunction, isNamespace } from "./values.js";

export interface Finding extends Words {
  readonly at: number;
}

/** The first thing that refuses the function whatever it is given. `todo`: what to do about a name from outside. */
export function refusalAhead(f: FunctionSyntax, todo: (name: string) => string): Finding | undefined {
  try {
    if (f.refused) throw new Found(f.refused.at, explain(f.refused));
    const scope: Scope = { names: new Map(), outer: null };
    for (const p of f.params) bind(p, scope);
    block(f.body, { names: new Map(), outer: scope }, { todo, own: f.name });
    return undefined;
  } catch (e) {
    if (e instanceof Found) return { at: e.at, ...e.words };
    throw e;
  }
}
export const isClosed = (f: FunctionSyntax): boolean => refusalAhead(f, () => "") === undefined;

class Found {
  constructor(
    readonly at: number,
    readonly words: Words,
  ) {}
}
interface Scope {
  readonly names: Map<string, "known" | "not yet">;
  readonly outer: Scope | null;
}
interface Context {
  readonly todo: (name: string) => string;
  /** The function's own name. */
  readonly own: string | null;
}
const refuse = (r: Refused): never => {
  throw new Found(r.at, explain(r));
};

function bind(p: Pattern, scope: Scope): void {
  if (p.kind === "refused") refuse(p);
  else if (p.kind === "name") scope.names.set(p.name, "known");
  else {
    if (p.refused[0]) refuse(p.refused[0]);
    for (const f of p.fields) bind(f.target, scope);
  }
}
const namesOf = (p: Pattern): readonly string[] =>
  p.kind === "name" ? [p.name] : p.kind === "fields" ? p.fields.flatMap((f) => namesOf(f.target)) : [];

/** Does every path through it return? What follows is then not read. */
function block(statements: readonly Statement[], scope: Scope, c: Context): boolean {
  for (const s of statements) if (s.kind === "const") for (const name of namesOf(s.target)) scope.names.set(name, "not yet");
  for (const s of statements) if (statement(s, scope, c)) return true;
  return false;
}
const inner = (outer: Scope): Scope => ({ names: new Map(), outer });
function statement(s: Statement, scope: Scope, c: Context): boolean {
  switch (s.kind) {
    case "refused":
      return refuse(s);
    case "const":
      expression(s.value, scope, c);
      bind(s.target, scope);
      return false;
    case "return":
      if (s.value) expression(s.value, scope, c);
      return true;
    case "block":
      return block(s.body, inner(scope), c);
    case "if": {
      expression(s.test, scope, c);
      const then = block(s.whenTrue, inner(scope), c);
      const otherwise = block(s.whenFalse, inner(scope), c);
      return then && otherwise;
    }
  }
}
/** An arrow's expressions are as deep as the author nested them, which a parser has already recursed into. */
function expression(e: Expression, scope: Scope, c: Context): void {
  switch (e.kind) {
    case "refused":
      refuse(e);
      break;
    case "number":
    case "boolean":
      break;
    case "name":
      name(e, scope, c);
      break;
    case "property": {
      if (e.of.kind !== "name" || !isNamespace(e.of.name) || state(e.of.name, scope)) {
        expression(e.of, scope, c);
        break;
      }
      const meaning = memberMeaning(e.of.name, e.name);
      if (meaning.kind === "refused") throw new Found(e.nameAt, meaning.words);
      break;
    }
    case "object":
      if (e.refused[0]) refuse(e.refused[0]);
      for (const f of e.fields) expression(f.value, scope, c);
      break;
    case "unary":
      expression(e.of, scope, c);
      break;
    case "binary":
      for (const part of [e.left, e.right]) expression(part, scope, c);
      break;
    case "conditional":
      for (const part of [e.test, e.whenTrue, e.whenFalse]) expression(part, scope, c);
      break;
    case "call": {
      // Number and Boolean are functions where they are called.
      const platform = e.callee.kind === "name" && !state(e.callee.name, scope) && globalFunction(e.callee.name);
      for (const part of platform ? e.args : [e.callee, ...e.args]) expression(part, scope, c);
    }
  }
}
function state(name: string, scope: Scope): "known" | "not yet" | undefined {
  for (let s: Scope | null = scope; s; s = s.outer) {
    const found = s.names.get(name);
    if (found) return found;
  }
  return undefined;
}
function name(e: Extract<Expression, { kind: "name" }>, scope: Scope, c: Context): void {
  const found = state(e.name, scope);
  if (found === "known") return;
  if (found) throw new Found(e.at, early(e.name));
  const meaning = globalMeaning(e.name);
  if (meaning?.kind === "refused") throw new Found(e.at, meaning.words);
  if (meaning) return;
  if (e.name === c.own) throw new Found(e.at, { message: `${e.name} calls itself`, hint: recursion });
  const known: string[] = [];
  for (let s: Scope | null = scope; s; s = s.outer) known.push(...s.names.keys());
  throw new Found(e.at, fromOutside(e.name, known, c.todo));
}
