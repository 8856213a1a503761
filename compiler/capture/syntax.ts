// The syntax of a function that capture can read: plain data, so that it can be kept on disk and a warm start needs no
// parser. What the language does not have is kept too, as `refused` with its position: whether it matters is decided
// when the function is read. Types, parentheses, braces around one statement and the form of literals are gone, so
// that the same function, before and after a loader took its types away, has the same syntax but for positions.
//
// `at` is an offset into the text that was parsed.

/** Raise this when the parser or these types change: entries of another version are not read. */
export const syntaxVersion = 1;

export type Construct =
  | "array"
  | "array pattern"
  | "assignment"
  | "async"
  | "await"
  | "bigint"
  | "bitwise"
  | "class"
  | "closure"
  | "comma"
  | "computed key"
  | "default value"
  | "delete"
  | "element access"
  | "expression statement"
  | "generator"
  | "instanceof"
  | "in"
  | "legacy octal"
  | "loop"
  | "method"
  | "new"
  | "null"
  | "nullish"
  | "optional chaining"
  | "proto"
  | "regular expression"
  | "rest"
  | "spread"
  | "statement"
  | "string"
  | "super"
  | "switch"
  | "template"
  | "this"
  | "throw"
  | "try"
  | "typeof"
  | "uninitialised"
  | "unknown"
  | "using"
  | "var"
  | "void"
  | "yield";

export interface Refused {
  readonly kind: "refused";
  readonly construct: Construct;
  /** The word or operator to name in the message. */
  readonly detail: string;
  readonly at: number;
}

export type BinaryOp = "+" | "-" | "*" | "/" | "%" | "**" | "<" | "<=" | ">" | ">=" | "===" | "!==" | "&&" | "||";

export type Expression =
  | Refused
  /** As text: JSON has no Infinity. Canonical: String(Number(…)). */
  | { readonly kind: "number"; readonly text: string; readonly at: number }
  | { readonly kind: "boolean"; readonly value: boolean; readonly at: number }
  | { readonly kind: "name"; readonly name: string; readonly at: number }
  | { readonly kind: "unary"; readonly op: "-" | "+" | "!"; readonly of: Expression; readonly at: number }
  | { readonly kind: "binary"; readonly op: BinaryOp; readonly left: Expression; readonly right: Expression; readonly at: number }
  | { readonly kind: "conditional"; readonly test: Expression; readonly whenTrue: Expression; readonly whenFalse: Expression; readonly at: number }
  /** `nameAt`: where the property's name stands. */
  | { readonly kind: "property"; readonly of: Expression; readonly name: string; readonly nameAt: number; readonly at: number }
  | { readonly kind: "call"; readonly callee: Expression; readonly args: readonly Expression[]; readonly at: number }
  | {
      readonly kind: "object";
      readonly fields: readonly { readonly name: string; readonly value: Expression; readonly at: number }[];
      readonly refused: readonly Refused[];
      readonly at: number;
    };

export type Pattern =
  | Refused
  | { readonly kind: "name"; readonly name: string; readonly at: number }
  | {
      readonly kind: "fields";
      readonly fields: readonly { readonly key: string; readonly target: Pattern; readonly at: number }[];
      readonly refused: readonly Refused[];
      readonly at: number;
    };

export type Statement =
  | Refused
  | { readonly kind: "const"; readonly target: Pattern; readonly value: Expression; readonly at: number }
  | { readonly kind: "return"; readonly value: Expression | null; readonly at: number }
  | {
      readonly kind: "if";
      readonly test: Expression;
      readonly whenTrue: readonly Statement[];
      readonly whenFalse: readonly Statement[];
      readonly at: number;
    }
  | { readonly kind: "block"; readonly body: readonly Statement[]; readonly at: number };

export interface FunctionSyntax {
  readonly kind: "function";
  /** Its own name, by which it could call itself. */
  readonly name: string | null;
  readonly params: readonly Pattern[];
  /** `=> e` is one return. */
  readonly body: readonly Statement[];
  /** What the function as a whole is refused for: async, a generator, a method. */
  readonly refused: Refused | null;
  readonly at: number;
}
