// Reads one item ahead: the next one is fetched while the current one is used.

/** The same items; at most one of them waits while the reader is busy. */
export async function* oneAhead<T>(source: AsyncGenerator<T, void>): AsyncGenerator<T, void> {
  const take = (): Promise<IteratorResult<T, void>> => {
    const step = source.next()
    // An error is reported only when the item is requested.
    step.catch(() => undefined)
    return step
  }
  try {
    let next = take()
    for (let step = await next; !step.done; step = await next) {
      next = take()
      yield step.value
    }
  } finally {
    // Not awaited, because the source may still be waiting for an item that is no longer needed.
    source.return().catch(() => undefined)
  }
}
