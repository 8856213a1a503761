// Reads a function's syntax as scalar expressions, by running it on symbols: names are bound to values, operators make
// terms, captured functions are applied where they are called. Both sides of a condition are read; a `select` joins
// them. What has no meaning in the language is refused at its place.
//
// The terms mean exactly what JavaScript computes in f64: operators go to primitives one to one, and nothing is
// rearranged. && || ?: become and, or, select without short-circuit, which no pure expression can tell.
//
// Refusals travel as exceptions inside this file's callers (`Refusal`); the public functions of capture turn them into
// Either at the boundary.
import type { Arrow } from "../../dsl/node.js";
import type { Primitive } from "../../dsl/primitives.js";
import { call, constant, type Scalar } from "../../dsl/scalar.js";
import { applyBuiltin } from "./builtins.js";
import { continues, type End, follow, runsOn } from "./ends.js";
import { early, fromOutside, globalMeaning, memberMeaning, outside, recursion, type Words } from "./globals.js";
import { closest, listed, meant } from "./names.js";
import { explain } from "./refusals.js";
import type { Expression, FunctionSyntax, Pattern, Refused, Statement } from "./syntax.js";
import {
  arityOf,
  type Builtin,
  type BuiltinValue,
  captured,
  type FunctionValue,
  globalFunction,
  isNamespace,
  logical,
  numeric,
  type RecordValue,
  record,
  type ScalarValue,
  type Value,
} from "./values.js";

/** Why a function cannot be read: at an offset of the text of `fn`'s syntax. */
export class Refusal {
  constructor(
    readonly fn: Arrow,
    readonly at: number,
    readonly message: string,
    readonly hint: string,
  ) {}
}

export interface Reading {
  /** The syntax of a function; throws Refusal where it has none. */
  readonly syntaxOf: (fn: Arrow) => FunctionSyntax;
  /** What to do about a name from outside; differs between map, view and monoid. */
  readonly outside: (name: string) => string;
}

export function readFunction(fn: Arrow, args: readonly Value[], reading: Reading): Value {
  const value = captured(fn);
  if (value.kind !== "builtin") return new Reader(fn, args, reading, []).apply();
  // Math.exp itself, say: it looks at as many arguments as it has, and passing on all is what the caller does.
  const { builtin } = value;
  const taken = args.slice(0, arityOf(builtin) ?? args.length);
  const refuse = () =>
    new Refusal(fn, 0, `${builtin.name} takes numbers, and is given a record`, `write an arrow function that calls ${builtin.name}`);
  const scalar = (v: Value): ScalarValue => {
    if (v.kind === "scalar") return v;
    if (v.kind === "record" && v.bare) return v.bare;
    throw refuse();
  };
  return applyBuiltin(builtin, taken, scalar, (v) => {
    const s = scalar(v);
    if (s.type !== "number") throw refuse();
    return s.term;
  });
}

const counted = (n: number) => `${n} ${n === 1 ? "argument" : "arguments"}`;
const passed = (n: number) => `${n} ${n === 1 ? "is" : "are"} passed`;

type Scope = { readonly names: Map<string, Value | "not yet">; readonly outer: Scope | null };
const inner = (outer: Scope | null): Scope => ({ names: new Map(), outer });

class Reader {
  readonly syntax: FunctionSyntax;

  constructor(
    private readonly fn: Arrow,
    private readonly given: readonly Value[],
    private readonly reading: Reading,
    /** The functions that call this one, outermost first. */
    private readonly callers: readonly Arrow[],
  ) {
    this.syntax = reading.syntaxOf(fn);
  }

  private refuse(at: number, message: string, hint: string): Refusal {
    return new Refusal(this.fn, at, message, hint);
  }
  private refuseWith(at: number, { message, hint }: Words): Refusal {
    return this.refuse(at, message, hint);
  }
  private refused(r: Refused): Refusal {
    return this.refuseWith(r.at, explain(r));
  }

  apply(): Value {
    const { params, body, refused } = this.syntax;
    if (refused) throw this.refused(refused);
    const extra = params[this.given.length];
    if (extra) {
      throw this.refuse(
        extra.at,
        `this parameter is given no value: ${passed(this.given.length)}`,
        "remove it, or pass it where the function is called",
      );
    }
    const scope = inner(null);
    params.forEach((p, i) => {
      this.bind(p, this.given[i] as Value, scope);
    });
    const end = this.run(body, inner(scope));
    return this.valueOf(end);
  }

  // ── statements ─────────────────────────────────────────────────────────────────────────────────────
  private run(statements: readonly Statement[], scope: Scope): End {
    // A block's own names hide outer ones from its beginning: reading one before its line is an error in JavaScript.
    for (const s of statements) if (s.kind === "const") for (const name of namesOf(s.target)) scope.names.set(name, "not yet");
    return this.runFrom(statements, 0, scope);
  }
  private runFrom(statements: readonly Statement[], from: number, scope: Scope): End {
    for (let i = from; i < statements.length; i++) {
      const s = statements[i] as Statement;
      switch (s.kind) {
        case "refused":
          throw this.refused(s);
        case "const":
          this.bind(s.target, this.expression(s.value, scope), scope);
          break;
        case "return":
          if (!s.value) throw this.refuse(s.at, "this return gives no value", "return a number, a boolean, or an object of them");
          return { kind: "value", value: this.expression(s.value, scope) };
        case "block":
        case "if": {
          const end = s.kind === "block" ? this.run(s.body, inner(scope)) : this.branch(s, scope);
          if (!continues(end)) return end;
          if (end.kind === "runs on") break;
          return follow(end, this.runFrom(statements, i + 1, scope));
        }
      }
    }
    return runsOn;
  }
  private branch(s: Extract<Statement, { kind: "if" }>, scope: Scope): End {
    const test = this.condition(s.test, scope, "a condition");
    const then = this.run(s.whenTrue, inner(scope));
    const otherwise = this.run(s.whenFalse, inner(scope));
    return then.kind === "runs on" && otherwise.kind === "runs on"
      ? runsOn
      : { kind: "branch", test, at: s.at, whenTrue: then, whenFalse: otherwise };
  }
  private valueOf(end: End): Value {
    switch (end.kind) {
      case "runs on":
        throw this.refuse(
          this.syntax.body.at(-1)?.at ?? this.syntax.at,
          "not every path through this function returns a value",
          "end it with a return, or write if … else with a return in each",
        );
      case "value":
        return end.value;
      case "branch":
        return this.choose(end.test, this.valueOf(end.whenTrue), this.valueOf(end.whenFalse), end.at);
    }
  }

  // ── names ──────────────────────────────────────────────────────────────────────────────────────────
  private bind(pattern: Pattern, value: Value, scope: Scope): void {
    switch (pattern.kind) {
      case "refused":
        throw this.refused(pattern);
      case "name":
        scope.names.set(pattern.name, value);
        return;
      case "fields": {
        if (pattern.refused[0]) throw this.refused(pattern.refused[0]);
        if (value.kind !== "record") throw this.refuse(pattern.at, "a number has no fields to take apart", "name it: (x) => …");
        for (const f of pattern.fields) this.bind(f.target, this.field(value, f.key, f.at), scope);
      }
    }
  }
  private field(of: RecordValue, name: string, at: number): Value {
    const value = of.fields.get(name);
    if (value) return value;
    const names = [...of.fields.keys()];
    const where = of.what === "an object" ? "the object" : `the ${of.what}`;
    throw this.refuse(
      at,
      `there is no ${name} among ${where}`,
      `${meant(closest(name, names))}${where} ${of.what === "an object" ? "has" : "are"}: ${listed(names)}`,
    );
  }
  private name(e: Extract<Expression, { kind: "name" }>, scope: Scope): Value {
    const { name, at } = e;
    const seen: string[] = [];
    for (let s: Scope | null = scope; s; s = s.outer) {
      const value = s.names.get(name);
      if (value === "not yet") throw this.refuseWith(at, early(name));
      if (value) return value;
      seen.push(...s.names.keys());
    }
    const meaning = globalMeaning(name);
    if (meaning?.kind === "refused") throw this.refuseWith(at, meaning.words);
    if (meaning) return meaning;
    if (name === this.syntax.name || name === this.fn.name) throw this.refuse(at, `${name} calls itself`, recursion);
    const given = this.unused(name);
    if (given) throw this.refuse(at, `${name} is not known inside the function`, given);
    throw this.refuseWith(at, fromOutside(name, seen, this.callers.length ? outside.captured : this.reading.outside));
  }
  /** A value that is given, but that the parameters do not name. */
  private unused(name: string): string | undefined {
    for (const [i, p] of this.syntax.params.entries()) {
      if (p.kind !== "fields") continue;
      const given = this.given[i];
      if (given?.kind === "record" && given.fields.has(name))
        return `${name} is among the ${given.what}: name it in the ${["first", "second", "third"][i]} parameter, { …, ${name} }`;
    }
    return undefined;
  }

  // ── expressions ────────────────────────────────────────────────────────────────────────────────────
  private expression(e: Expression, scope: Scope): Value {
    switch (e.kind) {
      case "refused":
        throw this.refused(e);
      case "number":
        return numeric(constant(Number(e.text)));
      case "boolean":
        return logical(constant(e.value));
      case "name":
        return this.name(e, scope);
      case "property":
        return this.property(e, scope);
      case "object":
        if (e.refused[0]) throw this.refused(e.refused[0]);
        return record(
          "an object",
          e.fields.map((f) => [f.name, this.expression(f.value, scope)] as const),
        );
      case "unary":
        return this.unary(e, scope);
      case "binary":
        return this.binary(e, scope);
      case "conditional": {
        const test = this.condition(e.test, scope, "the condition of ?:");
        return this.choose(test, this.expression(e.whenTrue, scope), this.expression(e.whenFalse, scope), e.at);
      }
      case "call":
        return this.call(e, scope);
    }
  }

  private property(e: Extract<Expression, { kind: "property" }>, scope: Scope): Value {
    if (e.of.kind === "name" && isNamespace(e.of.name) && !isBound(e.of.name, scope)) {
      const meaning = memberMeaning(e.of.name, e.name);
      if (meaning.kind === "refused") throw this.refuseWith(e.nameAt, meaning.words);
      return meaning;
    }
    const of = this.expression(e.of, scope);
    if (of.kind === "record") return this.field(of, e.name, e.nameAt);
    if (of.kind === "scalar")
      throw this.refuse(
        e.nameAt,
        `a ${of.type} has no ${e.name} here`,
        "methods and properties of numbers are not part of scalar functions: use Math.*",
      );
    throw this.refuse(e.nameAt, `a function has no ${e.name} here`, "call it with its arguments");
  }

  private scalar(value: Value, at: number): ScalarValue {
    if (value.kind === "scalar") return value;
    if (value.kind === "record") {
      if (value.bare) return value.bare;
      throw this.refuse(
        at,
        `${value.what === "an object" ? "an object" : `the record of ${value.what}`} is no number`,
        `read one of its fields: ${listed(value.fields.keys())}`,
      );
    }
    throw this.refuse(at, "a function is no number", "call it with its arguments");
  }
  private number(e: Expression, scope: Scope, what: string): Scalar {
    return this.asNumber(this.expression(e, scope), e.at, what);
  }
  private asNumber(value: Value, at: number, what: string): Scalar {
    const v = this.scalar(value, at);
    if (v.type !== "number") throw this.refuse(at, `${what} must be a number; this is a boolean`, "write condition ? 1 : 0");
    return v.term;
  }
  private condition(e: Expression, scope: Scope, what: string): Scalar {
    const v = this.scalar(this.expression(e, scope), e.at);
    if (v.type !== "boolean") throw this.refuse(e.at, `${what} must be a boolean; this is a number`, "compare it: x !== 0");
    return v.term;
  }

  private unary(e: Extract<Expression, { kind: "unary" }>, scope: Scope): Value {
    switch (e.op) {
      case "-":
        return numeric(call("neg", this.number(e.of, scope, "what - negates")));
      case "+": {
        const v = this.scalar(this.expression(e.of, scope), e.of.at);
        return v.type === "number" ? v : numeric(call("toReal", v.term));
      }
      case "!": {
        const v = this.scalar(this.expression(e.of, scope), e.of.at);
        // !0 and !1 are how minifiers write true and false.
        if (v.type === "number" && v.term.kind === "const") return logical(constant(!v.term.value));
        if (v.type === "number") throw this.refuse(e.of.at, "what ! negates must be a boolean; this is a number", "compare it: x === 0");
        return logical(call("not", v.term));
      }
    }
  }

  private binary(e: Extract<Expression, { kind: "binary" }>, scope: Scope): Value {
    switch (e.op) {
      case "&&":
      case "||": {
        const what = `each side of ${e.op}`;
        return logical(call(e.op === "&&" ? "and" : "or", this.condition(e.left, scope, what), this.condition(e.right, scope, what)));
      }
      case "===":
      case "!==": {
        const l = this.scalar(this.expression(e.left, scope), e.left.at);
        const r = this.scalar(this.expression(e.right, scope), e.right.at);
        if (l.type !== r.type) throw this.refuse(e.at, `${e.op} compares a ${l.type} with a ${r.type}`, "compare values of one type");
        return logical(call(e.op === "===" ? "eq" : "ne", l.term, r.term));
      }
      default: {
        const [prim, result] = arithmetic[e.op];
        const what = `each side of ${e.op}`;
        return result(call(prim, this.number(e.left, scope, what), this.number(e.right, scope, what)));
      }
    }
  }

  private choose(test: Scalar, a: Value, b: Value, at: number): Value {
    if (a.kind === "record" && b.kind === "record" && !(a.bare && b.bare)) {
      const keys = [...a.fields.keys()];
      const same = keys.length === b.fields.size && keys.every((k) => b.fields.has(k));
      if (!same)
        throw this.refuse(
          at,
          `the two sides give different fields: ${listed(keys)} and ${listed(b.fields.keys())}`,
          "return the same fields on every path",
        );
      return record(
        "an object",
        keys.map((k) => [k, this.choose(test, a.fields.get(k) as Value, b.fields.get(k) as Value, at)] as const),
      );
    }
    if (a.kind === "function" && b.kind === "function" && a.fn === b.fn) return a;
    const x = this.scalar(a, at);
    const y = this.scalar(b, at);
    if (x.type !== y.type) throw this.refuse(at, `one side gives a ${x.type}, the other a ${y.type}`, "give values of one type on every path");
    return { kind: "scalar", type: x.type, term: call("select", test, x.term, y.term) };
  }

  // ── calls ──────────────────────────────────────────────────────────────────────────────────────────
  private call(e: Extract<Expression, { kind: "call" }>, scope: Scope): Value {
    const callee = this.callee(e.callee, scope);
    const args = e.args.map((a) => this.expression(a, scope));
    if (callee.kind === "builtin") return this.builtin(callee.builtin, args, e);
    const chain = [...this.callers, this.fn];
    // Both sides of a condition are read, so a function that comes back to itself would never end.
    if (chain.includes(callee.fn)) throw this.refuse(e.at, "this function calls itself", recursion);
    const reader = new Reader(callee.fn, args, this.reading, chain);
    const wanted = reader.syntax.params.length;
    if (wanted > args.length) throw this.refuse(e.at, `this function takes ${counted(wanted)}; ${passed(args.length)}`, "pass as many");
    return reader.apply();
  }
  private callee(e: Expression, scope: Scope): FunctionValue | BuiltinValue {
    if (e.kind === "name" && !isBound(e.name, scope)) {
      const global = globalFunction(e.name);
      if (global) return { kind: "builtin", builtin: global };
    }
    if (e.kind === "property" && !(e.of.kind === "name" && isNamespace(e.of.name) && !isBound(e.of.name, scope))) {
      const of = this.expression(e.of, scope);
      if (of.kind === "scalar")
        throw this.refuse(
          e.nameAt,
          `the method ${e.name} cannot be called`,
          "methods are not part of scalar functions: use Math.* or capture a function by name",
        );
    }
    const value = this.expression(e, scope);
    if (value.kind === "function" || value.kind === "builtin") return value;
    throw this.refuse(
      e.at,
      value.kind === "scalar" ? `a ${value.type} is no function` : "a record is no function",
      "call a captured function or one of Math.*",
    );
  }
  private builtin(b: Builtin, args: readonly Value[], e: Extract<Expression, { kind: "call" }>): Value {
    const arity = arityOf(b);
    if (arity !== null && args.length !== arity) {
      const more = b.name === "Math.hypot" ? "write Math.sqrt(a * a + b * b + c * c) for more" : "pass as many";
      throw this.refuse(e.at, `${b.name} takes ${counted(arity)}; ${passed(args.length)}`, more);
    }
    return applyBuiltin(
      b,
      args,
      (v, i) => this.scalar(v, e.args[i]?.at ?? e.at),
      (v, i) => this.asNumber(v, e.args[i]?.at ?? e.at, `each argument of ${b.name}`),
    );
  }
}

const arithmetic: {
  readonly [op in "+" | "-" | "*" | "/" | "%" | "**" | "<" | "<=" | ">" | ">="]: readonly [Primitive, (t: Scalar) => ScalarValue];
} = {
  "+": ["add", numeric],
  "-": ["sub", numeric],
  "*": ["mul", numeric],
  "/": ["div", numeric],
  "%": ["mod", numeric],
  "**": ["pow", numeric],
  "<": ["lt", logical],
  "<=": ["le", logical],
  ">": ["gt", logical],
  ">=": ["ge", logical],
};

const isBound = (name: string, scope: Scope): boolean => {
  for (let s: Scope | null = scope; s; s = s.outer) if (s.names.has(name)) return true;
  return false;
};
const namesOf = (p: Pattern): readonly string[] =>
  p.kind === "name" ? [p.name] : p.kind === "fields" ? p.fields.flatMap((f) => namesOf(f.target)) : [];
