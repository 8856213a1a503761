// The type algebra of axes: what a tensor is to the type checker, and how the axes of a result follow from the axes of
// its arguments. Nothing here exists at run time. Which types a caller meets in messages is part of the surface: an error
// is a string type that names the axis, in the place of the argument that is wrong.
//
// Note [Encodings]. Three rules keep checking linear in the length of a program; each was measured, and
// test/types holds a budget over a chain of hundreds of operations.
// 1 A result is mapped over a union of keys, never over `keyof T` of an intersection: a homomorphic mapped type keeps a
//   link to T, and the checker follows those links through all earlier steps, exponentially (four blocks: nine minutes).
// 2 The left side of a conditional holds names and sizes, never an axes record or a tensor: the checker re-instantiates
//   the left side, the record with all its ancestors, and stops at depth 100 ("excessively deep") after 98 operations.
// 3 No alias inside Box<…> or a tuple in an alias: it becomes a deferred reference, which brings rule 2 back.
// Further: an intersection with an error string becomes `never`, so inputs are compared name by name; covariant axes are
// unsound, so a phantom function type makes names exact and sizes covariant.
// biome-ignore-all lint/complexity/noBannedTypes: {} is the record of no axes
import type { DType } from "./node.js";

export type { DType };

// ── names, sizes, tensors ────────────────────────────────────────────────────────────────────────────
export type Axes = { readonly [axis: string]: number };
export type Indices<A> = { readonly [K in keyof A]: number };
declare const meaning: unique symbol;
/** A tensor is a function from its axes' indices to a scalar. Sizes are covariant (64 is a number);
 *  names are exact (`meaning` makes a missing or extra axis an error). Unconstrained, so that conditionals stay eager. */
export interface Tensor<A = Axes, D = "f32"> {
  readonly axes: A;
  readonly dtype: D;
  readonly [meaning]: (at: Indices<A>) => D;
}
export type None = {};
export type Scalar = Tensor<{}>;
/** An integer scalar. */
export type Int = Tensor<{}, "i32">;
export type Real = Exclude<DType, "bool">;
export type AnyTensor = { readonly axes: Axes; readonly dtype: DType };
export type Tree = AnyTensor | { readonly [name: string]: Tree } | readonly Tree[];

// ── algebra ──────────────────────────────────────────────────────────────────────────────────────────
export interface Box<T> {
  readonly t: T;
} // keeps conditionals over generic sizes eager
export type Str<T> = T & string;
export type Sum<A, B> = {
  [K in keyof A | keyof B]: K extends keyof A ? (K extends keyof B ? A[K] & B[K] : A[K]) : K extends keyof B ? B[K] : never;
} & {}; // `& {}` drops the alias from hovers
export type Drop<A, N> = { [K in Exclude<keyof A, N>]: A[K] } & {};
export type Keep<A, N> = { [K in keyof A & N]: A[K] } & {};
export type Contract<A, B, N> = {
  [K in Exclude<keyof A | keyof B, N>]: K extends keyof A ? (K extends keyof B ? A[K] & B[K] : A[K]) : K extends keyof B ? B[K] : never;
} & {};
export type Swap<A, N, S> = { [K in Exclude<keyof A, N> | keyof S]: K extends keyof S ? S[K] : K extends keyof A ? A[K] : never } & {};
/** T, or the error that names an axis on which A and B disagree. */
export type Join<A, B, T> = Differ<Clash<A, B>, A, B, T>;
export type Clash<A, B> = { [K in keyof A & keyof B]: Box<A[K]> extends Box<B[K]> ? never : Box<B[K]> extends Box<A[K]> ? never : K }[keyof A &
  keyof B];
export type Differ<N, A, B, T> = [N] extends [never]
  ? T
  : `axis sizes differ: "${Str<N>}" is ${A[N & keyof A] & number} on the left, ${B[N & keyof B] & number} on the right`;
// the same over a record of inputs, some of which are numbers or functions
export type AxesAt<I, K extends keyof I> = "axes" extends keyof I[K] ? I[K]["axes"] : {};
export type NamesIn<I> = { [K in keyof I]: "axes" extends keyof I[K] ? keyof I[K]["axes"] : never }[keyof I];
export type SizeAt<A, N> = A[N & keyof A];
export type Sizes<I, N> = { [K in keyof I]: AxesAt<I, K>[N & keyof AxesAt<I, K>] }[keyof I];
export type Merged<I> = Merge1<I, NamesIn<I>> & {};
export type Merge1<I, NN> = { [N in NN & string]: Sizes<I, N> } & {}; // names as a finished argument, `& string`: else TypeScript 7 recurses
export type Clashing<I> = { [N in NamesIn<I>]: Mixed<I, N, Sizes<I, N>> }[NamesIn<I>];
export type Mixed<I, N, L> = { [K in keyof I]: Odd<L, SizeAt<AxesAt<I, K>, N>, N> }[keyof I];
export type Odd<L, S, N> = [S] extends [never] ? never : Box<number> extends Box<L> ? never : Box<L> extends Box<S> ? never : N;
/** `unknown` when all inputs agree; otherwise an error string in the place of each input that clashes. */
export type Agreeing<I> = "axes" extends keyof I ? unknown : Blame<I, Clashing<I>>;
export type Blame<I, N> = [N] extends [never] ? unknown : { readonly [K in keyof I]: Here<N & keyof AxesAt<I, K>, AxesAt<I, K>> };
export type Here<N, A> = [N] extends [never] ? unknown : `axis sizes differ: "${Str<N>}" is ${A[N & keyof A] & number} here`;
export type Named<S extends string> = S extends `${infer H} ${infer T}` ? H | Named<T> : S extends "" ? never : S;
export type Spaced<S extends string> = { [K in Named<S>]: number } & {};

/** No `readonly` in hovers. */
export type Plain<A> = { -readonly [K in keyof A]: A[K] } & {};
/** An object, since `number & "text"` would print as never. */
export type NoMore<R, A> = { readonly [K in Exclude<keyof R, keyof A>]: { readonly "no such axis": K } };
