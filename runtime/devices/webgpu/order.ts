// Work for the GPU in the order in which it was asked for. What is asked for is sent in turn, and its turn ends when it is
// sent, not when the GPU has done it: so a run may be sent while those before it are under way.

/** Sent to the GPU; `done` when that has answered. In an object, or waiting for one would be waiting for the other. */
export interface Sent<T> {
  readonly done: Promise<T>;
}

export class Order {
  #tail: Promise<unknown> | undefined;
  #waiting = 0;
  /** What is asked for now is sent before `add` returns, if it needs no preparation. */
  get idle(): boolean {
    return this.#waiting === 0;
  }
  add<T>(send: () => Promise<Sent<T>>): Promise<T> {
    this.#waiting++;
    const sent = this.#tail ? this.#tail.then(send) : send();
    const next = () => {
      if (--this.#waiting === 0) this.#tail = undefined;
    };
    this.#tail = sent.then(next, next); // the caller has the error
    return sent.then((s) => s.done);
  }
  /** After what was asked for before: at once where that was sent. */
  release(job: () => void): void {
    if (this.idle) job();
    else
      void this.add(async () => {
        job();
        return { done: Promise.resolve() };
      });
  }
}
