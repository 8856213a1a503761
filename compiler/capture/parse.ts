// Text to syntax, with ts-morph. This is the one file that loads it: half a second, so only when a function's syntax
// is in no cache. `createRequire` keeps the loading synchronous.
import { createRequire } from "node:module";
import type * as Morph from "ts-morph";
import type { BinaryOp, Construct, Expression, FunctionSyntax, Pattern, Refused, Statement } from "./syntax.js";

let morph: typeof Morph | undefined;
let project: Morph.Project | undefined;
let loads = 0;

/** How often the parser was loaded in this process: 0 after a warm start. */
export const parserLoads = (): number => loads;

function parser(): { readonly m: typeof Morph; readonly project: Morph.Project } {
  if (!morph || !project) {
    morph = createRequire(import.meta.url)("ts-morph") as typeof Morph;
    project = new morph.Project({ useInMemoryFileSystem: true, skipLoadingLibFiles: true, compilerOptions: { allowJs: true } });
    loads++;
  }
  return { m: morph, project };
}

function withSource<T>(name: string, text: string, f: (file: Morph.SourceFile, m: typeof Morph) => T): T {
  const { m, project } = parser();
  const file = project.createSourceFile(name, text, { overwrite: true });
  try {
    return f(file, m);
  } finally {
    project.removeSourceFile(file);
  }
}

/** The syntax of a function from its own text (`toString`), which is JavaScript: in a .ts file a < b > (c) would be a
 *  call with type arguments. Offsets count in the text. */
export function parseFunction(text: string): FunctionSyntax {
  const inParentheses = parseWrapped("(", text, ")");
  if (inParentheses) return inParentheses;
  const method = parseWrapped("({", text, "})"); // a method's text is no expression by itself
  if (method) return method;
  const refused: Refused = { kind: "refused", construct: "unknown", detail: "this text", at: 0 };
  return { kind: "function", name: null, params: [], body: [], refused, at: 0 };
}

function parseWrapped(before: string, text: string, after: string): FunctionSyntax | undefined {
  return withSource("function.js", before + text + after, (file, m) => {
    const { Node } = m;
    const converter = new Converter(m, -before.length);
    const statement = file.getStatements()[0];
    if (!statement || file.getStatements().length !== 1 || !Node.isExpressionStatement(statement)) return undefined;
    const inside = statement.getExpression();
    const whole = Node.isParenthesizedExpression(inside) ? inside.getExpression() : undefined;
    if (whole?.getStart() !== 1) return undefined;
    if (Node.isArrowFunction(whole) || Node.isFunctionExpression(whole)) return converter.function(whole);
    if (Node.isClassExpression(whole)) return converter.whole(whole, "class");
    if (!Node.isObjectLiteralExpression(whole)) return undefined;
    const member = whole.getProperties()[0];
    return member && !Node.isPropertyAssignment(member) && !Node.isShorthandPropertyAssignment(member)
      ? converter.whole(member, "method")
      : undefined;
  });
}

export type AnyFunction = Morph.ArrowFunction | Morph.FunctionExpression | Morph.FunctionDeclaration;
/** A parsed file, for who looks for functions in it. `read` gives a function's syntax; its offsets count from `from`. */
export interface ParsedFile {
  readonly file: Morph.SourceFile;
  readonly m: typeof Morph;
  readonly read: (f: AnyFunction, from: number) => FunctionSyntax;
}
export const withFile = <T>(name: string, text: string, use: (parsed: ParsedFile) => T): T =>
  withSource(fileLike(name), text, (file, m) => use({ file, m, read: (f, from) => new Converter(m, -from).function(f) }));
/** The name decides whether it is TypeScript, and whether there is JSX. */
const fileLike = (name: string) => `file${/\.[cm]?[jt]sx?$/.exec(name)?.[0] ?? ".ts"}`;

/** Every function in a file, in the order of the text. Offsets count in the file. */
export function parseFile(name: string, text: string): readonly FunctionSyntax[] {
  return withSource(fileLike(name), text, (file, m) => {
    const converter = new Converter(m, 0);
    const out: FunctionSyntax[] = [];
    file.forEachDescendant((node) => {
      if (m.Node.isArrowFunction(node) || m.Node.isFunctionExpression(node) || m.Node.isFunctionDeclaration(node)) out.push(converter.function(node));
      else if (m.Node.isMethodDeclaration(node)) out.push(converter.whole(node, "method"));
    });
    return out;
  });
}

const operators: { readonly [op: string]: BinaryOp } = {
  "+": "+",
  "-": "-",
  "*": "*",
  "/": "/",
  "%": "%",
  "**": "**",
  "<": "<",
  "<=": "<=",
  ">": ">",
  ">=": ">=",
  // Numbers with numbers and booleans with booleans, which the reader sees to, are equal in both ways or in neither.
  "===": "===",
  "==": "===",
  "!==": "!==",
  "!=": "!==",
  "&&": "&&",
  "||": "||",
};
const refusedOperators: { readonly [op: string]: Construct } = {
  "&": "bitwise",
  "|": "bitwise",
  "^": "bitwise",
  "<<": "bitwise",
  ">>": "bitwise",
  ">>>": "bitwise",
  ",": "comma",
  "??": "nullish",
  in: "in",
  instanceof: "instanceof",
};

class Converter {
  constructor(
    private readonly m: typeof Morph,
    /** Added to every offset: what was put before the text. */
    private readonly shift: number,
  ) {}

  private at(node: Morph.Node): number {
    return node.getStart() + this.shift;
  }
  private refuse(node: Morph.Node, construct: Construct, detail = ""): Refused {
    return { kind: "refused", construct, detail, at: this.at(node) };
  }
  whole(node: Morph.Node, construct: Construct): FunctionSyntax {
    return { kind: "function", name: null, params: [], body: [], refused: this.refuse(node, construct), at: this.at(node) };
  }

  function(f: AnyFunction): FunctionSyntax {
    const { Node } = this.m;
    const body = f.getBody();
    const generator = !Node.isArrowFunction(f) && f.isGenerator();
    const statements: readonly Statement[] =
      body === undefined
        ? []
        : Node.isBlock(body)
          ? this.statements(body)
          : Node.isExpression(body)
            ? [{ kind: "return", value: this.expression(body), at: this.at(body) }]
            : [this.refuse(body, "unknown", "this")];
    return {
      kind: "function",
      name: Node.isArrowFunction(f) ? null : (f.getName() ?? null),
      // TypeScript's `this` parameter is a type, gone from what runs.
      params: f
        .getParameters()
        .filter((p) => p.getName() !== "this")
        .map((p) => this.parameter(p)),
      body: statements,
      refused: f.isAsync() ? this.refuse(f, "async") : generator ? this.refuse(f, "generator") : null,
      at: this.at(f),
    };
  }
  private parameter(p: Morph.ParameterDeclaration): Pattern {
    const rest = p.getDotDotDotToken();
    if (rest) return this.refuse(rest, "rest");
    const initial = p.getInitializer();
    if (initial) return this.refuse(initial, "default value");
    return this.pattern(p.getNameNode());
  }
  private pattern(node: Morph.Node): Pattern {
    const { Node } = this.m;
    if (Node.isIdentifier(node)) return { kind: "name", name: node.getText(), at: this.at(node) };
    if (!Node.isObjectBindingPattern(node)) return this.refuse(node, "array pattern");
    const refused: Refused[] = [];
    const fields: { key: string; target: Pattern; at: number }[] = [];
    for (const e of node.getElements()) {
      const initial = e.getInitializer();
      const key = e.getPropertyNameNode() ?? e.getNameNode();
      if (e.getDotDotDotToken()) refused.push(this.refuse(e, "rest"));
      else if (initial) refused.push(this.refuse(initial, "default value"));
      else if (Node.isIdentifier(key)) fields.push({ key: key.getText(), target: this.pattern(e.getNameNode()), at: this.at(e) });
      else if (Node.isStringLiteral(key)) fields.push({ key: key.getLiteralValue(), target: this.pattern(e.getNameNode()), at: this.at(e) });
      else refused.push(this.refuse(key, "computed key"));
    }
    return { kind: "fields", fields, refused, at: this.at(node) };
  }

  private statements(block: Morph.Block): readonly Statement[] {
    return block.getStatements().flatMap((s) => this.statement(s));
  }
  /** The body of an `if`, whether in braces or not. */
  private branch(s: Morph.Statement): readonly Statement[] {
    return this.m.Node.isBlock(s) ? this.statements(s) : this.statement(s);
  }
  private statement(s: Morph.Statement): readonly Statement[] {
    const { Node, VariableDeclarationKind } = this.m;
    if (Node.isEmptyStatement(s)) return [];
    if (Node.isBlock(s)) return [{ kind: "block", body: this.statements(s), at: this.at(s) }];
    if (Node.isReturnStatement(s)) {
      const value = s.getExpression();
      return [{ kind: "return", value: value ? this.expression(value) : null, at: this.at(s) }];
    }
    if (Node.isIfStatement(s)) {
      const otherwise = s.getElseStatement();
      return [
        {
          kind: "if",
          test: this.expression(s.getExpression()),
          whenTrue: this.branch(s.getThenStatement()),
          whenFalse: otherwise ? this.branch(otherwise) : [],
          at: this.at(s),
        },
      ];
    }
    if (Node.isVariableStatement(s)) {
      const kind = s.getDeclarationKind();
      if (kind === VariableDeclarationKind.Var) return [this.refuse(s, "var")];
      // `let` is a const here: assigning to it again is refused where that happens.
      if (kind !== VariableDeclarationKind.Const && kind !== VariableDeclarationKind.Let) return [this.refuse(s, "using")];
      return s.getDeclarations().map((d): Statement => {
        const value = d.getInitializer();
        if (!value) return this.refuse(d, "uninitialised", d.getName());
        return { kind: "const", target: this.pattern(d.getNameNode()), value: this.expression(value), at: this.at(d) };
      });
    }
    if (Node.isExpressionStatement(s)) {
      const e = s.getExpression();
      if (Node.isStringLiteral(e)) return []; // "use strict"
      const read = this.expression(e);
      return [read.kind === "refused" ? read : this.refuse(s, "expression statement")];
    }
    if (Node.isForStatement(s) || Node.isForInStatement(s) || Node.isForOfStatement(s)) return [this.refuse(s, "loop", "for")];
    if (Node.isWhileStatement(s) || Node.isDoStatement(s)) return [this.refuse(s, "loop", "while")];
    if (Node.isFunctionDeclaration(s)) return [this.refuse(s, "closure")];
    if (Node.isClassDeclaration(s)) return [this.refuse(s, "class")];
    if (Node.isSwitchStatement(s)) return [this.refuse(s, "switch")];
    if (Node.isThrowStatement(s)) return [this.refuse(s, "throw")];
    if (Node.isTryStatement(s)) return [this.refuse(s, "try")];
    return [this.refuse(s, "statement", /^\w+/.exec(s.getText())?.[0] ?? "this statement")];
  }

  expression(e: Morph.Node): Expression {
    const { Node } = this.m;
    const at = this.at(e);
    if (Node.isParenthesizedExpression(e) || Node.isAsExpression(e) || Node.isSatisfiesExpression(e)) return this.expression(e.getExpression());
    if (Node.isNonNullExpression(e) || Node.isTypeAssertion(e)) return this.expression(e.getExpression());
    if (Node.isIdentifier(e)) return { kind: "name", name: e.getText(), at };
    if (Node.isNumericLiteral(e)) {
      const text = e.getText();
      return /^0\d/.test(text) ? this.refuse(e, "legacy octal", text) : { kind: "number", text: String(Number(text.replaceAll("_", ""))), at };
    }
    if (Node.isTrueLiteral(e) || Node.isFalseLiteral(e)) return { kind: "boolean", value: Node.isTrueLiteral(e), at };
    if (Node.isPrefixUnaryExpression(e)) {
      const op = e.getText().slice(0, 1);
      if (/^(\+\+|--)/.test(e.getText())) return this.refuse(e, "assignment", e.getText().slice(0, 2));
      if (op === "~") return this.refuse(e, "bitwise", op);
      return { kind: "unary", op: op as "-" | "+" | "!", of: this.expression(e.getOperand()), at }; // the others are handled above
    }
    if (Node.isPostfixUnaryExpression(e)) return this.refuse(e, "assignment", e.getText().slice(-2));
    if (Node.isBinaryExpression(e)) return this.binary(e);
    if (Node.isConditionalExpression(e)) {
      return {
        kind: "conditional",
        test: this.expression(e.getCondition()),
        whenTrue: this.expression(e.getWhenTrue()),
        whenFalse: this.expression(e.getWhenFalse()),
        at,
      };
    }
    if (Node.isPropertyAccessExpression(e)) {
      if (e.hasQuestionDotToken()) return this.refuse(e.getQuestionDotTokenNodeOrThrow(), "optional chaining");
      return { kind: "property", of: this.expression(e.getExpression()), name: e.getName(), nameAt: this.at(e.getNameNode()), at };
    }
    if (Node.isElementAccessExpression(e)) {
      if (e.hasQuestionDotToken()) return this.refuse(e.getQuestionDotTokenNodeOrThrow(), "optional chaining");
      const key = e.getArgumentExpression();
      if (!Node.isStringLiteral(key)) return this.refuse(key ?? e, "element access");
      return { kind: "property", of: this.expression(e.getExpression()), name: key.getLiteralValue(), nameAt: this.at(key), at };
    }
    if (Node.isCallExpression(e)) return this.call(e);
    if (Node.isObjectLiteralExpression(e)) return this.object(e);
    return this.refuse(e, ...this.otherwise(e));
  }

  private binary(e: Morph.BinaryExpression): Expression {
    const token = e.getOperatorToken();
    const text = token.getText();
    const op = operators[text];
    if (op) return { kind: "binary", op, left: this.expression(e.getLeft()), right: this.expression(e.getRight()), at: this.at(token) };
    const refused = refusedOperators[text];
    return this.refuse(token, refused ?? (text.endsWith("=") ? "assignment" : "unknown"), text);
  }
  private call(e: Morph.CallExpression): Expression {
    const { Node } = this.m;
    if (e.hasQuestionDotToken()) return this.refuse(e, "optional chaining");
    const callee = e.getExpression();
    const args = e.getArguments();
    // tsx and esbuild wrap inner functions: __name(f, "f").
    if (Node.isIdentifier(callee) && callee.getText() === "__name" && args[0]) return this.expression(args[0]);
    const spread = args.find((a) => Node.isSpreadElement(a));
    if (spread) return this.refuse(spread, "spread");
    return { kind: "call", callee: this.expression(callee), args: args.map((a) => this.expression(a)), at: this.at(e) };
  }
  private object(e: Morph.ObjectLiteralExpression): Expression {
    const { Node } = this.m;
    const refused: Refused[] = [];
    const fields: { name: string; value: Expression; at: number }[] = [];
    for (const p of e.getProperties()) {
      if (Node.isShorthandPropertyAssignment(p)) {
        fields.push({ name: p.getName(), value: { kind: "name", name: p.getName(), at: this.at(p) }, at: this.at(p) });
      } else if (Node.isPropertyAssignment(p)) {
        const key = p.getNameNode();
        const value = p.getInitializerOrThrow();
        const name = Node.isIdentifier(key) ? key.getText() : Node.isStringLiteral(key) ? key.getLiteralValue() : undefined;
        if (name === undefined) refused.push(this.refuse(key, "computed key"));
        else if (name === "__proto__") refused.push(this.refuse(key, "proto"));
        else fields.push({ name, value: this.expression(value), at: this.at(p) });
      } else refused.push(this.refuse(p, Node.isSpreadAssignment(p) ? "spread" : "method"));
    }
    return { kind: "object", fields, refused, at: this.at(e) };
  }

  private otherwise(e: Morph.Node): readonly [Construct, string] {
    const { Node } = this.m;
    if (Node.isArrowFunction(e) || Node.isFunctionExpression(e)) return ["closure", ""];
    if (Node.isStringLiteral(e)) return ["string", ""];
    if (Node.isNoSubstitutionTemplateLiteral(e) || Node.isTemplateExpression(e) || Node.isTaggedTemplateExpression(e)) return ["template", ""];
    if (Node.isRegularExpressionLiteral(e)) return ["regular expression", ""];
    if (Node.isBigIntLiteral(e)) return ["bigint", e.getText()];
    if (Node.isArrayLiteralExpression(e)) return ["array", ""];
    if (Node.isAwaitExpression(e)) return ["await", ""];
    if (Node.isYieldExpression(e)) return ["yield", ""];
    if (Node.isNewExpression(e)) return ["new", ""];
    if (Node.isThisExpression(e)) return ["this", ""];
    if (Node.isSuperExpression(e)) return ["super", ""];
    if (Node.isClassExpression(e)) return ["class", ""];
    if (Node.isTypeOfExpression(e)) return ["typeof", ""];
    if (Node.isVoidExpression(e)) return ["void", ""];
    if (Node.isDeleteExpression(e)) return ["delete", ""];
    if (Node.isSpreadElement(e)) return ["spread", ""];
    if (Node.isNullLiteral(e)) return ["null", ""];
    return ["unknown", e.getText().slice(0, 20)];
  }
}
