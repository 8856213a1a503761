// What recipes need to know of the machine that a target's loop IR is for.
export interface Limits {
  /** Bytes of second-level cache that one thread may count on. */
  readonly l2: number;
}
