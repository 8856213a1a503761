// What recipes need to know of a target's machine.
export interface Limits {
  /** Floats in a vector, as the target's loop IR is written for it. */
  readonly lanes: number;
  /** Bytes of the first and second cache that one thread may count on. */
  readonly l1: number;
  readonly l2: number;
}
