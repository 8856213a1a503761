// What two texts of one function have in common: its syntax without positions, without the details of what is refused,
// and with the names it binds numbered in the order in which it binds them. Loaders take types away, change spaces, and
// rename a parameter that has the name of something outside (esbuild makes q2 of it); none of that makes another function.
import type { Expression, FunctionSyntax, Pattern, Refused, Statement } from "./syntax.js";

/** What a name inside stands for, if the function binds it. */
type Scope = Map<string, string>;

/** Equal for one function in two texts. */
export function shapeOf(f: FunctionSyntax): string {
  let bound = 0;
  const bind = (name: string, scope: Scope): string => {
    const id = `#${bound++}`;
    scope.set(name, id);
    return id;
  };
  const refusals = (all: readonly Refused[]) => all.map((r) => r.construct);

  const pattern = (p: Pattern, scope: Scope): unknown => {
    switch (p.kind) {
      case "refused":
        return { refused: p.construct };
      case "name":
        return bind(p.name, scope);
      case "fields":
        return { fields: p.fields.map((field) => [field.key, pattern(field.target, scope)]), refused: refusals(p.refused) };
    }
  };
  const expression = (e: Expression, scope: Scope): unknown => {
    switch (e.kind) {
      case "refused":
        return { refused: e.construct };
      case "number":
        return { number: e.text };
      case "boolean":
        return e.value;
      case "name":
        return scope.get(e.name) ?? e.name;
      case "unary":
        return [e.op, expression(e.of, scope)];
      case "binary":
        return [e.op, expression(e.left, scope), expression(e.right, scope)];
      case "conditional":
        return ["?:", expression(e.test, scope), expression(e.whenTrue, scope), expression(e.whenFalse, scope)];
      case "property":
        return { property: e.name, of: expression(e.of, scope) };
      case "call":
        return { call: expression(e.callee, scope), args: e.args.map((a) => expression(a, scope)) };
      case "object":
        return { object: e.fields.map((field) => [field.name, expression(field.value, scope)]), refused: refusals(e.refused) };
    }
  };
  const statement = (s: Statement, scope: Scope): unknown => {
    switch (s.kind) {
      case "refused":
        return { refused: s.construct };
      case "const": {
        const value = expression(s.value, scope);
        return { const: pattern(s.target, scope), value };
      }
      case "return":
        return { return: s.value && expression(s.value, scope) };
      case "if":
        return ["if", expression(s.test, scope), block(s.whenTrue, scope), block(s.whenFalse, scope)];
      case "block":
        return block(s.body, scope);
    }
  };
  const block = (body: readonly Statement[], outer: Scope): unknown => {
    const scope = new Map(outer);
    return body.map((s) => statement(s, scope));
  };

  const scope: Scope = new Map();
  const name = f.name === null ? null : bind(f.name, scope);
  const params = f.params.map((p) => pattern(p, scope));
  return JSON.stringify({ name, params, body: block(f.body, scope), refused: f.refused?.construct ?? null });
}
