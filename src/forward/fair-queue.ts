// A queue that serves its callers in turn, each of them first come first served.

/**
 * Of the libraries looked at (p-queue, bottleneck, rate-limiter-flexible) none takes turns between callers or passes over
 * one that may not go yet; what is left to do is this.
 */
export class FairQueue<T> implements Iterable<T> {
  /** By caller; a Map keeps the order in which callers are due. */
  readonly #lanes = new Map<string, T[]>()
  #size = 0

  get size(): number {
    return this.#size
  }

  add(caller: string, item: T): void {
    const lane = this.#lanes.get(caller)
    if (lane === undefined) this.#lanes.set(caller, [item])
    else lane.push(item)
    this.#size++
  }

  remove(caller: string, item: T): void {
    const lane = this.#lanes.get(caller)
    const at = lane?.indexOf(item) ?? -1
    if (lane !== undefined && at !== -1) this.#cut(caller, lane, at)
  }

  /** Takes the first item that may go, of the caller whose turn it is; that caller is then due last. */
  take(mayGo: (item: T) => boolean): T | undefined {
    for (const [caller, lane] of this.#lanes) {
      const at = lane.findIndex(mayGo)
      if (at === -1) continue
      const item = lane[at] as T
      this.#lanes.delete(caller)
      this.#lanes.set(caller, lane)
      this.#cut(caller, lane, at)
      return item
    }
    return undefined
  }

  #cut(caller: string, lane: T[], at: number): void {
    lane.splice(at, 1)
    this.#size--
    if (lane.length === 0) this.#lanes.delete(caller)
  }

  *[Symbol.iterator](): Iterator<T> {
    for (const lane of this.#lanes.values()) yield* lane
  }
}
