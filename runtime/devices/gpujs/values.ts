// An array of a run: on the host, on the GPU (webgl2), or on both with the same values. It moves when somebody asks for the
// side where it is not, and not before: a kernel's result that another kernel reads never leaves the GPU.

import type { Texture } from "./load.js";

/** Values on the GPU. */
export interface Resident {
  readonly of: Texture;
  toArray(): Float32Array;
  delete(): void;
}

export class Values {
  #host: Float32Array | undefined;
  #resident: Resident | undefined;
  constructor(at: Float32Array | Resident) {
    if (at instanceof Float32Array) this.#host = at;
    else this.#resident = at;
  }
  /** To read. */
  get array(): Float32Array {
    this.#host ??= this.#resident?.toArray();
    if (!this.#host) throw new Error("compiler bug: values are used after they were freed");
    return this.#host;
  }
  /** To write into: the other side is forgotten. */
  get mutable(): Float32Array {
    const a = this.array;
    this.#resident?.delete();
    this.#resident = undefined;
    return a;
  }
  resident(upload: (values: Float32Array) => Resident): Resident {
    this.#resident ??= upload(this.array);
    return this.#resident;
  }
  /** To the host: what is on the GPU will soon be gone. */
  home(): void {
    if (this.#resident) void this.mutable;
  }
  free(): void {
    this.#resident?.delete();
    this.#resident = undefined;
    this.#host = undefined;
  }
}
