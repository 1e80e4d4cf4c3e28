// Tells whoever keeps an eye on memory when large bodies begin to stream through, and when the last has ended.

/** A body that is longer than this is large. */
export const LARGE_BYTES = 1024 * 1024

class LargeBodies {
  #underWay = 0
  /** Called when the first begins (true) and when the last ends (false). The heap is one for all servers of a process. */
  onChange: ((some: boolean) => void) | undefined

  get areUnderWay(): boolean {
    return this.#underWay > 0
  }

  begin(): void {
    if (this.#underWay++ === 0) this.onChange?.(true)
  }

  end(): void {
    if (--this.#underWay === 0) this.onChange?.(false)
  }
}

export const largeBodies = new LargeBodies()
