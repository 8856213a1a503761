// Prints scalar expressions as infix text: `[key] <= [query] ? s * 0.125 : -Infinity`. An index is [axis], a size
// |axis|, an argument its name (x where it has none), a primitive without an operator a call. What is used more than once is named first,
// so that the text is as long as the graph, not as its expansion.
import type { Primitive } from "./primitives.js";
import { type Scalar, terms } from "./scalar.js";

/** Operators as JavaScript has them, with its precedence; the rest are calls. */
const infix: ReadonlyMap<Primitive, readonly [text: string, level: number]> = new Map<Primitive, readonly [string, number]>([
  ["or", ["||", 2]],
  ["and", ["&&", 3]],
  ["eq", ["===", 4]],
  ["ne", ["!==", 4]],
  ["lt", ["<", 5]],
  ["le", ["<=", 5]],
  ["gt", [">", 5]],
  ["ge", [">=", 5]],
  ["add", ["+", 6]],
  ["sub", ["-", 6]],
  ["mul", ["*", 7]],
  ["div", ["/", 7]],
  ["mod", ["%", 7]],
  ["pow", ["**", 9]],
]);
const prefix: ReadonlyMap<Primitive, string> = new Map<Primitive, string>([
  ["neg", "-"],
  ["not", "!"],
]);
const choice = 1;
const unary = 8;
const power = 9;
const atom = 10;

interface Text {
  readonly text: string;
  readonly level: number;
}
const within = (t: Text, level: number) => (t.level < level ? `(${t.text})` : t.text);

function spell(t: Scalar, of: (t: Scalar) => Text): Text {
  switch (t.kind) {
    case "const": {
      const text = Object.is(t.value, -0) ? "-0" : String(t.value);
      return { text, level: text.startsWith("-") ? unary : atom };
    }
    case "arg":
      return { text: t.name || "x", level: atom };
    case "index":
      return { text: `[${t.axis}]`, level: atom };
    case "size":
      return { text: `|${t.axis}|`, level: atom };
    case "call": {
      const parts = t.args.map(of) as [Text, Text, Text];
      const sign = prefix.get(t.prim);
      if (sign !== undefined) {
        const inner = parts[0].level === power ? `(${parts[0].text})` : within(parts[0], unary); // -x ** y is no JavaScript
        return { text: inner.startsWith("-") ? `${sign}(${inner})` : sign + inner, level: unary };
      }
      if (t.prim === "select")
        return { text: `${within(parts[0], choice + 1)} ? ${within(parts[1], choice)} : ${within(parts[2], choice)}`, level: choice };
      const op = infix.get(t.prim);
      if (!op) return { text: `${t.prim}(${parts.map((p) => p.text).join(", ")})`, level: atom };
      const [text, level] = op;
      // ** groups to the right and takes no signed base; the others group to the left.
      const [left, right] = t.prim === "pow" ? [level + 1, unary] : [level, level + 1];
      return { text: `${within(parts[0], left)} ${text} ${within(parts[1], right)}`, level };
    }
  }
}

export function show(root: Scalar): string {
  const order = terms([root]);
  const uses = new Map<Scalar, number>();
  for (const t of order) if (t.kind === "call") for (const a of t.args) uses.set(a, (uses.get(a) ?? 0) + 1);
  const texts = new Map<Scalar, Text>();
  const lines: string[] = [];
  for (const t of order) {
    const spelled = spell(t, (a) => texts.get(a) as Text);
    if (t.kind === "call" && (uses.get(t) ?? 0) > 1) {
      const name = `t${lines.length}`;
      lines.push(`${name} = ${spelled.text}`);
      texts.set(t, { text: name, level: atom });
    } else texts.set(t, spelled);
  }
  return [...lines, (texts.get(root) as Text).text].join("; ");
}
