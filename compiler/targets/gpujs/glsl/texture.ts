// How an array lies in a texture: row by row, rows of a power of two, so that a kernel finds an element by a shift and a mask,
// where a division would cost more than the read.

/** Logarithm of the width, to base 2. At least two rows where there are two elements: gpu.js takes one row for a list. */
export function shiftOf(length: number): number {
  const square = Math.max(0, Math.ceil(Math.log2(Math.max(1, length)) / 2));
  return length > 1 && length <= 2 ** square ? square - 1 : square;
}
/** Width and height, or the width alone of one element. */
export function shapeOf(length: number): readonly [number, number] | readonly [number] {
  const width = 2 ** shiftOf(length);
  return length <= 1 ? [1] : [width, Math.ceil(length / width)];
}
