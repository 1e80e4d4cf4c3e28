// A queue that serves its callers in turn, and each caller's items in order.

/**
 * A round-robin queue. None of the libraries we looked at (p-queue, bottleneck, rate-limiter-flexible) alternates
 * between callers or can skip an item that is not ready yet.
 */
export class FairQueue<T> implements Iterable<T> {
  /** Items by caller; the callers are in the order in which they are served next. */
  readonly #byCaller = new Map<string, T[]>()
  #size = 0

  get size(): number {
    return this.#size
  }

  /** The number of waiting items of this caller. */
  sizeOf(caller: string): number {
    return this.#byCaller.get(caller)?.length ?? 0
  }

  add(caller: string, item: T): void {
    const items = this.#byCaller.get(caller)
    if (items === undefined) this.#byCaller.set(caller, [item])
    else items.push(item)
    this.#size++
  }

  remove(caller: string, item: T): void {
    const items = this.#byCaller.get(caller)
    const at = items?.indexOf(item) ?? -1
    if (items !== undefined && at !== -1) this.#cut(caller, items, at)
  }

  /** Takes the first ready item of the next caller in turn; that caller then moves to the end of the line. */
  take(mayGo: (item: T) => boolean): T | undefined {
    for (const [caller, items] of this.#byCaller) {
      const at = items.findIndex(mayGo)
      if (at === -1) continue
      const item = items[at] as T
      this.yieldTurn(caller)
      this.#cut(caller, items, at)
      return item
    }
    return undefined
  }

  /** Up to `count` ready items, in the order in which `take` would return them. */
  next(count: number, mayGo: (item: T) => boolean): T[] {
    const lists = [...this.#byCaller.values()].map((items) => items.filter(mayGo).slice(0, count))
    const found: T[] = []
    for (let nth = 0; found.length < count && lists.some((items) => items.length > nth); nth++) {
      for (const items of lists) {
        const item = items[nth]
        if (item !== undefined && found.length < count) found.push(item)
      }
    }
    return found
  }

  /** Moves a caller that was served to the end of the line. */
  yieldTurn(caller: string): void {
    const items = this.#byCaller.get(caller)
    if (items === undefined) return
    this.#byCaller.delete(caller)
    this.#byCaller.set(caller, items)
  }

  #cut(caller: string, items: T[], at: number): void {
    items.splice(at, 1)
    this.#size--
    if (items.length === 0) this.#byCaller.delete(caller)
  }

  *[Symbol.iterator](): Iterator<T> {
    for (const items of this.#byCaller.values()) yield* items
  }
}
