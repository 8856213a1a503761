// Where a value of the f64 oracle lies: one array, an offset, and a stride for each axis (0 along axes it is repeated on).
export interface Slot {
  readonly data: Float64Array;
  readonly offset: number;
  readonly strides: Readonly<Record<string, number>>;
}
export type Sizes = Readonly<Record<string, number>>;

export const elements = (sizes: Sizes): number => Object.values(sizes).reduce((p, n) => p * n, 1);
/** Dense and row-major in the order of the axes. */
export function dense(sizes: Sizes, data: Float64Array = new Float64Array(elements(sizes))): Slot {
  const strides: Record<string, number> = {};
  let step = 1;
  for (const [axis, n] of Object.entries(sizes).reverse()) {
    strides[axis] = step;
    step *= n;
  }
  return { data, offset: 0, strides };
}
