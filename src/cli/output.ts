// What happens when nobody reads our output any more (`| head`, a closed terminal): no failure, but an end.

let end = (): void => process.exit()
let unread = false

/** Without this the error of a broken pipe would end the process with a stack. */
export function watchOutput(): void {
  for (const output of [process.stdout, process.stderr]) {
    output.on('error', () => {
      if (unread) return
      unread = true
      end()
    })
  }
}

/** A command that stays up ends by `then` instead of at once. */
export function whenUnread(then: () => void): void {
  end = then
}
